# make demo   build, then kill real processes in mid-stream and show that nothing was lost
# make check  before each commit: format, lints, types, unit and contract tests
# make test   everything that CI checks; SYSTEM=0 leaves out tests that need system tools
# make dev    build only: .venv/bin/python can import flint
# make soak   the long run of the proofs;  make sabotage  shows that the tests notice deliberate defects
# make bench  measure;  make fmt  format;  make clean  remove what was built
#
# Needs Python 3.10 or later with venv, a Rust toolchain and GNU make. PYTHON=... chooses the interpreter.

SHELL := /bin/sh
.DEFAULT_GOAL := dev
.DELETE_ON_ERROR:
.PHONY: demo check test dev bench soak sabotage fmt clean rust-tools system-tools test-rust test-python left-out lint lint-python lint-rust

PYTHON ?= python3
SYSTEM ?= 1

VENV := .venv
PY := $(VENV)/bin/python
TOOLS := $(VENV)/.tools
BUILT := $(VENV)/.built
# `_native.abi3.so`, or with the version of a free-threaded interpreter in its name.
EXTENSION := python/flint/_native.*.so
EVIDENCE := $(CURDIR)/target/evidence
TIMES := $(CURDIR)/target/test_times
PY_SOURCES := python tests/python demo examples scripts contrib $(wildcard benchmarks)

# A new or removed file changes its directory, so directories count as sources too.
RUST_SOURCES := $(shell find crates \( -name '*.rs' -o -name 'Cargo.toml' -o -type d \)) \
                Cargo.toml Cargo.lock pyproject.toml $(wildcard rust-toolchain.toml .cargo/config.toml)

# The same interpreter for every build, or cargo would configure and compile the binding anew each time.
export PYO3_PYTHON := $(abspath $(PY))
export VIRTUAL_ENV := $(abspath $(VENV))
# Rust tests that need system tools ask for it.
export FLINT_SYSTEM := $(SYSTEM)
export PYTHONDONTWRITEBYTECODE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH PYTHONHOME

dev: $(BUILT)

$(TOOLS): requirements-dev.txt requirements-greenlets.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "make: Python 3.10 or later is needed, $(PYTHON) is not; name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { \
	  echo "make: cannot make $(VENV); on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PY) -m pip install --quiet --requirement requirements-dev.txt
	@$(PY) -c 'import sysconfig, sys; sys.exit(bool(sysconfig.get_config_var("Py_GIL_DISABLED")))' || exit 0; \
	  $(PY) -m pip install --quiet --requirement requirements-greenlets.txt
	@touch $@

$(BUILT): $(TOOLS) $(RUST_SOURCES) $(if $(wildcard $(EXTENSION)),,missing-extension)
	@command -v cargo >/dev/null || { echo "make: cargo is needed: install a Rust toolchain (https://rustup.rs)" >&2; exit 1; }
	$(VENV)/bin/maturin develop --release --locked --quiet
	@touch $@

.PHONY: missing-extension
missing-extension:

demo: $(BUILT)
	$(PY) demo/crash_demo.py
	$(PY) demo/web_demo.py
	$(PY) demo/shared_demo.py

check:
	@$(MAKE) --no-print-directory -j1 rust-tools
	@$(MAKE) --no-print-directory -j2 $(BUILT) lint-rust
	@$(MAKE) --no-print-directory -j1 lint-python
	$(PY) scripts/run_rust_tests.py --unit
	$(PYTEST) tests/python/contract tests/python/shared $(wildcard tests/python/test_*.py) $(addprefix --ignore=,$(SLOW)) -m "not system"

# Parts that keep both cores busy run one after the other, whatever -j says; the end of the extension's build has one thread, and
# clippy runs beside it.
test:
	@$(MAKE) --no-print-directory -j1 rust-tools system-tools
	@mkdir -p "$(dir $(EVIDENCE))" && rm -f "$(EVIDENCE)" "$(TIMES)"
	@$(MAKE) --no-print-directory -j2 $(BUILT) lint-rust
	@FLINT_EVIDENCE="$(EVIDENCE)" FLINT_TIMES="$(TIMES)" $(MAKE) --no-print-directory -j1 lint-python test-rust test-python
	@$(PY) scripts/slowest_parts.py "$(TIMES)"
	@$(PY) scripts/check_evidence.py "$(EVIDENCE)" $(if $(filter 0,$(SYSTEM)),--no-system)

rust-tools:
	@cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt || { \
	  echo "make: rustfmt is needed: rustup component add rustfmt" >&2; exit 1; }
	@cargo clippy --version >/dev/null 2>&1 || rustup component add clippy || { \
	  echo "make: clippy is needed: rustup component add clippy" >&2; exit 1; }

system-tools:
ifneq ($(SYSTEM),0)
	@sh scripts/install-system-tools.sh strace promtool:prometheus curl systemd-analyze:systemd mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs
endif

lint: lint-rust lint-python

lint-rust: $(TOOLS)
	cargo fmt --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

lint-python: $(BUILT)
	$(VENV)/bin/ruff check $(PY_SOURCES)
	$(VENV)/bin/ruff format --check $(PY_SOURCES)
	$(VENV)/bin/mypy --strict --explicit-package-bases python/flint tests/python demo examples scripts contrib
	$(PY) -m mypy.stubtest flint._native
	$(PY) scripts/lint_words.py

test-rust: $(TOOLS)
	$(PY) scripts/run_rust_tests.py

# Three workers on two cores: many tests wait, for a process to start or for time to pass.
PYTEST := $(PY) -m pytest --numprocesses 3
SELECTED := $(if $(filter 0,$(SYSTEM)),-m "not system")
# What `make check` leaves to `make test`: the long comparison with a model, and what builds or downloads packages.
SLOW := tests/python/test_model.py tests/python/test_distribution.py tests/python/test_fastapi_versions.py

test-python: $(BUILT)
	$(PYTEST) tests/python $(SELECTED)
ifeq ($(SYSTEM),0)
	@echo "Left out because of SYSTEM=0:"
	@$(MAKE) --no-print-directory left-out
endif

# Quiet once, as pyproject.toml says, pytest names each test; quiet twice, it only counts them.
left-out:
	@$(PY) -m pytest tests/python -m system --collect-only | grep '::'
	@sed -n 's/.* left_out("\(.*\)").*/crates\/flint-torture\/tests\/kill_points.rs::\1/p' crates/flint-torture/tests/kill_points.rs

bench: $(BUILT)
	cargo bench -p flint-core --bench limiter -- --quick
	$(PY) benchmarks/python_api.py
	$(PY) benchmarks/cli_start.py
	@sh scripts/install-system-tools.sh wrk redis-server redis-benchmark:redis-tools
	$(PY) benchmarks/server.py

# The long run: half an hour on two cores. Optimised, and with the checks of a debug build. What the fuzzers find new joins the
# corpus, as far as its bounds let it.
soak: $(TOOLS) system-tools
	cargo build --profile soak --locked -p flint-torture --bins
	@rm -f "$(EVIDENCE)-soak"
	FLINT_EVIDENCE="$(EVIDENCE)-soak" target/soak/soak
	FLINT_EVIDENCE="$(EVIDENCE)-soak" target/soak/fuzz --seconds 60 --store
	@$(PY) scripts/check_evidence.py "$(EVIDENCE)-soak" --soak

# Each deliberate defect in the engine has to turn some test red.
sabotage: $(TOOLS) system-tools
	$(PY) scripts/sabotage.py

fmt: $(TOOLS)
	cargo fmt
	$(VENV)/bin/ruff check --fix-only $(PY_SOURCES)
	$(VENV)/bin/ruff format $(PY_SOURCES)

clean:
	cargo clean
	rm -rf $(VENV) $(EXTENSION) .flint-demo dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
