# Every target uses the virtual environment $(VENV). The default, .venv, is made
# at first use and renewed when setup.py changes; any other one is made if it is
# missing and used as it is if it exists:  make test VENV=/path/to/environment
PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= test
WORKERS ?= 2

RUN := $(VENV)/bin/python
PYTEST := $(RUN) -m pytest
# skmoe/_ops/gpu.py is the one module that cannot be imported without CuPy.
DOCTESTS := --doctest-modules --doctest-glob='*.md' --ignore=skmoe/_ops/gpu.py
PAGES := $(wildcard README.md docs/*.md)
# Files whose tests together run every kernel; as plain Python the rest takes too long.
NOJIT_TESTS ?= $(addprefix tests/test_, $(addsuffix .py, answers blocks degenerate design \
    em_monotone fit gaussian_gate information invariants joint lbfgs likelihoods linear_experts \
    minibatch mixture multinomial_experts ops quantiles routing small softmax_gate whole))

# One thread per process: the tests run in $(WORKERS) processes.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

ifeq ($(VENV),.venv)
READY := $(VENV)/.installed
else
READY := $(RUN)
endif

define make-environment
$(PYTHON) -m venv $(VENV)
$(RUN) -m pip install --quiet --editable '.[$(EXTRAS)]'
endef

.PHONY: demo test test-slow test-nojit lint docs bench clean

demo: $(READY)
	$(RUN) examples/demo.py

test: $(READY)
	$(PYTEST) -m "not slow" -n $(WORKERS) --dist worksteal $(DOCTESTS) tests skmoe $(PAGES)

test-slow: $(READY)
	$(PYTEST) -m "slow and not alone" -n $(WORKERS) --dist worksteal tests
	$(PYTEST) -m "slow and alone" tests

# The kernels as plain Python: finds errors that compiled code hides.
test-nojit: $(READY)
	NUMBA_DISABLE_JIT=1 $(PYTEST) -m "not slow and not jit_only" \
	    -n $(WORKERS) --dist worksteal $(NOJIT_TESTS)

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m mypy

docs: $(VENV)/.installed-docs
	$(RUN) -m sphinx -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/.installed-bench
	$(RUN) benchmarks/run.py

clean:
	rm -rf .venv build dist skmoe.egg-info docs/_build docs/auto_examples docs/generated
	rm -rf .pytest_cache .hypothesis .ruff_cache
	find skmoe tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: setup.py
	$(make-environment)
	touch $@

$(RUN):
	$(make-environment)

$(VENV)/.installed-docs $(VENV)/.installed-bench: setup.py | $(READY)
	$(RUN) -m pip install --quiet --editable '.[$(patsubst .installed-%,%,$(notdir $@))]'
	touch $@
