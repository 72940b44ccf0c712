"""Export to ONNX: gate and joining are written here, other estimators by skl2onnx."""

import warnings
from pathlib import Path

import numpy as np
from sklearn.base import is_classifier
from sklearn.dummy import DummyClassifier

from ..classifier import MoEClassifier
from ..experts.additive import AdditiveComponent
from ..experts.factor import FactorClassifier, FactorRegressor
from ..gates import ClassifierGate
from ..gates.additive import AdditiveGate
from ..regressor import MoERegressor
from ._describe import check_exportable, describe_experts, describe_gate, describe_head

# Logarithms of weights that are none.
_NEVER = -1e30


def to_onnx(model, X=None, *, path=None, dtype=np.float32, target_opset=None):
    """A fitted mixture, or a pipeline that ends in one, as an ONNX model.

    Every gate; experts that are linear, neural, or any that skl2onnx converts (trees, forests,
    boosting, pipelines, mixed lists). All experts are computed, and with ``top_k`` those that
    are not chosen have weight zero: the predictions are the same, the work is not saved.

    Parameters
    ----------
    model : fitted MoERegressor, MoEClassifier or Pipeline
        On features that are numbers. A pipeline may take others; see ``X``.
    X : array-like or DataFrame of shape (n_samples, n_features), default=None
        Rows that show the types of the inputs, as in ``skl2onnx.to_onnx``: for pipelines on
        DataFrames. By default one input of numbers.
    path : str or path, default=None
        File to write.
    dtype : {numpy.float32, numpy.float64}, default=numpy.float32
        Of input and computation, without ``X``. Not all converters of other estimators know
        ``float64``.
    target_opset : int, default=None
        Version of the operators; skl2onnx's default.

    Returns
    -------
    onnx.ModelProto
        The outputs are "variable", or "label" and "probabilities".

    Raises
    ------
    ImportError
        If skl2onnx is missing.
    TypeError
        If a part cannot be expressed; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.export import to_onnx
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, np.abs(X[:, 0]))
    >>> onnx = to_onnx(model)  # doctest: +SKIP
    """
    skl2onnx = _skl2onnx()
    register()
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    if not isinstance(last, (MoERegressor, MoEClassifier)):
        raise TypeError(f"{type(last).__name__} is no mixture; use skl2onnx for it.")
    about = {"target_opset": target_opset}
    if is_classifier(last):
        about["options"] = {id(last): {"zipmap": False}}
    if X is None:
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

        kind = DoubleTensorType if np.dtype(dtype) == np.float64 else FloatTensorType
        about["initial_types"] = [("X", kind([None, model.n_features_in_]))]
    with warnings.catch_warnings():
        # The converters of boosted trees give booleans for integers.
        warnings.filterwarnings("ignore", "Field onnx.AttributeProto", DeprecationWarning)
        found = skl2onnx.to_onnx(model, None if X is None else X[:1], **about)
    if path is not None:
        Path(path).write_bytes(found.SerializeToString())
    return found


def register():
    """Teach skl2onnx to convert mixtures, also inside pipelines.

    Raises
    ------
    ImportError
        If skl2onnx is missing.

    Examples
    --------
    >>> from skmoe.export import register
    >>> register()  # doctest: +SKIP
    """
    skl2onnx = _skl2onnx()
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    skl2onnx.update_registered_converter(
        MoERegressor,
        "SkmoeMoERegressor",
        _shape_of_means,
        _convert_regressor,
        overwrite=True,
    )
    skl2onnx.update_registered_converter(
        MoEClassifier,
        "SkmoeMoEClassifier",
        calculate_linear_classifier_output_shapes,
        _convert_classifier,
        options={"zipmap": [True, False, "columns"], "nocl": [True, False]},
        overwrite=True,
    )


def _skl2onnx():
    try:
        import skl2onnx
    except ImportError as error:
        raise ImportError("to_onnx needs skl2onnx: pip install 'skmoe[onnx]'.") from error
    return skl2onnx


def _refuse(estimator):
    """Raise for experts and gates of our own that have no converter."""
    if isinstance(estimator, (AdditiveComponent, FactorRegressor, FactorClassifier)):
        raise TypeError(f"{type(estimator).__name__} cannot be exported to ONNX.")


# -- converters --------------------------------------------------------------------------


def _shape_of_means(operator):
    model = operator.raw_operator
    n_outputs = model.predict(np.zeros((1, model.n_features_in_))).size
    operator.outputs[0].type = type(operator.inputs[0].type)([None, n_outputs])


def _convert_regressor(scope, operator, container):
    graph = _Graph(scope, operator, container)
    graph.add(graph.ops.OnnxIdentity(graph.mean(), output_names=operator.outputs))


def _convert_classifier(scope, operator, container):
    graph, classes = _Graph(scope, operator, container), operator.raw_operator.classes_
    ops = graph.ops
    proba = graph.mean()
    graph.add(ops.OnnxIdentity(proba, output_names=[operator.outputs[1].full_name]))
    best = ops.OnnxArgMax(proba, axis=1, keepdims=0)
    labels = classes.astype(np.int64) if classes.dtype.kind in "iub" else classes.astype(str)
    label = ops.OnnxArrayFeatureExtractor(labels, best)
    flat = ops.OnnxReshape(label, np.array([-1], dtype=np.int64))
    graph.add(ops.OnnxIdentity(flat, output_names=[operator.outputs[0].full_name]))


class _Ops:
    """Operators of one version."""

    def __init__(self, version):
        from skl2onnx.algebra import onnx_ops

        self._module, self._version = onnx_ops, version

    def __getattr__(self, name):
        kind, version = getattr(self._module, name), self._version
        return lambda *inputs, **about: kind(*inputs, op_version=version, **about)


class _Graph:
    """The graph of one mixture."""

    def __init__(self, scope, operator, container):
        from skl2onnx.common.data_types import guess_numpy_type

        self.scope, self.container = scope, container
        self.model, self.X = operator.raw_operator, operator.inputs[0]
        self.version = container.target_opset
        self.ops = _Ops(self.version)
        self.dtype = guess_numpy_type(self.X.type)
        check_exportable(self.model)
        self.head = describe_head(self.model)

    def add(self, node):
        """Write a node, and those that it needs."""
        node.add_to(self.scope, self.container)

    def mean(self):
        """Means (n, m) or class probabilities (n, C) of the mixture."""
        weights, answers = self._weights(), self._answers()
        parts = [
            self.ops.OnnxMul(self._column(weights, k), answer) for k, answer in enumerate(answers)
        ]
        return parts[0] if len(parts) == 1 else self.ops.OnnxSum(*parts)

    # -- the gate --------------------------------------------------------------------------

    def _weights(self):
        """Weights (n, K), zero for experts that are not chosen."""
        log_gate, top_k = self._log_gate(), self.head["top_k"]
        if top_k is None:
            return self.ops.OnnxExp(log_gate)
        ranked, bias = log_gate, self.head["routing_bias"]
        if bias is not None:
            ranked = self.ops.OnnxAdd(log_gate, self._array(bias[None]))
        chosen = self.ops.OnnxTopK(
            ranked, np.array([top_k], dtype=np.int64), axis=1, output_names=None
        )[1]
        ends = np.array([0.0, 1.0], dtype=np.float32)  # onnxruntime knows no other kind
        n_experts = np.array([self.model.n_experts_], dtype=np.int64)
        marks = self.ops.OnnxOneHot(chosen, n_experts, ends, axis=-1)
        mask = self._cast(self.ops.OnnxReduceSum(marks, np.array([1], dtype=np.int64), keepdims=0))
        none = self.ops.OnnxMul(
            self.ops.OnnxSub(self._array(np.ones((1, 1))), mask), self._array([[_NEVER]])
        )
        return self.ops.OnnxSoftmax(self.ops.OnnxAdd(log_gate, none), axis=1)

    def _log_gate(self):
        model, gate = self.model, self.model._parts.gate
        rows = self._take(self.X, model._gate_columns)
        if isinstance(gate, AdditiveGate):
            raise TypeError("the gate of AdditiveExpert experts cannot be exported.")
        head = model._gating._head
        for _, step in [] if head is None else head.steps:
            rows = self._other(step, rows)
        if isinstance(gate, ClassifierGate):
            proba = self._probabilities(gate.estimator_, rows, np.arange(model.n_experts_))
            return self.ops.OnnxLog(self._smoothed(proba, gate.smoothing, model.n_experts_))
        found = describe_gate(gate, None)
        if found is None:
            raise TypeError(f"the gate {type(gate).__name__} cannot be exported.")
        return self._gate_of_arrays(found, rows)

    def _gate_of_arrays(self, gate, rows):
        ops = self.ops
        shifted = ops.OnnxSub(rows, self._array(np.asarray(gate["center"])[None]))
        Z = ops.OnnxDiv(shifted, self._array(np.asarray(gate["scale"])[None]))
        Z = ops.OnnxWhere(ops.OnnxIsNaN(Z), self._array(np.zeros((1, 1))), Z)
        if gate["kind"] == "gaussian":
            scores = [
                self._density(Z, *part)
                for part in zip(gate["weights"], gate["biases"], gate["constants"], strict=True)
            ]
            return ops.OnnxLogSoftmax(self._beside(scores), axis=1)
        scores = self._layers(Z, gate)
        if gate["kind"] == "network":
            return ops.OnnxLogSoftmax(scores, axis=1)
        terms = [[] for _ in range(self.model.n_experts_)]
        for node in gate["nodes"]:
            columns = np.arange(*node["columns"])
            branches = ops.OnnxLogSoftmax(self._take(scores, columns), axis=1)
            for branch, (start, stop) in enumerate(node["branches"]):
                for k in range(start, stop):
                    terms[k].append(self._column(branches, branch))
        return self._beside([ops.OnnxSum(*each) for each in terms])

    def _density(self, Z, weight, bias, constant):
        spread = self._affine(Z, weight, bias)
        total = self.ops.OnnxReduceSum(
            self.ops.OnnxMul(spread, spread), np.array([1], dtype=np.int64), keepdims=1
        )
        half = self.ops.OnnxMul(total, self._array([[-0.5]]))
        return self.ops.OnnxAdd(half, self._array([[constant]]))

    # -- experts ---------------------------------------------------------------------------

    def _answers(self):
        """Means or class probabilities of each expert."""
        model, rows = self.model, self._take(self.X, self.model._expert_columns)
        classes = getattr(model, "classes_", None)
        answers, smoothing = [], getattr(model._parts.experts, "smoothing", 0.0)
        for expert, estimator in zip(describe_experts(model), model.experts_, strict=True):
            if expert is not None:
                answer = self._layers(rows, expert)
            if classes is None:
                answer = self._other(estimator, rows) if expert is None else answer
                exp = expert is not None and self.head["link"] == "exp"
                answers.append(self.ops.OnnxExp(answer) if exp else answer)
                continue
            if expert is None:
                proba = self._probabilities(estimator, rows, classes)
            else:
                answer = self.ops.OnnxSoftmax(answer, axis=1)
                proba = self._aligned(answer, expert["labels"], len(classes))
            answers.append(self._smoothed(proba, smoothing, len(classes)))
        return answers

    def _other(self, estimator, rows):
        """What another estimator that is no classifier gives: (n, m)."""
        from skl2onnx._parse import _parse_sklearn

        _refuse(estimator)
        found = _parse_sklearn(self.scope, estimator, [self._named(rows, estimator)])
        return self._cast(found[0])

    def _named(self, rows, estimator):
        """Rows as a variable of the graph, which is what converters of others take."""
        from skl2onnx.common._topology import Variable

        if isinstance(rows, Variable):
            return rows
        kind = type(self.X.type)([None, estimator.n_features_in_])
        variable = self.scope.declare_local_variable("rows", kind)
        self.add(self.ops.OnnxIdentity(rows, output_names=[variable]))
        return variable

    def _probabilities(self, estimator, rows, classes):
        """Probabilities (n, C) of another classifier, of classes that it has not seen, too."""
        columns = np.searchsorted(classes, estimator.classes_)
        if isinstance(estimator, DummyClassifier):
            zero = self.ops.OnnxMul(self._column(rows, 0), self._array(np.zeros((1, 1))))
            proba = self.ops.OnnxAdd(zero, self._array(np.atleast_2d(estimator.class_prior_)))
            return self._aligned(proba, columns, len(classes))
        for _, step in getattr(estimator, "steps", [])[:-1]:
            rows = self._other(step, rows)
        last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
        proba = self._classifier(last, self._named(rows, last))
        return self._aligned(self._cast(proba), columns, len(classes))

    def _classifier(self, estimator, rows):
        from skl2onnx import get_model_alias
        from skl2onnx.common.data_types import Int64TensorType, StringTensorType

        _refuse(estimator)
        node = self.scope.declare_local_operator(get_model_alias(type(estimator)), estimator)
        numbers = estimator.classes_.dtype.kind in "iub"
        kinds = [(Int64TensorType if numbers else StringTensorType)(), type(self.X.type)()]
        node.inputs.append(rows)
        for name, kind in zip(("label", "proba"), kinds, strict=True):
            node.outputs.append(self.scope.declare_local_variable(name, kind))
        return node.outputs[1]

    def _aligned(self, proba, columns, n_classes):
        if len(columns) == n_classes:
            return proba
        return self.ops.OnnxMatMul(proba, self._array(np.eye(n_classes)[columns]))

    def _smoothed(self, proba, smoothing, n_classes):
        if not smoothing:
            return proba
        shrunk = self.ops.OnnxMul(proba, self._array([[1.0 - smoothing]]))
        return self.ops.OnnxAdd(shrunk, self._array([[smoothing / n_classes]]))

    # -- arithmetic ------------------------------------------------------------------------

    def _layers(self, units, part):
        *hidden, last = part["layers"]
        names = {"relu": "OnnxRelu", "tanh": "OnnxTanh", "logistic": "OnnxSigmoid"}
        for layer in hidden:
            units = self._affine(units, *layer)
            if part["activation"] != "identity":
                units = getattr(self.ops, names[part["activation"]])(units)
        return self._affine(units, *last)

    def _affine(self, rows, weight, bias):
        product = self.ops.OnnxMatMul(rows, self._array(weight))
        return self.ops.OnnxAdd(product, self._array(np.asarray(bias)[None]))

    def _cast(self, values):
        """Other estimators may answer in single precision."""
        from skl2onnx.proto import onnx_proto

        kind = "FLOAT" if self.dtype == np.float32 else "DOUBLE"
        return self.ops.OnnxCast(values, to=getattr(onnx_proto.TensorProto, kind))

    def _array(self, values):
        return np.ascontiguousarray(values, dtype=self.dtype)

    def _take(self, rows, columns):
        if columns is None:
            return rows
        return self.ops.OnnxGather(rows, np.asarray(columns, dtype=np.int64), axis=1)

    def _column(self, rows, k):
        return self._take(rows, [k])

    def _beside(self, columns):
        return columns[0] if len(columns) == 1 else self.ops.OnnxConcat(*columns, axis=1)
