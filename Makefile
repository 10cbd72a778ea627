# Everything a fresh machine needs: Python 3.11 or newer, and make.
PYTHON ?= python3
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help demo test test-jax test-torch quick fuzz docs notebooks lint format evaluation bench bench-peers coverage clean

help:
	@echo "make demo    explain real digits and photographs with every method -> demo/*.png"
	@echo "make test    lint, and run the whole test suite"
	@echo "make test-jax, make test-torch   the suite on another backend; EVERY=5 runs one test in five"
	@echo "make quick   run a sample of the tests, under 3 minutes"
	@echo "make fuzz    hostile files, inputs and command lines, all of them -> docs/reliability.md"
	@echo "make docs    the documentation as a site -> build/docs/index.html"
	@echo "make notebooks   run all notebooks from a clean kernel and keep their outputs"
	@echo "make lint    check the style and the types; make format mends the style"
	@echo "make bench   time, memory, growth and throughput of the methods -> docs/performance.md, README.md"
	@echo "make bench-peers   the same for iNNvestigate 2, Zennit and Captum, in environments of their own"
	@echo "make evaluation    all methods by region perturbation and randomisation -> docs/evaluation.md"
	@echo "make coverage      every architecture of keras.applications, layer and operation -> docs/coverage.md"
	@echo "make clean   remove what the other targets made"

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[examples,export,test,docs,dev]"
	touch $@

demo: .venv/ready
	$(BIN)/python examples/mnist_methods.py && $(BIN)/python examples/imagenet_methods.py

test: .venv/ready lint
	$(BIN)/python -m pytest -n 2

# A small model takes longer to compile than to run: XLA is asked to optimise little, in one piece
# (at level 0 it reads memory that nothing was written to).
EVERY ?= 1
test-jax: export KERAS_BACKEND = jax
test-jax: export XLA_FLAGS = --xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true \
	--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1
test-jax: .venv/ready
	$(BIN)/python -m pytest -n 2 --every $(EVERY)

test-torch: .venv/ready .venv/torch
	KERAS_BACKEND=torch OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --every $(EVERY)

.venv/torch: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test-torch]"
	touch $@

quick: .venv/ready
	$(BIN)/python -m pytest -n 2 -m "not slow" --every 16

fuzz: .venv/ready
	$(BIN)/python -m tests.fuzz.report

docs: .venv/ready
	$(BIN)/sphinx-build -q -E -W --keep-going -b html docs build/docs

notebooks: .venv/ready
	$(BIN)/python examples/run_notebooks.py

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

evaluation: .venv/ready
	$(BIN)/python benchmarks/evaluation.py

bench: .venv/ready
	for script in bench growth throughput memory pattern_fit; do $(BIN)/python benchmarks/$$script.py || exit 1; done

bench-peers: .venv/ready
	$(BIN)/python benchmarks/peers/run.py

coverage: .venv/ready
	$(BIN)/python benchmarks/coverage_layers.py
	$(BIN)/python benchmarks/ledger_coverage.py
	$(BIN)/python benchmarks/applications_coverage.py

clean:
	rm -rf .venv benchmarks/peers/.venv demo build docs/notebooks *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
