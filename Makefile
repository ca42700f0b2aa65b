PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 9092
DATA ?= ./data

# A plain path entry: the default editable finder costs every start 15 ms.
EDITABLE := $(BIN)/pip install --quiet --no-build-isolation --config-settings editable_mode=compat --editable

SOURCES := $(wildcard src/*.c src/*.h kstore/_native/*.pyx kstore/_native/*.pxd kstore/_native/_os_build.py) setup.py pyproject.toml

.PHONY: build run test lint clean

$(VENV)/.created: pyproject.toml
	@$(PYTHON) tests/setup/prepare.py compiler
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet "setuptools>=77" "cython>=3.1" "cffi>=1.17"
	touch $@

$(VENV)/.built: $(VENV)/.created $(SOURCES)
	KSTORE_STRICT=1 $(EDITABLE) .
	touch $@

$(VENV)/.test: $(VENV)/.built
	$(EDITABLE) ".[test]"
	touch $@

$(VENV)/.lint: $(VENV)/.built
	$(EDITABLE) ".[lint]"
	touch $@

build: $(VENV)/.built

run: build
	@echo "A broker on 127.0.0.1:$(PORT) over $(DATA); Ctrl-C stops it. In another terminal:"
	@echo "  echo hello | kcat -P -b 127.0.0.1:$(PORT) -t greetings"
	@echo "  kcat -C -b 127.0.0.1:$(PORT) -t greetings -e"
	@$(BIN)/kstore-server --data-dir $(DATA) --port $(PORT)

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
