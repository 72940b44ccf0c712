"""Joint gradient training of gate, experts and dispersions on one objective."""

import copy

import numpy as np

from ._cooperative import check_cooperative, cooperative, started, with_noise
from ._em import fit_em, is_additive, require
from ._fit import Parts, make_result, objective_value
from ._information import Information
from ._lbfgs import minimize
from ._monitor import Monitor
from ._owlqn import minimize_l1
from ._precondition import gram_preconditioner
from ._sweep import can_sweep, is_linear, sweeper_of
from ._whole import evaluator_of, require_gradients

# Relative error of the objective, in float64 and where products are in float32.
_ROUNDING, _SINGLE_ROUNDING = 1e-10, 1e-6
# With an L1 penalty: iterations between renewals of the noise, and when it has settled.
_STAGE_ITER, _NOISE_TOL = 15, 1e-2
# EM makes at least so many iterations, and goes on for as long as one of the last two rises
# is more than this share of the largest: far from an optimum its steps are the better ones.
# So it does where each rise is at most this share of the one before.
_LEAST_EM, _LARGE_RISE, _FAST_RATIO = 5, 0.1, 0.3


def fit_joint(data, parts, monitor, resp, *, warm_up=50, renew_every=10, memory=20):
    """Fit a mixture of linear or neural experts by L-BFGS on the penalised log-likelihood.

    Gaussian experts begin with a few EM iterations. The inverse of the observed information
    is the initial inverse Hessian, renewed in mid-run without dropping the pairs. Where it
    would cost too much, weighted Gram matrices of EM take its place for Gaussian experts,
    and one Gram of all rows for multinomial ones.

    Parameters
    ----------
    data : FitData
        With views for gate and experts.
    parts : Parts
        Started parts; they are copied, not changed.
    monitor : Monitor
    resp : ndarray of shape (n, K) or None
        Responsibilities to start from; None: start from the parts as they stand.
    warm_up : int, default=50
        Most EM iterations before the first gradient.
    renew_every : int, default=10
        Iterations between new initial inverse Hessians.
    memory : int, default=20
        Pairs of L-BFGS.

    Returns
    -------
    FitResult
    """
    for part in (parts.gate, parts.experts, parts.likelihood):
        require(part, "flat", "with_flat")
    sweeps = can_sweep(data, parts)
    if not sweeps:
        require_gradients(parts)
    additive = is_additive(data, parts) if sweeps else parts.experts.additive(data)
    n_iter = warm_up if additive else 1
    saved, unexplained = monitor.resume("descent"), 0
    if saved is not None:
        parts, unexplained = saved["parts"], saved["unexplained"]
    elif additive or resp is not None:
        settled = _settled_after(n_iter)
        result = fit_em(data, parts, monitor, resp, accelerate=False, until=settled)
        if monitor.stop:
            return result
        parts = Parts(result.gate, result.experts, result.likelihood)
        unexplained = result.unexplained
    if getattr(parts.gate, "has_l1", False) or parts.experts.has_l1:
        return _fit_sparse(data, parts, monitor, renew_every, memory, unexplained)
    grams = additive and not by_output(data, parts)
    descent = _Descent(data, parts, monitor, renew_every, grams, unexplained)
    rounding = _SINGLE_ROUNDING if data.X.X.dtype == np.float32 else _ROUNDING
    options = descent.options(memory, saved) | {"rounding": rounding}
    found = minimize(descent.loss, parts.flat(), **options)
    monitor.converged |= found.converged
    return make_result(descent.kept, monitor, None, descent.unexplained)


def fit_together(data, parts, monitor, resp, *, renew_every=10, memory=20):
    """Fit for the squared error of the blended output; arguments as of `fit_joint`.

    Dispersions are estimated when gate and experts are trained.
    """
    check_cooperative(data, parts)
    begun = started(data, parts, resp, fit_em)
    shared = cooperative(data, begun)
    require_gradients(shared)
    descent = _Descent(data, shared, monitor, renew_every, False, 0)
    options = descent.options(memory, monitor.resume("descent"))
    try:
        found = minimize(descent.loss, shared.flat(), **options)
    except KeyboardInterrupt:  # what is kept must be able to tell its noise
        monitor.keep(with_noise(data, descent.kept, begun.likelihood))
        raise
    monitor.converged |= found.converged
    return make_result(with_noise(data, descent.kept, begun.likelihood), monitor)


def by_output(data, parts):
    """Whether weights of rows differ by output, and so would Grams."""
    return data.observed is not None or getattr(parts.gate, "per_output", False)


def _settled_after(most):
    """A rule that ends EM once its rises are small, where Newton's directions are better."""

    def settled(monitor):
        if monitor.n_iter >= most:
            return True
        if monitor.n_iter < _LEAST_EM:
            return False
        rises = np.diff(monitor.history["objective"])
        fast = rises[-1] <= _FAST_RATIO * rises[-2]
        return not fast and max(rises[-2:]) < _LARGE_RISE * max(rises)

    return settled


class _Descent:
    """The loss of a fit as a function of flat parameters, and who watches it."""

    def __init__(self, data, parts, monitor, renew_every, additive, unexplained):
        self.data, self.monitor, self.parts = data, monitor, parts
        self.sweeper = sweeper_of(data) if can_sweep(data, parts) else evaluator_of(data)
        self.renew_every = renew_every
        self.information = Information.affordable(data, parts)
        self.additive = self.grams_due = additive and self.information is None
        self.seen, self.base = [], None
        self.passes = 0
        self.kept, self.unexplained = parts, unexplained
        self.most = monitor.max_iter - monitor.n_iter

    def options(self, memory, saved=None):
        """What the optimisers are given; ``saved`` is what `save` has stored."""
        options = {
            "renew": self.renew,
            "watch": self.watch,
            "tol": 1e-13,
            "memory": memory,
        }
        if saved is not None:
            options |= {"precondition": self._restore(saved), "saved": saved["minimize"]}
        if self.monitor.saver is not None:
            options["save"] = self.save
        return options | {"max_iter": self.most}

    def save(self, minimum):
        """Hand on where the descent stands: its optimiser, and what is said of it here."""

        def state():
            names = ("parts", "base", "grams_due", "passes", "kept", "unexplained", "most")
            held = {name: vars(self)[name] for name in names}
            return {**held, "minimize": minimum, "evaluator": self.sweeper.state()}

        self.monitor.save("descent", state)

    def _restore(self, saved):
        """Stand where another descent stood; returns its preconditioner."""
        found = None
        if saved["base"] is not None:
            n_iter, flat, sums = saved["base"]
            self.seen, self.grams_due = [(flat, self.parts.with_flat(flat), sums)], self.additive
            found = self.renew(n_iter, flat)
        names = ("base", "grams_due", "passes", "kept", "unexplained", "most")
        vars(self).update({name: saved[name] for name in names})
        self.sweeper.restore(saved["evaluator"])
        self.monitor.keep(self.kept, self.unexplained)
        return found

    def loss(self, flat):
        """Minus the objective, and the gradient of its smooth part."""
        # A step too far overflows; the line search takes it for the failure that it is.
        with np.errstate(over="ignore", invalid="ignore"):
            return self._loss(flat)

    def _loss(self, flat):
        parts = self.parts.with_flat(flat)
        sums = self.sweeper(parts, grams=self.grams_due)
        value = objective_value(self.data, sums.loglik, parts) - sums.uneven
        self.seen.append((flat, parts, sums))
        return -value, -objective_gradient(self.data, parts, sums)

    def renew(self, n_iter, flat):
        """A new initial inverse Hessian where one is due."""
        found = self._renewed(n_iter, *self._found(flat))
        if found is not None and self.monitor.saver is not None:
            self.base = (n_iter, flat, self._found(flat)[2])
        return found

    def _renewed(self, n_iter, flat, parts, sums):
        if self.information is not None:
            due = n_iter % self.renew_every == 0 or 2 * n_iter == self.renew_every
            curvature = parts.likelihood.flat_curvature(sums) / self.data.total_weight
            return self.information.preconditioner(parts, curvature) if due else None
        if self.additive:
            due = self.grams_due
            self.grams_due = (n_iter + 1) % self.renew_every == 0
            return _block_precondition(self.data, parts, sums) if due else None
        if self.data.n_classes is not None and is_linear(parts.experts):
            due = n_iter == 0
            return _shared_precondition(self.data, parts, sums) if due else None
        due = n_iter % self.renew_every == 0
        return _diagonal_precondition(self.data, parts, sums) if due else None

    def watch(self, flat, value):
        """Report an iterate; returns whether to stop."""
        _, parts, sums = self._found(flat)
        passes, self.passes = self.sweeper.n_passes - self.passes, self.sweeper.n_passes
        if self.monitor.update(-value, sums.load / self.data.total_weight, passes):
            self.kept, self.unexplained = parts, sums.unexplained
            self.monitor.keep(parts, sums.unexplained)
        self.seen = [(flat, parts, sums)]
        return self.monitor.stop

    def _found(self, flat):
        return next(seen for seen in self.seen if seen[0] is flat)


def _fit_sparse(data, parts, monitor, renew_every, memory, unexplained):
    """Descend with an L1 penalty in units of the noise, in stages of fixed noise.

    Within a stage the objective climbs; between stages the noise is updated. Were it free
    within, residuals could vanish, and the penalty with them.
    """
    while True:
        stands = {"parts": parts, "unexplained": unexplained}
        monitor.save("descent", lambda stands=stands: stands)
        parts.experts = parts.experts.with_noise(parts.likelihood.dispersion)
        most = max(1, min(_STAGE_ITER, monitor.max_iter - monitor.n_iter))
        stage = Monitor(monitor.tol, most, monitor.patience)
        descent = _SparseDescent(data, parts, stage, renew_every, False, unexplained)
        weights, options = _l1_weights(data, parts), descent.options(memory)
        found = minimize_l1(descent.loss, parts.flat(), weights, **options)
        for record in zip(*stage.history.values()):
            monitor.record(*record)
        parts, unexplained = descent.kept, descent.unexplained
        change = descent.renew_noise()
        settled = stage.converged or found.converged or stage.n_iter == 0
        monitor.converged = settled and change < _NOISE_TOL
        if monitor.converged or stage.n_iter == 0 or monitor.n_iter >= monitor.max_iter:
            monitor.best = descent.final_value()
            return make_result(parts, monitor, None, unexplained)


class _SparseDescent(_Descent):
    """With an L1 penalty: fixed noise, and a preconditioner that keeps orthants."""

    def _renewed(self, n_iter, flat, parts, sums):
        due = n_iter % self.renew_every == 0
        return _diagonal_precondition(self.data, parts, sums) if due else None

    def _loss(self, flat):
        value, gradient = super()._loss(flat)
        if self.parts.experts.noise is not None:
            n_noise = self.parts.likelihood.flat().size
            gradient[len(gradient) - n_noise :] = 0.0
        return value, gradient

    def final_value(self):
        """Objective of the parts that are kept, in units of their noise."""
        parts = self.kept
        parts.experts = parts.experts.with_noise(parts.likelihood.dispersion)
        sums = self.sweeper(parts)
        return objective_value(self.data, sums.loglik, parts) - sums.uneven

    def renew_noise(self):
        """Update the noise of the parts that are kept; returns its relative change."""
        if self.kept.experts.noise is None:
            return 0.0
        sums = self.sweeper(self.kept)
        before = np.sqrt(self.kept.likelihood.dispersion)
        self.kept.likelihood = copy.copy(self.kept.likelihood)
        self.kept.likelihood.update_sums(sums.squares, sums.weight, sums.load.sum())
        return np.max(np.abs(np.sqrt(self.kept.likelihood.dispersion) / before - 1.0))


def _l1_weights(data, parts):
    """Factors of absolute flat parameters in minus the objective."""
    experts = parts.experts.l1_weights()
    if is_linear(parts.experts):
        experts = experts.reshape(parts.experts.coef.shape) * parts.experts.unit()
    rest = np.zeros(parts.likelihood.flat().size)
    gate = np.zeros(parts.gate.flat().size)
    if hasattr(parts.gate, "l1_weights"):
        gate = parts.gate.l1_weights()
    return np.concatenate([gate, experts.ravel() / data.total_weight, rest])


def objective_gradient(data, parts, sums):
    """Gradient of the objective by the flat parameters."""
    total = data.total_weight
    gate = sums.gate.ravel() / total - parts.gate.penalty_gradient().ravel()
    penalty = parts.experts.penalty_gradient() * parts.experts.unit()
    experts = log_lik_gradient(parts, sums) - penalty
    likelihood = parts.likelihood.flat_gradient(sums)
    return np.concatenate([gate, experts.ravel() / total, likelihood / total])


def log_lik_gradient(parts, sums):
    """Gradient of the sum of the log-likelihood by the flat parameters of the experts."""
    if not is_linear(parts.experts):
        return sums.experts
    return parts.likelihood.expert_gradient(sums) * parts.experts.unit()


def _block_precondition(data, parts, sums):
    """Inverse of the EM Hessian: a block for each gate row and expert and output."""
    likelihood = data.total_weight / parts.likelihood.flat_curvature(sums)
    gate, experts = _gate_inverse(data, parts, sums), _expert_inverse(data, parts, sums)
    return _by_part(parts, gate, experts, lambda vector: likelihood * vector)


def _by_part(parts, gate, experts, likelihood):
    """Apply a function to the flat parameters of each part."""
    sizes = np.cumsum([parts.gate.flat().size, parts.experts.flat().size])

    def apply(vector):
        first, second, third = np.split(vector, sizes)
        return np.concatenate([gate(first), experts(second), likelihood(third)])

    return apply


def _gate_inverse(data, parts, sums):
    """Inverse curvature of the gate: of blocks, its own, or one number for all."""
    total, gate = data.total_weight, parts.gate
    if hasattr(gate, "preconditioner"):
        return gate.preconditioner(data.gate_X, data.weight)
    if not hasattr(gate, "block_coef"):
        curvature = sums.by_expert[:, -3].mean() / total + 1e-3
        return lambda vector: vector / curvature
    grams = sums.gram if sums.gate_gram is None else sums.gate_gram
    curvature = grams * sums.gate_curvature[:, None, None] / total
    inverses = _inverses(curvature, np.full(len(grams), gate.ridge))
    shape = (-1, len(grams))
    return lambda vector: np.einsum("kde,ek->dk", inverses, vector.reshape(shape)).ravel()


def _expert_inverse(data, parts, sums):
    """Inverse curvature of linear experts: a block for each expert and output."""
    total = data.total_weight
    _, n_experts, n_outputs = parts.experts.coef.shape
    ridge = np.broadcast_to(parts.experts.ridge() / total, (n_experts, n_outputs))
    curved = parts.likelihood.curved(sums.gram) / total
    inverses = np.stack([_inverses(curved[:, j], ridge[:, j]) for j in range(n_outputs)])
    unit = parts.experts.unit()

    def apply(vector):
        coef = vector.reshape(parts.experts.coef.shape) / unit
        return (np.einsum("jkde,ekj->dkj", inverses, coef) / unit).ravel()

    return apply


def _inverses(grams, ridge):
    """Inverses (K, D, D) of Grams with a ridge (K,) on the slopes."""
    n_columns = grams.shape[1]
    small = 1e-8 * np.trace(grams, axis1=1, axis2=2) / n_columns + 1e-300
    diagonal = np.repeat((ridge + small)[:, None], n_columns, axis=1)
    diagonal[:, -1] = small
    return np.linalg.inv(grams + diagonal[:, :, None] * np.eye(n_columns))


def _diagonal_precondition(data, parts, sums):
    """Inverse of the diagonal of the EM Hessian, from the columns' mean squares."""
    total = data.total_weight
    weight = data.weight[:, None] / total
    gate = _gate_diagonal(data, parts, sums, weight)
    curvature = parts.likelihood.pred_curvature(sums) / total
    if is_linear(parts.experts):
        experts = _expert_diagonal(data, parts.experts, curvature, weight)
    else:
        experts = parts.experts.diagonal(data, curvature)
    likelihood = parts.likelihood.flat_curvature(sums) / total
    diagonal = [gate, experts, likelihood]
    floored = [np.maximum(part, 1e-3 * part.max(initial=0.0) + 1e-300) for part in diagonal]
    scale = 1.0 / np.concatenate([part.ravel() for part in floored])
    return lambda vector: scale * vector


def _expert_diagonal(data, experts, curvature, weight):
    """Diagonal (D, K, P) of the curvature of linear experts."""
    squares = curvature * data.X.column_squares(weight)[:, :, None]
    if not experts.has_l1:
        squares = squares + experts.ridge() / data.total_weight
    return np.broadcast_to(squares * np.square(experts.unit()), experts.coef.shape)


def _gate_diagonal(data, parts, sums, weight):
    """Diagonal of the gate's curvature; one number for a gate without coefficients."""
    spread = sums.by_expert[:, -3] / data.total_weight
    if not hasattr(parts.gate, "block_coef"):
        return np.full(parts.gate.flat().size, spread.mean() + 1e-3)
    return spread * data.gate_X.column_squares(weight) + parts.gate.ridge


def _shared_precondition(data, parts, sums):
    """Inverse of a bound of the Hessian: one Gram for all rows of gate and experts."""
    total = data.total_weight
    _, n_experts, n_scores = parts.experts.coef.shape
    curvature = 1.0 / (4.0 * n_experts * total)
    if hasattr(parts.gate, "block_coef"):
        ridge = parts.gate.ridge
        gate = gram_preconditioner(data.gate_X, data.weight, curvature, ridge, n_experts)
    else:
        gate = _gate_inverse(data, parts, sums)
    ridge = float(np.mean(parts.experts.ridge())) / total
    experts = gram_preconditioner(data.X, data.weight, curvature, ridge, n_experts * n_scores)
    return _by_part(parts, gate, experts, lambda vector: vector)
