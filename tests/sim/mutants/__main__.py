"""Runs the simulator over seeds until each mutant is found, and writes the table."""

import argparse
import contextlib
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.sim.mutants.mutant import Mutant
from tests.sim.mutants.rules import MUTANTS
from tests.sim.plan import plan_of
from tests.sim.world import simulate

TABLE = Path("tests/sim/mutants/table.md")
FIRST_SEED = 1


class Found(NamedTuple):
    mutant: Mutant
    seed: int | None
    seeds: int
    violation: str
    seconds: float


def apply(mutant: Mutant) -> None:
    mutant.apply()


def violation_of(seed: int) -> tuple[int, str | None]:
    return seed, simulate(plan_of(seed)).violation


def search(mutant: Mutant, *, most: int, jobs: int) -> Found:
    began = time.monotonic()
    context = multiprocessing.get_context("fork")
    count = 0
    with context.Pool(jobs, initializer=apply, initargs=(mutant,)) as pool:
        for seed, violation in pool.imap_unordered(violation_of, range(FIRST_SEED, FIRST_SEED + most)):
            count += 1
            if violation is not None:
                pool.terminate()
                return Found(mutant, seed, count, violation, time.monotonic() - began)
    return Found(mutant, None, count, "", time.monotonic() - began)


# What is asked where a mutant names no tests of its own.
TESTS = ("tests/replica", "tests/cluster", "tests/log/test_leader_epoch.py", "tests/log/test_partition_log.py")


class FirstFailure:
    """A plugin of pytest that remembers."""

    def __init__(self) -> None:
        self.name = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid


def failing_test(mutant: Mutant) -> str:
    """The first of the named tests that fails; to be called in a process that dies with the mutant."""
    import pytest

    mutant.apply()
    plugin = FirstFailure()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        options = ["-q", "-x", "-n0", "-p", "no:cacheprovider", "-m", "not kafka and not slow"]
        pytest.main([*options, *(mutant.named_tests or TESTS)], plugins=[plugin])
    return plugin.name


def ask_named_tests(mutant: Mutant) -> str:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(failing_test, (mutant,))


def row(found: Found) -> str:
    mutant = found.mutant
    if found.seed is not None:
        first_line = found.violation.splitlines()[0].replace("|", "/")
        by, seeds = f"the simulator: {first_line[:110]}", str(found.seeds)
    else:
        test = ask_named_tests(mutant)
        by, seeds = f"`{test}`" if test else "nobody", f"not in {found.seeds}"
    return f"| {mutant.rule} | {mutant.broken} | {by} | {seeds} |"


def read_rows(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    rows = [line for line in path.read_text().splitlines() if line.startswith("| ") and not line.startswith("| rule")]
    return {line.split("|")[1].strip(): line for line in rows}


def write_table(path: Path, rows: dict[str, str]) -> None:
    order = {mutant.rule: number for number, mutant in enumerate(MUTANTS)}
    lines = [rows[rule] for rule in sorted(rows, key=lambda rule: order.get(rule, len(order))) if rule in order]
    head = "| rule | broken so that | found by | seeds needed |\n| --- | --- | --- | --- |\n"
    path.write_text(head + "\n".join(lines) + "\n")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.mutants", description=__doc__)
    parser.add_argument("rules", nargs="*", help="which; all where none is named")
    parser.add_argument("--most", type=int, default=2000, help="seeds for each")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--table", type=Path, default=TABLE)
    options = parser.parse_args(arguments)
    wanted = [each for each in MUTANTS if not options.rules or each.rule in options.rules]
    rows = read_rows(options.table)
    missed = 0
    for mutant in wanted:
        found = search(mutant, most=options.most, jobs=options.jobs)
        rows[mutant.rule] = row(found)
        missed += "| nobody |" in rows[mutant.rule]
        print(f"{rows[mutant.rule]} {found.seconds:.0f} s", flush=True)
        write_table(options.table, rows)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
