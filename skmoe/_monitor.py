"""Who judges the progress of a fit, and ends it."""

import time

import numpy as np

from ._fit import make_result
from ._progress import Progress


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in the middle of a fit that had come somewhere.

    Parameters
    ----------
    data : FitData
    result : FitResult
        The best iterate so far.
    """

    def __init__(self, data, result):
        super().__init__(f"interrupted after {result.n_iter} iterations")
        self.data, self.result = data, result


class Monitor:
    """Judges the progress of a fit.

    Parameters
    ----------
    tol : float
        A rise of the objective below this counts as none.
    max_iter : int
    patience : int, default=1
        Iterations in a row without a rise of the best objective after which the fit
        has converged. With ``patience=1`` a drop never counts as an arrival.
    progress : Progress, default=None
        Shows what happens; nothing by default.

    Attributes
    ----------
    best : float
        Best objective so far.
    reference : float
        Objective that a later one must exceed by ``tol`` to count as a rise.
    converged : bool
    saver : Saver or None
        Of a fit with a checkpoint; see `skmoe._checkpoint`.
    history : dict of list
        ``objective``, ``seconds`` since the start, ``passes`` over the rows and
        ``load`` (K,), one entry per iteration.
    """

    def __init__(self, tol, max_iter, patience=1, progress=None):
        self.tol = tol
        self.max_iter = max_iter
        self.patience = patience
        self.progress = Progress() if progress is None else progress
        self.best = -np.inf
        self.converged = False
        self.history = {"objective": [], "seconds": [], "passes": [], "load": []}
        self._kept = None
        self.reference = -np.inf
        self._still = 0
        self._began = time.perf_counter()
        self.saver = None

    @property
    def n_iter(self):
        """Iterations so far."""
        return len(self.history["objective"])

    def update(self, objective, load, passes=1):
        """Record an iterate.

        Parameters
        ----------
        objective : float
        load : ndarray of shape (K,)
            Share of the rows whose most probable expert is k.
        passes : int, default=1
            Passes over the rows since the last call.

        Returns
        -------
        bool
            Whether the iterate is the best so far.
        """
        best = self.best
        self.history["objective"].append(float(objective))
        self.history["seconds"].append(time.perf_counter() - self._began)
        self.history["passes"].append(passes)
        self.history["load"].append(np.array(load))
        better = objective > self.best
        if better:
            self.best = float(objective)
        if objective > self.reference + self.tol:
            self.reference, self._still = float(objective), 0
        elif self.patience > 1 or objective >= best - 1e-9 * max(1.0, abs(best)):
            self._still += 1
        self.converged = self._still >= self.patience
        self.progress.tell(self.history, self.best)
        return better

    def keep(self, parts, unexplained=0, resp=None, expert_resp=None):
        """Hold on to the best iterate, for a fit that is interrupted."""
        self._kept = parts, unexplained, resp, expert_resp

    def best_so_far(self):
        """The iterate that was kept, as the result of a fit; None if there is none."""
        if self._kept is None:
            return None
        parts, unexplained, resp, expert_resp = self._kept
        names = ("objective", "seconds", "passes", "load")
        whole = min(len(self.history[name]) for name in names)
        for name in names:  # the last entry may have been cut off
            del self.history[name][whole:]
        self.converged = False
        return make_result(parts, self, resp, unexplained, expert_resp)

    def save(self, stage, state):
        """Where the trainer stands, for a fit with a checkpoint; as of `Saver.save`."""
        if self.saver is not None:
            self.saver.save(stage, state)

    def resume(self, stage):
        """What a fit that was cut off has saved, or None; as of `Saver.resume`."""
        return None if self.saver is None else self.saver.resume(stage)

    def state(self):
        """All that `restore` needs, as lists, numbers and arrays."""
        history = {name: np.array(values) for name, values in self.history.items()}
        judged = {"best": self.best, "reference": self.reference, "still": self._still}
        return {"history": history, "converged": bool(self.converged), **judged}

    def restore(self, state):
        """Go on as the monitor whose `state` this is."""
        self.best, self.reference = state["best"], state["reference"]
        self._still, self.converged = state["still"], state["converged"]
        self.history = {
            name: list(values) if values.ndim > 1 else values.tolist()
            for name, values in state["history"].items()
        }
        self._began = time.perf_counter() - self.history["seconds"][-1]

    def record(self, objective, seconds, passes, load):
        """Take over an iterate from another monitor, without judging it."""
        before = self.history["seconds"][-1] if self.n_iter else 0.0
        self.history["objective"].append(objective)
        self.history["seconds"].append(max(before, time.perf_counter() - self._began))
        self.history["passes"].append(passes)
        self.history["load"].append(load)
        self.progress.tell(self.history, self.best)

    def restart(self, forget=True):
        """Judge afresh, since what is climbed has changed.

        Parameters
        ----------
        forget : bool, default=True
            Whether earlier objectives cannot be compared with those to come.
        """
        self.reference, self._still, self.converged = -np.inf, 0, False
        if forget:
            self.best, self._kept = -np.inf, None

    @property
    def stop(self):
        """Whether to stop: converged or out of iterations."""
        return self.converged or self.n_iter >= self.max_iter

    def close(self):
        """End the line of progress."""
        self.progress.close()
