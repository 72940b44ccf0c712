"""What the lines of experts, or of the gate, are made of."""

import numpy as np
import scipy.sparse as sp
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from .._features import is_frame
from ._heatmap import heatmap, two_figures
from ._rows import expert_names
from ._style import title


class CoefficientsDisplay:
    """Slopes of linear experts, or of a softmax gate, as a map of experts and features.

    Parameters
    ----------
    coef : ndarray of shape (n_experts, n_features)
        Slopes; for the gate those of the gating logits, with mean zero over the experts.
    feature_names : list of str
        Labels of the features.
    expert_names : list of str
        Labels of the experts.
    standardized : bool, default=False
        Whether a slope is per standard deviation of its feature, and not per unit.
    what : str, default="experts"
        "experts" or "gate".

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    image_ : matplotlib AxesImage
        Blue below zero, red above.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import load_concrete
    >>> from skmoe.inspection import CoefficientsDisplay
    >>> X, y = load_concrete(return_X_y=True, as_frame=True)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    >>> display = CoefficientsDisplay.from_estimator(model, X)
    >>> display.coef.shape, display.feature_names[0]
    ((2, 8), 'cement')
    """

    def __init__(self, coef, feature_names, expert_names, standardized=False, what="experts"):
        self.coef = coef
        self.feature_names = feature_names
        self.expert_names = expert_names
        self.standardized = standardized
        self.what = what

    @classmethod
    def from_estimator(cls, estimator, X=None, *, what="experts", target=None, ax=None):
        """Read the slopes and draw.

        Parameters
        ----------
        estimator : MoERegressor or MoEClassifier
            Fitted, with experts that have ``coef_`` (or a gate that has).
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features), default=None
            Rows by whose standard deviations the slopes are multiplied, so that features
            can be compared; without them slopes are per unit of the feature.
        what : {"experts", "gate"}, default="experts"
            Whose slopes.
        target : label or int, default=None
            The class (the last one by default) or the number of the output (the first) whose
            slopes are drawn.
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        CoefficientsDisplay

        Raises
        ------
        TypeError
            If an expert, or the gate, has no slopes.
        ValueError
            If ``what`` or ``target`` is unknown.
        """
        names = expert_names(estimator)
        if what not in ("experts", "gate"):
            raise ValueError(f"what={what!r} must be 'experts' or 'gate'.")
        if what == "gate":
            coef, columns = _gate_slopes(estimator), estimator._gate_columns
        else:
            coef, columns = _expert_slopes(estimator, target), estimator._expert_columns
        columns = np.arange(estimator.n_features_in_) if columns is None else columns
        if coef.shape[1] != len(columns):
            raise TypeError("the slopes are not those of columns of X; transform X beforehand.")
        if X is not None:
            coef = coef * _spreads(X, columns)
        default = [f"x{i}" for i in range(estimator.n_features_in_)]
        features = getattr(estimator, "feature_names_in_", default)
        features = [str(features[column]) for column in columns]
        return cls(coef, features, names, X is not None, what).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            New ones by default.

        Returns
        -------
        CoefficientsDisplay
            Itself.
        """
        most = float(np.abs(self.coef).max()) or 1.0
        texts = np.array([[two_figures(value) for value in row] for row in self.coef])
        self.image_ = heatmap(
            self,
            ax,
            self.coef,
            texts,
            self.expert_names,
            self.feature_names,
            cmap="RdBu_r",
            limits=(-most, most),
        )
        unit = "standard deviation" if self.standardized else "unit"
        whose = "gating logit" if self.what == "gate" else "prediction"
        title(self.ax_, f"Change of the {whose} per {unit}")
        return self


def _gate_slopes(estimator):
    gate = estimator.gate_
    coef = getattr(gate, "coef_", None)
    if coef is None or np.shape(coef)[0] != estimator.n_experts_:
        raise TypeError(f"the gate {type(gate).__name__} has no slopes of gating logits.")
    return coef - coef.mean(axis=0)


def _expert_slopes(estimator, target):
    rows = []
    for name, expert in zip(estimator.expert_names_, estimator.experts_):
        if not hasattr(expert, "coef_"):
            raise TypeError(f"expert {name!r} ({type(expert).__name__}) has no coef_.")
        rows.append(_slopes(expert, estimator, target))
    return np.array(rows)


def _slopes(expert, estimator, target):
    """Slopes (d,) of one expert for one class or output."""
    coef = np.asarray(expert.coef_.toarray() if sp.issparse(expert.coef_) else expert.coef_)
    if not is_classifier(estimator):
        several = np.atleast_2d(coef)
        output = 0 if target is None else target
        if output not in range(len(several)):
            raise ValueError(f"target={target!r} is none of the {len(several)} outputs.")
        return several[output]
    check_is_fitted(expert)
    label = estimator.classes_[-1] if target is None else target
    if label not in list(estimator.classes_):
        raise ValueError(f"target={target!r} is none of the classes {list(estimator.classes_)}.")
    known = list(expert.classes_)
    if label not in known:
        return np.full(coef.shape[1], np.nan)  # the expert has never seen it
    if len(known) == 2 and len(coef) == 1:
        return coef[0] if known.index(label) == 1 else -coef[0]
    return coef[known.index(label)]


def _spreads(X, columns):
    """Standard deviations of columns; NaN left out."""
    if is_frame(X):
        return np.nanstd(X.iloc[:, columns].to_numpy(dtype=np.float64, na_value=np.nan), axis=0)
    if sp.issparse(X):
        X = sp.csc_matrix(X)[:, columns]
        mean = np.asarray(X.mean(axis=0))
        square = np.asarray(X.multiply(X).mean(axis=0)) - np.square(mean)
        return np.sqrt(np.maximum(square.ravel(), 0.0))
    return np.nanstd(np.asarray(X, dtype=np.float64)[:, columns], axis=0)
