"""Fits of single experts on the workers of a cluster."""

import zlib
from dataclasses import replace

import numpy as np

from ..experts._jobs import attempt
from ._rows import forgotten


class JobsOnWorkers:
    """Runs fits of experts on workers, one expert a task; rows are sent to all once.

    What goes to a worker for each fit are the template and the weights of the rows.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client):
        self.client = client
        self._sent = {}

    def __call__(self, tasks):
        """Results of tasks (job, training, output, keep), in order."""
        futures = []
        for job, training, output, keep in tasks:
            rows = self._once(("rows", id(training.X), training.classify), training)
            train, test = (self._numbers(some) for some in (job.train, job.test))
            light = replace(job, train=None, test=None)
            one = self.client.submit(_run, light, train, test, rows, output, keep, pure=False)
            futures.append(one)
        with forgotten(futures):
            return self.client.gather(futures)

    def release(self):
        """Let the workers forget the rows."""
        for future, _ in self._sent.values():
            future.release()
        self._sent = {}

    def _numbers(self, rows):
        """Row numbers that have been sent before, or are sent now; None stays None."""
        if rows is None:
            return None
        rows = np.ascontiguousarray(rows)
        return self._once((len(rows), zlib.crc32(rows)), rows)

    def _once(self, key, thing):
        if key not in self._sent:
            # The thing itself is kept, since its address is in the key.
            future = self.client.scatter(thing, broadcast=True, hash=False)
            self._sent[key] = future, thing
        return self._sent[key][0]


def _run(job, train, test, training, output, keep):
    return attempt(replace(job, train=train, test=test), training, output, keep)
