"""Imports go downward, files stay short, and importing skmoe is cheap."""

import ast
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import skmoe

PACKAGE = Path(skmoe.__file__).parent
CHECKOUT = PACKAGE.parent
MAX_LINES = 420

# First component of the path below skmoe/ (a file without ".py", or a folder).
LAYERS = {
    "_ops": 0,
    "_bins": 1,
    "_block_passes": 1,
    "blocks": 1,
    "_cells": 1,
    "_checkpoint": 1,
    "_combine": 1,
    "_design": 1,
    "_failures": 1,
    "_fit": 1,
    "_forest": 1,
    "_lbfgs": 1,
    "_monitor": 1,
    "_network": 1,
    "_numbers": 1,
    "_owlqn": 1,
    "_penalty": 1,
    "_precondition": 1,
    "_progress": 1,
    "_units": 1,
    "experts": 1,
    "gates": 1,
    "likelihoods": 1,
    "mixture": 1,
    "routing": 1,
    "balance": 1,
    "_assign": 2,
    "_adam": 2,
    "_blockwise": 2,
    "_boost": 2,
    "_cooperative": 2,
    "_criteria": 2,
    "_device": 2,
    "_device_descent": 2,
    "_device_experts": 2,
    "_device_joint": 2,
    "_device_memory": 2,
    "_device_predict": 3,
    "_device_steps": 2,
    "_em": 2,
    "_health": 2,
    "_information": 2,
    "_init": 2,
    "_joint": 2,
    "_minibatch": 2,
    "_path": 2,
    "_per_output": 2,
    "_selection": 2,
    "_pool": 2,
    "_some": 2,
    "_stages": 2,
    "_stepwise": 2,
    "_stream": 2,
    "_starts": 2,
    "_predictor": 2,
    "_gate_step": 2,
    "_rows": 2,
    "_survey": 2,
    "_routed": 2,
    "_routed_joint": 2,
    "_revival": 2,
    "_sweep": 2,
    "_whole": 2,
    "selection": 2,
    "solvers": 2,
    "_base": 3,
    "diagnosis": 3,
    "_distribution": 3,
    "independent": 1,
    "inference": 3,
    "_life": 3,
    "_outputs": 3,
    "_living": 3,
    "_solving": 3,
    "_devices": 3,
    "_door": 3,
    "_explaining": 3,
    "explanation": 3,
    "_features": 3,
    "_function_space": 3,
    "_gating": 3,
    "_growth": 3,
    "_comparison": 3,
    "_online": 3,
    "_blockable": 3,
    "_outofcore": 3,
    "_picture": 3,
    "_predict": 3,
    "_resuming": 3,
    "_targets": 3,
    "_training": 3,
    "_sparse": 3,
    "_validation": 3,
    "__init__": 4,
    "__main__": 4,
    "_cli": 4,
    "classifier": 4,
    "dask": 4,
    "datasets": 4,
    "export": 4,
    "inspection": 4,
    "metrics": 4,
    "path": 4,
    "regressor": 4,
}


# --- reading imports ------------------------------------------------------------


def find_modules(package):
    """Map the dotted name of every module below `package` to its source."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
        modules[".".join(parts)] = path.read_text(encoding="utf-8")
    return modules


def is_type_checking(node):
    test = node.test if isinstance(node, ast.If) else None
    return "TYPE_CHECKING" in (getattr(test, "id", None), getattr(test, "attr", None))


def walk_runtime(node):
    """Yield the nodes below `node`, without bodies of ``if TYPE_CHECKING``."""
    children = node.orelse if is_type_checking(node) else ast.iter_child_nodes(node)
    for child in children:
        yield child
        yield from walk_runtime(child)


def imported_modules(name, source, modules, packages):
    """Return the modules of skmoe that the module `name` imports."""
    root = name.partition(".")[0]
    found = set()
    for node in walk_runtime(ast.parse(source)):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = name.split(".")
                # A package's __init__ is one level nearer to its siblings.
                keep = len(parents) - node.level + (name in packages)
                base = ".".join([*parents[:keep], *filter(None, [node.module])])
            # `from package import name`: the module `name`, if there is one.
            below = [f"{base}.{alias.name}" for alias in node.names]
            wanted = [full if full in modules else base for full in below]
        else:
            continue
        found.update(w for w in wanted if w == root or w.startswith(root + "."))
    return found - {name}


def read_imports(modules):
    """Map every module to the set of modules that it imports."""
    packages = {name for name in modules if any(m.startswith(name + ".") for m in modules)}
    return {n: imported_modules(n, s, modules, packages) for n, s in modules.items()}


def layer_of(name):
    """Return the layer of a module; KeyError where the table lacks it."""
    parts = name.split(".")
    return LAYERS[parts[1] if len(parts) > 1 else "__init__"]


def upward_imports(imports):
    return [
        f"{name} (layer {layer_of(name)}) imports {other} (layer {layer_of(other)})"
        for name, others in sorted(imports.items())
        for other in sorted(others)
        if layer_of(other) > layer_of(name)
    ]


def find_cycle(imports):
    """Return the names along one cycle of imports, or None."""
    done, path = set(), []

    def visit(name):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done or name not in imports:
            return None
        path.append(name)
        for other in sorted(imports[name]):
            cycle = visit(other)
            if cycle:
                return cycle
        path.pop()
        done.add(name)
        return None

    return next(filter(None, map(visit, sorted(imports))), None)


# --- the checks find what they look for ------------------------------------------

EXAMPLE = {
    "skmoe": "from .regressor import MoERegressor\n__version__ = '0'",
    "skmoe.regressor": "def fit():\n    from skmoe import _em",
    "skmoe._em": "from . import gates\nimport skmoe._ops.cpu\nimport numpy",
    "skmoe.gates": "from .softmax import SoftmaxGate",
    "skmoe.gates.softmax": "from .._ops import get_ops",
    "skmoe._ops": "from ._jit import kernel\nfrom . import cpu",
    "skmoe._ops._jit": "from numba import njit",
    "skmoe._ops.cpu": "from ._jit import kernel",
}


def test_imports_are_resolved():
    assert read_imports(EXAMPLE) == {
        "skmoe": {"skmoe.regressor"},
        "skmoe.regressor": {"skmoe._em"},
        "skmoe._em": {"skmoe.gates", "skmoe._ops.cpu"},
        "skmoe.gates": {"skmoe.gates.softmax"},
        "skmoe.gates.softmax": {"skmoe._ops"},
        "skmoe._ops": {"skmoe._ops._jit", "skmoe._ops.cpu"},
        "skmoe._ops._jit": set(),
        "skmoe._ops.cpu": {"skmoe._ops._jit"},
    }
    assert upward_imports(read_imports(EXAMPLE)) == []
    assert find_cycle(read_imports(EXAMPLE)) is None


@pytest.mark.parametrize("line", ["from ..regressor import X", "from skmoe import __version__"])
def test_an_upward_import_is_found(line):
    wrong = {**EXAMPLE, "skmoe.gates.softmax": f"def f():\n    {line}"}
    assert len(upward_imports(read_imports(wrong))) == 1


def test_a_cycle_is_found():
    wrong = {**EXAMPLE, "skmoe._ops._jit": "from .cpu import x"}
    assert set(find_cycle(read_imports(wrong))) == {"skmoe._ops._jit", "skmoe._ops.cpu"}


def test_imports_for_type_checkers_do_not_count():
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ._em import x"
    assert read_imports({**EXAMPLE, "skmoe._fit": source})["skmoe._fit"] == set()


# --- the package ------------------------------------------------------------------


@pytest.fixture(scope="module")
def modules():
    return find_modules(PACKAGE)


def test_every_file_is_in_the_table(modules):
    unknown = [n for n in modules if (n.split(".")[1:2] or ["__init__"])[0] not in LAYERS]
    assert not unknown, f"give {unknown} a layer in LAYERS"


def test_imports_go_downward(modules):
    assert upward_imports(read_imports(modules)) == []


def test_no_cycles(modules):
    cycle = find_cycle(read_imports(modules))
    assert cycle is None, " -> ".join(cycle)


def test_files_are_short(modules):
    lengths = {name: source.count("\n") for name, source in modules.items()}
    assert {n: lines for n, lines in lengths.items() if lines > MAX_LINES} == {}


# --- cost of the import -----------------------------------------------------------


def run_python(code):
    """Run `code` in a new process and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "NUMBA_DISABLE_JIT": "0"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


COUNT_COMPILED = """
import sys
from numba.core import event
from numba.core.dispatcher import Dispatcher
recorder = event.RecordingListener()
event.register("numba:compile", recorder)
{statements}
loaded = [m for n, m in sorted(sys.modules.items()) if n.partition(".")[0] == "skmoe"]
kernels = [v for m in loaded for v in vars(m).values() if isinstance(v, Dispatcher)]
compiled = [kernel.__name__ for kernel in kernels if kernel.signatures]
print(len(recorder.buffer), len(compiled), *compiled)
"""


def test_import_compiles_nothing():
    assert run_python(COUNT_COMPILED.format(statements="import skmoe")).split() == ["0", "0"]


def test_a_compilation_would_be_noticed():
    statements = "\n".join(
        ["import skmoe, numba", "skmoe.probe = numba.njit('int64(int64)')(lambda x: x + 1)"]
    )
    events, compiled, *_ = run_python(COUNT_COMPILED.format(statements=statements)).split()
    assert int(events) > 0
    assert int(compiled) == 1


TIME_IMPORT = """
import time
start = time.process_time()
import numba, pandas, scipy.optimize, scipy.sparse, scipy.stats
import sklearn.cluster, sklearn.ensemble, sklearn.linear_model, sklearn.model_selection
middle = time.process_time()
import skmoe
print((time.process_time() - middle) / (middle - start))
"""


@pytest.mark.slow
@pytest.mark.alone
def test_import_is_fast():
    """Importing skmoe takes less than two fifths of the time of importing what it needs."""
    run_python(TIME_IMPORT)  # writes the byte code
    shares = [float(run_python(TIME_IMPORT)) for _ in range(3)]
    assert statistics.median(shares) < 0.4
