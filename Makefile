PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 9092
DATA ?= ./data

# A plain path entry: the default editable finder costs every start 15 ms.
EDITABLE := $(BIN)/pip install --quiet --no-build-isolation --config-settings editable_mode=compat --editable

SOURCES := $(wildcard src/*.c src/*.h kstore/_native/*.pyx kstore/_native/*.pxd kstore/_native/_os_build.py) setup.py pyproject.toml

.PHONY: build run test kill-test damage fail-calls cluster-test chaos sim sim-story sim-mutants lint sanitize fuzz fuzz-python crowd bench bench-kafka clean

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

# Kafka and kstore side by side: SHORT=1 for a quick look, KAFKA=kafka-4.3.0, ONLY=produce-16k,start (see the README).
bench-kafka: $(VENV)/.test
	@$(PYTHON) tests/setup/prepare.py packages jars
	$(BIN)/python -m benchmarks.side_by_side $(if $(SHORT),--short) $(if $(KAFKA),--kafka $(KAFKA)) $(if $(ONLY),--only $(ONLY)) $(if $(PINNED),--pinned)
# A process that appends is killed with -9 so many times (20 in `make test`).
ROUNDS ?= 1000

kill-test: $(VENV)/.test
	KSTORE_KILL_ROUNDS=$(ROUNDS) $(BIN)/pytest -q -o timeout=7200 tests/log/test_kill.py

# Every byte of 256 KiB of log directories flipped, and every file cut at every length (some hundreds in `make test`).
damage: $(VENV)/.test
	KSTORE_DAMAGE=all $(BIN)/pytest -q -n 2 tests/log/test_damage.py

# A process whose N-th open, write, fsync, rename, read, truncate or unlink fails, for every N (some in `make test`).
fail-calls: $(VENV)/.test
	KSTORE_FAIL_CALLS=all $(BIN)/pytest -q -n 2 tests/embedded/test_system_calls.py

# Clusters on a real ZooKeeper whose sessions end and whose brokers are killed, beside Kafka's too (the short ones are in
# `make test`).
cluster-test: $(VENV)/.test
	@$(PYTHON) tests/setup/prepare.py packages jars
	$(BIN)/pytest -q tests/zk tests/chaos

# Three brokers under load, with every fault at random for MINUTES: SEED=n for one of before, BESIDE_KAFKA=1 makes one of
# the three an Apache Kafka broker. A failure leaves all directories and logs, and says where.
chaos: $(VENV)/.test
	@$(PYTHON) tests/setup/prepare.py packages jars
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),60) $(if $(SEED),--seed $(SEED)) $(if $(BESIDE_KAFKA),--kafka)

# Whole clusters in virtual time, one seed after the other, on all cores: SEEDS=20000:30000. It goes on where it was
# stopped (build/sim); `make sim-story SEED=20017` tells one, `make sim-mutants` breaks the rules in turn.
SEEDS ?= 20000:20400

sim: $(VENV)/.test
	$(BIN)/python -m tests.sim $(SEEDS)

sim-story: $(VENV)/.test
	$(BIN)/python -m tests.sim --story $(SEED)

sim-mutants: $(VENV)/.test
	$(BIN)/python -m tests.sim.mutants $(RULES)

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$(abspath $(BIN)):$$PATH" cython-lint kstore
	$(BIN)/clang-format --dry-run --Werror src/*.[ch] tests/fuzz/native/*.[ch]

# The same modules once more, with AddressSanitizer and UBSan, beside the ordinary ones. Any finding aborts the run.
# PYTHONMALLOC=malloc shows each object of Python to the sanitizer. Leaks are not looked for: CPython itself frees
# little at its exit, so that every report of them would be about the interpreter.
SANITIZED := build/sanitize/lib

sanitize: $(VENV)/.test
	KSTORE_STRICT=1 KSTORE_SANITIZE=1 $(BIN)/python setup.py --quiet build \
	    --build-base build/sanitize --build-lib $(SANITIZED)
	env LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
	    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
	    PYTHONMALLOC=malloc KSTORE_SANITIZED=$(SANITIZED) \
	    $(BIN)/python -m pytest -n 2 -m "not kafka and not kcat" -p no:cacheprovider \
	    -o "pythonpath=$(SANITIZED) ." tests/_native

# libFuzzer over the C core: MINUTES=n for all targets together, or RUNS=n inputs for each.
fuzz:
	@$(PYTHON) tests/setup/prepare.py clang
	$(PYTHON) tests/fuzz/native $(if $(RUNS),--runs $(RUNS),--minutes $(or $(MINUTES),5)) $(if $(ONLY),--only $(ONLY)) $(if $(KEEP),--keep)

# Whatever reads bytes above C, with RUNS=n mutations for each version of each request and each kind of file and record.
fuzz-python: $(VENV)/.test
	KSTORE_FUZZ_RUNS=$(or $(RUNS),200000) $(BIN)/pytest -q -n 2 tests/fuzz/test_parsers.py

# 2,000 idle connections, 200 that never read, 200 that send a byte a second: on a machine that does nothing else.
crowd: $(VENV)/.test
	KSTORE_CROWD=all $(BIN)/pytest -q -s tests/fuzz/test_crowds.py

# Results are kept in .benchmarks, so that `make bench COMPARE=0001` compares with an earlier run; TABLE=file keeps the
# closing table.
bench: $(VENV)/.test
	$(BIN)/pytest benchmarks -o python_files='bench_*.py' -p no:cacheprovider --benchmark-only --benchmark-autosave \
	    --benchmark-group-by=group --benchmark-sort=name --benchmark-columns=min,median,iqr,rounds \
	    $(if $(COMPARE),--benchmark-compare=$(COMPARE)) $(if $(TABLE),--table $(TABLE))

clean:
	rm -rf build $(VENV) *.egg-info kstore/_native/*.so
