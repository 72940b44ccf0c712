"""From what an arbitrary fitted estimator predicts to `pred` arrays."""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, softmax

_ENCODE = (
    "; encode words in a pipeline, or choose other columns by gate_features or expert_features"
)


@contextmanager
def blame(who, stage):
    """Re-raise what happens inside as an error that names the culprit.

    Parameters
    ----------
    who : str
        Such as "expert 'ridge'".
    stage : str
        The method that is called: "fit", "predict" ...
    """
    try:
        yield
    except (Warning, MemoryError):
        # Warnings turned into errors are the user's own filter at work.
        raise
    except Exception as error:  # whatever it is, it goes on with a name
        kinds = (kind for kind in (ValueError, TypeError) if isinstance(error, kind))
        kind = next(kinds, RuntimeError)
        words = "could not convert string to float" in str(error)
        raise kind(f"{who} failed in {stage}: {error}{_ENCODE * words}") from error


@dataclass(frozen=True)
class MeanOutput:
    """Predictions of regressors.

    Parameters
    ----------
    n_columns : int
        Number of outputs m.
    link : likelihood, default=None
        Whose ``from_mean`` turns means into predictions.
    """

    n_columns: int
    link: object = None

    def __call__(self, who, estimator, X):
        """Predict the means.

        Parameters
        ----------
        who : str
        estimator : fitted regressor
        X : array, CSR or frame of shape (n, d)

        Returns
        -------
        pred : ndarray of shape (n, m)
        """
        with blame(who, "predict"):
            mean = np.asarray(estimator.predict(X), dtype=np.float64)
        n_rows = X.shape[0]
        if mean.shape == (n_rows,):
            mean = mean[:, None]
        check_shape(who, mean, (n_rows, self.n_columns))
        _check_finite(who, mean)
        return mean if self.link is None else self.link.from_mean(mean)


@dataclass(frozen=True)
class ClassOutput:
    """Smoothed log-probabilities of classifiers, one column per class.

    Parameters
    ----------
    classes : ndarray of shape (C,)
        Original labels in the order of the columns.
    smoothing : float
        p becomes (1 - smoothing) p + smoothing / C.
    """

    classes: np.ndarray
    smoothing: float

    @property
    def n_columns(self):
        return len(self.classes)

    def __call__(self, who, estimator, X):
        """Predict log-probabilities; unseen classes have probability 0 before smoothing.

        Parameters
        ----------
        who : str
        estimator : fitted classifier
            With ``predict_proba``, else ``decision_function`` (its logistic or softmax
            is taken for the probabilities), else ``predict`` (its label has probability 1).
        X : array, CSR or frame of shape (n, d)

        Returns
        -------
        pred : ndarray of shape (n, C)
            Rows are normalised: ``log_softmax(pred) == pred``.
        """
        proba, labels = _class_proba(who, estimator, X)
        columns = self._columns(who, labels)
        check_shape(who, proba, (X.shape[0], len(columns)))
        _check_finite(who, proba)
        if np.any(proba < 0):
            raise ValueError(f"{who} predicted negative probabilities")
        aligned = np.zeros((X.shape[0], self.n_columns))
        aligned[:, columns] = proba
        return self._smooth_log(aligned)

    def _columns(self, who, labels):
        """Return the column of each label, (C_seen,)."""
        column_of = {label: column for column, label in enumerate(self.classes.tolist())}
        labels = np.asarray(labels).tolist()
        unknown = [label for label in labels if label not in column_of]
        if unknown:
            raise ValueError(f"{who} knows labels that are not among the classes: {unknown}")
        return np.array([column_of[label] for label in labels], dtype=np.intp)

    def _smooth_log(self, proba):
        """Normalise, smooth and take logs of (n, C) probabilities."""
        total = proba.sum(axis=1, keepdims=True)
        uniform = np.full_like(proba, 1 / self.n_columns)
        proba = np.divide(proba, total, out=uniform, where=total > 0)
        with np.errstate(divide="ignore"):
            return np.log((1 - self.smoothing) * proba + self.smoothing / self.n_columns)


def _class_proba(who, estimator, X):
    """Return probabilities (n, C_seen) and the labels of their columns."""
    if hasattr(estimator, "predict_proba"):
        with blame(who, "predict_proba"):
            return np.asarray(estimator.predict_proba(X), dtype=np.float64), estimator.classes_
    if hasattr(estimator, "decision_function"):
        with blame(who, "decision_function"):
            scores = np.asarray(estimator.decision_function(X), dtype=np.float64)
            labels = estimator.classes_
        _check_finite(who, scores)
        if scores.ndim == 1 and len(labels) == 2:
            return np.column_stack([expit(-scores), expit(scores)]), labels
        if scores.ndim == 2 and scores.shape[1] == len(labels):
            return softmax(scores, axis=1), labels
    # Also for one-against-one scores, which are not one per class.
    with blame(who, "predict"):
        labels, codes = np.unique(estimator.predict(X), return_inverse=True)
    return np.eye(len(labels))[codes.ravel()], labels


def check_shape(who, values, shape):
    if values.shape != shape:
        raise ValueError(f"{who} predicted an array of shape {values.shape}; expected {shape}")


def _check_finite(who, values):
    if not np.isfinite(values).all():
        found = "NaN" if np.isnan(values).any() else "infinite values"
        raise ValueError(f"{who} predicted {found}")
