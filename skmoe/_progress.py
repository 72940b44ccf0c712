"""What a long fit shows of itself, and tells others."""

import sys
from types import SimpleNamespace

try:
    from tqdm.auto import tqdm
except ImportError:
    tqdm = None

_WIDTH = 79
_BAR = "{desc}iteration {n_fmt} [{elapsed}] {postfix}"


class Progress:
    """Shows iterations and calls callbacks.

    Parameters
    ----------
    verbose : int, default=0
        1: one line, updated, by tqdm where it is installed; 2: a line per iteration.
    label : str, default=""
        Stands at the start of the line.
    callbacks : sequence of callable, default=()
        Called with a namespace of ``iteration``, ``objective``, ``load``, ``seconds``,
        ``passes``, ``best`` and ``label``.
    """

    def __init__(self, verbose=0, label="", callbacks=()):
        self.verbose, self.label = verbose, label
        self.callbacks = tuple(callbacks or ())
        self._bar, self._shown = None, False

    def labelled(self, label):
        """The same with another label."""
        return Progress(self.verbose, label, self.callbacks)

    def tell(self, history, best):
        """Show the last entry of a history, and pass it on.

        Parameters
        ----------
        history : dict of list
        best : float
        """
        n_iter = len(history["objective"])
        objective, load = history["objective"][-1], history["load"][-1]
        if self.verbose:
            self._show(n_iter, objective, load)
        for callback in self.callbacks:
            about = {"iteration": n_iter, "best": best, "label": self.label.strip()}
            last = {name: history[name][-1] for name in ("objective", "load", "seconds", "passes")}
            callback(SimpleNamespace(**about, **{**last, "load": load.copy()}))

    def close(self):
        """End the line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        elif self.verbose == 1 and self._shown:
            sys.stdout.write("\n")
            sys.stdout.flush()
        self._shown = False

    def _show(self, n_iter, objective, load):
        self._shown = True
        shares = " ".join(f"{100 * share:.0f}" for share in load[:12])
        facts = f"objective {objective:+.6f}  load % {shares}"
        if self.verbose == 1 and tqdm is not None:
            if self._bar is None:
                self._bar = tqdm(desc=self.label, bar_format=_BAR, file=sys.stdout)
            self._bar.set_postfix_str(facts, refresh=False)
            self._bar.update(n_iter - self._bar.n)
            return
        line = f"{self.label}iteration {n_iter:4d}  {facts}"
        end = "\n" if self.verbose > 1 else ""
        start = "" if self.verbose > 1 else "\r"
        sys.stdout.write(f"{start}{line:<{_WIDTH}}{end}")
        sys.stdout.flush()


def check_callbacks(callbacks):
    """Raise unless these can be called.

    Parameters
    ----------
    callbacks : list or None
    """
    for callback in callbacks or ():
        if not callable(callback):
            raise TypeError(f"callbacks: {callback!r} cannot be called.")
