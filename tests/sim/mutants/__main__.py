"""Runs the simulator over seeds until each mutant is found, and writes the table."""

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

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


def row(found: Found) -> str:
    mutant = found.mutant
    if found.seed is not None:
        first_line = found.violation.splitlines()[0].replace("|", "/")
        by, seeds = f"the simulator: {first_line[:110]}", str(found.seeds)
    elif mutant.named_tests:
        by, seeds = ", ".join(f"`{name}`" for name in mutant.named_tests), f"not in {found.seeds}"
    else:
        by, seeds = "nobody", f"not in {found.seeds}"
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
        missed += found.seed is None and not mutant.named_tests
        rows[mutant.rule] = row(found)
        print(f"{rows[mutant.rule]} {found.seconds:.0f} s", flush=True)
        write_table(options.table, rows)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
