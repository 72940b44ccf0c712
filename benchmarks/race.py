"""Trajectories of a race: objective against CPU seconds, all from one start."""

import time
from dataclasses import dataclass

import numpy as np
from problems import new_parts

from skmoe._monitor import Monitor


@dataclass
class Trajectory:
    """Objective per row of one method against CPU seconds.

    The clock starts when the objective and its gradient at the start are known;
    ``begun`` is what it took to get there (for skmoe the first M-step).
    """

    seconds: np.ndarray
    objective: np.ndarray
    passes: float = np.nan
    begun: float = np.nan
    result: object = None

    @property
    def final(self):
        """Best objective."""
        return float(np.max(self.objective))

    def seconds_to(self, value):
        """CPU seconds until the objective is at least ``value``; NaN if never."""
        reached = np.flatnonzero(self.objective >= value)
        return float(self.seconds[reached[0]]) if len(reached) else np.nan


class Recorder:
    """Takes down objectives with the CPU seconds that the method has used so far."""

    def __init__(self, stop_at=np.inf, limit=np.inf):
        self.stop_at, self.limit = stop_at, limit
        self.rows = []
        self._began = time.process_time()

    def __call__(self, objective):
        """Take down; returns whether the goal is reached or the time is over."""
        seconds = time.process_time() - self._began
        self.rows.append((seconds, float(objective)))
        return objective >= self.stop_at or seconds > self.limit

    def trajectory(self, passes=np.nan, result=None):
        """What was taken down, the clock starting at the first objective."""
        seconds, objective = np.array(self.rows).T
        return Trajectory(seconds - seconds[0], objective, passes, seconds[0], result)


class RecordingMonitor(Monitor):
    """A monitor that takes down CPU seconds and stops at a goal."""

    def __init__(self, recorder, tol, max_iter, patience):
        super().__init__(tol, max_iter, patience)
        self.recorder = recorder
        self.arrived = False

    def update(self, objective, load, passes=1):
        """Record an iterate."""
        self.arrived |= self.recorder(objective)
        return super().update(objective, load, passes)

    @property
    def stop(self):
        """Whether to stop."""
        return self.arrived or self.converged or self.n_iter >= self.max_iter


def run_skmoe(solver, start, stop_at=np.inf, limit=np.inf, *, tol=1e-11, resume=False):
    """Trajectory of one of skmoe's solvers.

    Its first iterate, one M-step from responsibilities, is the start of all others.
    With ``resume`` it goes on from the parameters of the start.
    """
    recorder = Recorder(stop_at, limit)
    monitor = RecordingMonitor(recorder, tol, 5000, solver.patience)
    if resume:
        parts, resp = start.parts, start.posterior()
    else:
        parts, resp = new_parts(start.data, start.problem.n_experts, start.penalised), start.resp
    result = solver.fit(start.data, parts, monitor, resp)
    return recorder.trajectory(float(np.sum(monitor.history["passes"])), result)
