"""`make fuzz`: libFuzzer over the C core, with AddressSanitizer and UBSan, going on from the corpus.

    python3 tests/fuzz/native [--minutes N | --runs N] [--only scan,records]

Each target in this directory is built with clang and run; what it finds new goes to build/fuzz/corpus/TARGET, an input
that breaks a promise to build/fuzz/TARGET-crash-..., and the command then fails. Inputs worth keeping for all test runs
lie in corpus/TARGET (`--keep` merges the new ones into it, the smallest that reach the same code).
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BUILD = ROOT / "build" / "fuzz"
TARGETS = sorted(path.stem for path in HERE.glob("*.c") if path.stem != "replay")
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
SANITIZERS = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=undefined"]
OPTIONS = {"ASAN_OPTIONS": "quarantine_size_mb=16", "PATH": "/usr/bin:/bin"}
MAX_LENGTH = 1024


def build(target: str) -> Path:
    program = BUILD / target
    sources = [HERE / f"{target}.c", *sorted((ROOT / "src").glob("*.c"))]
    subprocess.run(
        ["clang", *FLAGS, *SANITIZERS, f"-I{ROOT / 'src'}", *map(str, sources), "-o", str(program)], check=True
    )
    return program


def fuzz(target: str, limit: str) -> int:
    """Runs one target; how many inputs were tried. Raises SystemExit when a promise was broken."""
    found = BUILD / "corpus" / target
    found.mkdir(parents=True, exist_ok=True)
    log = BUILD / f"{target}.log"
    with log.open("w") as output:
        done = subprocess.run(
            [
                str(build(target)), limit, f"-max_len={MAX_LENGTH}", "-print_final_stats=1",
                f"-artifact_prefix={BUILD / target}-", str(found), str(HERE / "corpus" / target),
            ],
            stdout=output, stderr=subprocess.STDOUT, env=OPTIONS,
        )  # fmt: skip
    text = log.read_text(errors="replace")
    if done.returncode:
        sys.exit(f"fuzz: {target} broke a promise: see {log}\n{text[-3000:]}")
    tried = int(re.findall(r"stat::number_of_executed_units: (\d+)", text)[-1])
    (covered, corpus) = re.findall(r"cov: (\d+) .*corp: (\d+)/", text)[-1]
    print(f"{target:10} {tried:>12,} inputs, {covered} places covered, corpus of {corpus}", flush=True)
    return tried


def keep(target: str) -> None:
    """Merges what was found into the corpus of the repository."""
    seeds = HERE / "corpus" / target
    seeds.mkdir(parents=True, exist_ok=True)
    command = [str(BUILD / target), "-merge=1", f"-max_len={MAX_LENGTH}", str(seeds), str(BUILD / "corpus" / target)]
    subprocess.run(command, check=True, capture_output=True, env=OPTIONS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="fuzz")
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument("--minutes", type=float, default=5, help="for all targets together")
    limits.add_argument("--runs", type=int, help="inputs for each target")
    parser.add_argument("--only", help="targets, with commas between them")
    parser.add_argument("--keep", action="store_true", help="keep what was found for every test run")
    options = parser.parse_args()
    targets = options.only.split(",") if options.only else TARGETS
    unknown = set(targets) - set(TARGETS)
    if unknown:
        sys.exit(f"fuzz: no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    seconds = max(1, int(options.minutes * 60 / len(targets)))
    for target in targets:
        fuzz(target, f"-runs={options.runs}" if options.runs else f"-max_total_time={seconds}")
        if options.keep:
            keep(target)


if __name__ == "__main__":
    main()
