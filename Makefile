# What a developer runs often. PYTHON is the interpreter of a virtual environment with '.[dev]';
# `make .venv/bin/python` makes one.
PYTHON ?= .venv/bin/python
BIN = $(dir $(PYTHON))

.PHONY: test test-all one fuzz lint bench docs completion dist deb

# The tests that README names: five minutes. They leave out those with the mark `slow`.
test: $(PYTHON)
	$(PYTHON) -m pytest -q -n auto

VM_TESTS = tests/system/test_vm.py tests/system/test_units.py tests/security/test_cgroup_escapes.py \
	tests/system/test_installing.py tests/system/test_debian_package.py tests/system/test_moving.py \
	tests/system/test_mail_servers.py tests/system/test_shared_vm.py

# Also the slow tests, those that take minutes, and more random examples: an hour. As root the
# system tests, too.
# The crash test and the machines with systemd need both processors, so they run alone.
test-all: $(PYTHON)
	$(PYTHON) -m pytest -q --thorough tests/crash
	$(PYTHON) -m pytest -q --thorough $(VM_TESTS)
	$(PYTHON) -m pytest -q -n auto --thorough --ignore tests/crash $(VM_TESTS:%=--ignore %)

# One file or one test, with its output: make one T=tests/unit/test_zone.py
one: $(PYTHON)
	$(PYTHON) -m pytest -x -vv -m "" $(T)

# Random texts for one reader: make fuzz T=tables SECONDS=60 (schedules, configuration, allow,
# control, runner, agent, zones, database)
SECONDS ?= 10
fuzz: $(PYTHON)
	$(PYTHON) -m tests.fuzz $(T) $(SECONDS)

# The checks of .pre-commit-config.yaml.
lint: $(PYTHON)
	$(BIN)ruff format --check .
	$(BIN)ruff check .
	$(BIN)mypy
	PYTHONPATH=. $(BIN)lint-imports

# Figures for bench/README.md: only on a machine that has nothing else to do.
bench: $(PYTHON)
	$(PYTHON) bench/schedules.py
	$(PYTHON) bench/history.py
	$(PYTHON) bench/imports.py

# The manual pages, checked, and as HTML below build/man.
docs:
	mandoc -T lint -W warning man/*.[1-8]
	mkdir -p build/man
	for page in man/*.[1-8]; do mandoc -T html -O style=mandoc.css $$page >build/$$page.html; done

# contrib/completion, after a change of verbs or options.
completion: $(PYTHON)
	PYTHONPATH=. $(PYTHON) contrib/completion/generate.py

# The wheel and the sdist, in dist/.
dist: $(PYTHON)
	$(PYTHON) -m pip wheel -q --no-deps -w dist .
	$(PYTHON) -c "from setuptools import build_meta; build_meta.build_sdist('dist')" >/dev/null

# The package for this Debian, in dist/; as root.
deb:
	contrib/debian/build

.venv/bin/python:
	python3 -m venv .venv
	.venv/bin/pip install -q -e '.[dev]'
