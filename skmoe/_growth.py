"""``n_experts="auto"``: the shell around a grown path."""

from contextlib import nullcontext
from dataclasses import replace

from sklearn.base import is_classifier

from ._criteria import countable
from ._fit import Parts
from ._monitor import Monitor
from ._selection import HeldOut, choose, full_path, in_sample, out_of_fold, surrogate_path
from ._starts import can_grow, linear_parts, resume, run
from ._sweep import single_blas
from ._training import AUTO_FOLDS
from .experts.estimators import make_folds

# EM along a path of other than linear experts only compares; the fit goes on later.
_PATH_ITER, _PATH_TOL, _PATH_PATIENCE = 15, 1e-3, 3


def resolve_criterion(plan, gate, likelihood, classify):
    """The criterion of ``n_experts="auto"``; raises where it cannot be had.

    Parameters
    ----------
    plan : ExpertPlan
        With ``growth``.
    gate, likelihood : parts
    classify : bool

    Returns
    -------
    {"bic", "bicc", "icl", "cv"}
    """
    uncounted = [type(part).__name__ for part in (gate, likelihood) if not countable(part)]
    uncounted += [type(template).__name__ for template in plan.templates[:1]]
    criterion = plan.growth.criterion
    if criterion == "auto":
        return "cv" if uncounted or classify else "bicc"
    if uncounted and criterion != "cv":
        raise ValueError(
            f"n_experts: criterion={criterion!r} counts free parameters, which "
            f"{' and '.join(uncounted)} does not tell; use Grow(criterion='cv')."
        )
    return criterion


class ChoosesExperts:
    """What an estimator does to choose the number of its experts."""

    def _check_growth(self, plan, gate, likelihood):
        """The criterion; None for a given number. Raises where there is none."""
        if plan.growth is None:
            return None
        if not isinstance(self.init, str):
            raise ValueError(
                "init is for a given number of experts, but n_experts='auto'; leave init out, "
                "or give the number."
            )
        return resolve_criterion(plan, gate, likelihood, is_classifier(self))

    def _choose_experts(self, data, plan, gate, likelihood, solver, criterion, rng):
        """Follow a path; returns the plan with a number of experts, and where to start.

        Returns
        -------
        plan : ExpertPlan
        last : Parts or None
        given : ndarray of shape (n, K) or None
            Responsibilities.
        grown : FitResult or None
            The fit on the path, to be raced against other starts.
        """
        n_rows = len(data.weight)
        if n_rows < 2 and criterion == "cv":
            raise ValueError(
                "n_experts='auto' holds rows out, but there is 1 sample; give the number."
            )
        if plan.linear is None:
            path, judge, held_out = self._foreign_path(data, plan, gate, likelihood, solver, rng)
        else:
            path, judge, held_out = _linear_path(
                data, plan, gate, likelihood, solver, criterion, rng
            )
        patience = plan.growth.patience
        with single_blas if plan.linear is not None else nullcontext():
            most = min(self.max_experts, n_rows)
            n_experts, result, self.path_ = choose(path, judge, criterion, most, patience, held_out)
        plan = plan.sized(n_experts)
        if plan.linear is None:
            whole = result.resp.shape[1] == n_experts  # none has failed and was left out
            return plan, None, result.resp if whole else None, None
        if can_grow(data, gate, plan.linear):
            return plan, None, None, result
        return plan, *resume(data, result), None

    def _foreign_path(self, data, plan, gate, likelihood, solver, rng):
        """Fits of other experts, judged by their predictions out of fold."""
        seeds = rng.randint(2**31 - 1, size=2)
        wanted = self.cross_fit if self.cross_fit not in (None, "auto") else AUTO_FOLDS
        n_rows = len(data.weight)
        wanted = min(wanted, n_rows) if isinstance(wanted, int) else wanted
        folded = replace(data, folds=make_folds(data.y, n_rows, wanted, seeds[0], data.n_classes))

        def fit_from(resp):
            n_experts = resp.shape[1]
            experts = self._foreign_experts(data, plan.sized(n_experts), seeds[1])
            parts = Parts(gate, experts, likelihood.start(data, n_experts))
            monitor = Monitor(_PATH_TOL, _PATH_ITER, _PATH_PATIENCE)
            return run(solver.fit, folded, parts, monitor, resp)

        def judge(result):
            return out_of_fold(folded, result)

        return surrogate_path(data, likelihood, fit_from), judge, None


def _linear_path(data, plan, gate, likelihood, solver, criterion, rng):
    """Fits of linear experts, judged in sample, or on folds with paths of their own."""

    def path_on(data):
        def make_parts(n_experts):
            return linear_parts(data, plan.linear, gate, likelihood, n_experts)

        def fit_from(resp):
            monitor = Monitor(_PATH_TOL, _PATH_ITER, _PATH_PATIENCE)
            return run(solver.fit, data, make_parts(resp.shape[1]), monitor, resp)

        if can_grow(data, gate, plan.linear):
            return full_path(data, make_parts, solver.fit)
        return surrogate_path(data, likelihood, fit_from)

    held_out = None
    if criterion == "cv":
        n_rows, seed = len(data.weight), rng.randint(2**31 - 1)
        n_folds = min(plan.growth.folds, n_rows)
        folds = make_folds(data.y, n_rows, n_folds, seed, data.n_classes)
        held_out = HeldOut(data, folds, path_on)
    return path_on(data), lambda result: in_sample(data, result), held_out
