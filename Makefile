PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 9092
DATA ?= ./data

SOURCES := $(wildcard src/*.c src/*.h kstore/_native/*.pyx kstore/_native/*.pxd kstore/_native/_os_build.py) setup.py pyproject.toml

.PHONY: build run test lint clean

$(VENV)/.created: pyproject.toml
	@$(PYTHON) tests/setup/prepare.py compiler
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet "setuptools>=77" "cython>=3.1" "cffi>=1.17"
	touch $@

$(VENV)/.built: $(VENV)/.created $(SOURCES)
	KSTORE_STRICT=1 $(BIN)/pip install --quiet --no-build-isolation --editable .
	touch $@

$(VENV)/.test: $(VENV)/.built
	$(BIN)/pip install --quiet --no-build-isolation --editable ".[test]"
	touch $@

$(VENV)/.lint: $(VENV)/.built
	$(BIN)/pip install --quiet --no-build-isolation --editable ".[lint]"
	touch $@

build: $(VENV)/.built

run: build
	$(BIN)/kstore-server --data-dir $(DATA) --port $(PORT)

# All of its own set-up: see tests/setup/prepare.py. KSTORE_CACHE names a cache of Kafka's jars to share between clones.
test: $(VENV)/.test
	@$(PYTHON) tests/setup/prepare.py packages jars
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/cython-lint kstore
	$(BIN)/clang-format --dry-run --Werror src/*.c src/*.h

clean:
	rm -rf build $(VENV) *.egg-info kstore/_native/*.so
