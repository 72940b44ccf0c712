"""The monitor: what counts as progress, as arrival, as the best."""

import numpy as np
import pytest
from conftest import require
from numpy.testing import assert_array_equal

from skmoe import _progress
from skmoe._monitor import Monitor
from skmoe._progress import Progress


def fed(values, **params):
    """A monitor that has seen values, and what it answered."""
    progress = Progress(params.pop("verbose", 0), params.pop("label", ""))
    monitor = Monitor(**{"tol": 1e-3, "max_iter": 100, "progress": progress, **params})
    return monitor, [monitor.update(value, np.array([0.4, 0.6])) for value in values]


def test_first_value_is_the_best_and_no_arrival():
    monitor, better = fed([-5.0])
    assert better == [True]
    assert monitor.best == -5.0
    assert not monitor.converged
    assert not monitor.stop


def test_rises_above_tol_are_progress():
    monitor, better = fed([-5.0, -4.0, -3.99])
    assert better == [True, True, True]
    assert not monitor.converged


def test_rise_below_tol_is_an_arrival_and_still_the_best():
    monitor, better = fed([-5.0, -4.9999])
    assert better == [True, True]
    assert monitor.best == -4.9999
    assert monitor.converged
    assert monitor.stop


def test_no_change_is_an_arrival():
    assert fed([-5.0, -5.0])[0].converged


@pytest.mark.parametrize("drop", [1.0, 1e-2, 1e-4, 1e-7])
def test_drop_is_not_an_arrival(drop):
    monitor, better = fed([-5.0, -5.0 - drop])
    assert better == [True, False]
    assert not monitor.converged
    assert monitor.best == -5.0


def test_drops_all_the_way_down_are_no_arrival():
    monitor, better = fed([-5.0, -6.0, -7.0, -8.0])
    assert not monitor.converged
    assert better == [True, False, False, False]


def test_rounding_error_is_not_a_drop():
    assert fed([-5.0, -5.0 - 1e-12])[0].converged


def test_slow_creep_adds_up_with_patience():
    """Rises of 0.4 tol are progress together: the reference stays where it was."""
    monitor, _ = fed(np.arange(20) * 4e-4, patience=5)
    assert not monitor.converged


@pytest.mark.parametrize("patience", [2, 5])
def test_patience_counts_iterations_without_a_rise(patience):
    values = [0.0, 1.0] + [0.5] * (patience - 1)
    monitor, _ = fed(values, patience=patience)
    assert not monitor.converged
    monitor.update(0.9, np.ones(2))
    assert monitor.converged
    assert monitor.best == 1.0


def test_patience_starts_again_after_a_rise():
    assert not fed([0.0, -1.0, -1.0, 0.5, 0.2, 0.2], patience=3)[0].converged
    assert fed([0.0, -1.0, -1.0, 0.5, 0.2, 0.2, 0.2], patience=3)[0].converged


def test_running_out_of_iterations_is_not_an_arrival():
    monitor, _ = fed([0.0, 1.0, 2.0], max_iter=3)
    assert monitor.stop
    assert not monitor.converged


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_value_that_is_no_number_is_never_the_best(value):
    monitor, better = fed([value, -1.0, value])
    assert better == [False, True, False]
    assert monitor.best == -1.0
    assert not monitor.converged


def test_history_has_one_entry_per_iteration():
    monitor = Monitor(1e-3, 10)
    load = np.array([0.2, 0.8])
    for passes in (1, 3):
        monitor.update(-1.0 / passes, load, passes)
    load[:] = 0.0
    assert monitor.n_iter == 2
    assert {len(values) for values in monitor.history.values()} == {2}
    assert monitor.history["objective"] == [-1.0, -1.0 / 3]
    assert monitor.history["passes"] == [1, 3]
    assert 0.0 <= monitor.history["seconds"][0] <= monitor.history["seconds"][1]
    assert_array_equal(monitor.history["load"], [[0.2, 0.8], [0.2, 0.8]])


def test_silent_by_default(capsys):
    fed([-5.0, -4.0])[0].close()
    assert capsys.readouterr().out == ""


def test_verbose_one_is_a_single_line_that_is_overwritten(capsys, monkeypatch):
    monkeypatch.setattr(_progress, "tqdm", None)
    fed([-5.0, -4.0], verbose=1, label="start 1/2  ")[0].close()
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.endswith("\n")
    lines = out.strip().split("\r")
    assert len(lines) == 2
    assert lines[1].startswith("start 1/2  iteration    2  objective -4.000000  load % 40 60")


def test_verbose_two_is_a_line_per_iteration(capsys):
    fed([-5.0, -4.0], verbose=2)[0].close()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["iteration", "1"], ["iteration", "2"]]


def test_tqdm_shows_the_line_where_it_is_installed(capsys):
    require("tqdm")
    fed([-5.0, -4.0], verbose=1, label="start 1/2  ")[0].close()
    out, err = capsys.readouterr()
    last = out.rstrip().split("\r")[-1]
    assert err == "" and out.count("\n") == 1
    assert last.startswith("start 1/2") and "iteration 2" in last
    assert "objective -4.000000  load % 40 60" in last


def test_callbacks_are_told_of_every_iterate():
    seen = []
    progress = Progress(label="start 1/2  ", callbacks=[seen.append])
    monitor = Monitor(1e-3, 10, progress=progress)
    for value in (-5.0, -4.0, -4.5):
        monitor.update(value, np.array([0.4, 0.6]), passes=2)
    assert [state.iteration for state in seen] == [1, 2, 3]
    assert [state.objective for state in seen] == [-5.0, -4.0, -4.5]
    assert [state.best for state in seen] == [-5.0, -4.0, -4.0]
    assert {state.label for state in seen} == {"start 1/2"} and seen[0].passes == 2
    assert [state.seconds for state in seen] == monitor.history["seconds"]
    seen[0].load[:] = 0.0  # a copy
    assert_array_equal(monitor.history["load"][0], [0.4, 0.6])


def test_shorter_line_covers_what_was_there(capsys, monkeypatch):
    monkeypatch.setattr(_progress, "tqdm", None)
    fed([-5.0, -4.0], verbose=1)
    lines = capsys.readouterr().out.split("\r")[1:]
    assert {len(line) for line in lines} == {79}
