"""The command: many seeds on all cores, or one seed told."""

import argparse
import json
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.sim.plan import Plan, plan_of
from tests.sim.shrink import shrink
from tests.sim.world import Outcome, simulate

STATE = Path("build/sim/state.json")
CHUNK = 8
REPORT_S = 10.0


def run_chunk(seeds: list[int]) -> list[tuple[int, str | None, str, float, float, dict[str, int]]]:
    """(seed, violation, trace, simulated seconds, CPU seconds, faults) of each."""
    results = []
    for seed in seeds:
        began = time.process_time()
        outcome = simulate(plan_of(seed))
        results.append(
            (
                seed,
                outcome.violation,
                outcome.trace,
                outcome.counts["simulated_s"],
                time.process_time() - began,
                dict(outcome.counts["faults"]),
            )
        )
    return results


def intervals(seeds: set[int]) -> list[list[int]]:
    """[first, behind the last] of each run of seeds."""
    found: list[list[int]] = []
    for seed in sorted(seeds):
        if found and found[-1][1] == seed:
            found[-1][1] = seed + 1
        else:
            found.append([seed, seed + 1])
    return found


class State:
    """What has been run, in a file: `done` as intervals, `failed` with their reasons, sums of the rest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: set[int] = set()
        self.failed: dict[int, str] = {}
        self.simulated_s = self.cpu_s = 0.0
        self.faults: dict[str, int] = {}
        if path.exists():
            found = json.loads(path.read_text())
            for first, behind in found["done"]:
                self.done.update(range(first, behind))
            self.failed = {int(seed): why for seed, why in found["failed"].items()}
            self.simulated_s, self.cpu_s = found["simulated_s"], found["cpu_s"]
            self.faults = found["faults"]

    def take(self, results: list[Any]) -> list[int]:
        """Notes results; gives the seeds among them that failed."""
        bad = []
        for seed, violation, _trace, simulated_s, cpu_s, faults in results:
            self.done.add(seed)
            self.simulated_s += simulated_s
            self.cpu_s += cpu_s
            for kind, count in faults.items():
                self.faults[kind] = self.faults.get(kind, 0) + count
            if violation is not None:
                self.failed[seed] = violation
                bad.append(seed)
        return bad

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "done": intervals(self.done),
            "failed": self.failed,
            "simulated_s": self.simulated_s,
            "cpu_s": self.cpu_s,
            "faults": self.faults,
        }
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(content, indent=1))
        temporary.replace(self.path)


def run_many(seeds: range, *, jobs: int, state_path: Path, most_failures: int, out: Any = sys.stdout) -> State:
    state = State(state_path)
    wanted = [seed for seed in seeds if seed not in state.done]
    chunks = [wanted[at : at + CHUNK] for at in range(0, len(wanted), CHUNK)]
    began = told = time.monotonic()
    count = 0
    for results in in_processes(chunks, jobs):
        bad = state.take(results)
        count += len(results)
        for seed in bad:
            print(f"seed {seed}: {state.failed[seed]}", file=out, flush=True)
        now = time.monotonic()
        if now - told > REPORT_S or bad:
            told = now
            state.write()
            rate = count / (now - began)
            left_s = (len(wanted) - count) / rate
            print(
                f"{len(seeds) - len(wanted) + count} of {len(seeds)} seeds, {len(state.failed)} failed,"
                f" {rate:.1f} a second, {left_s / 60:.0f} min to go",
                file=out,
                flush=True,
            )
        if len(state.failed) >= most_failures:
            print(f"{most_failures} failures are enough", file=out)
            break
    state.write()
    return state


def in_processes(chunks: list[list[int]], jobs: int) -> Iterator[Any]:
    if jobs == 1:
        yield from map(run_chunk, chunks)
        return
    context = multiprocessing.get_context("fork")
    with context.Pool(jobs, maxtasksperchild=50) as pool:
        yield from pool.imap_unordered(run_chunk, chunks)
        pool.close()
        pool.join()


def tell(plan: Plan, outcome: Outcome, out: Any = sys.stdout) -> None:
    print(
        f"seed {plan.seed}: {plan.brokers} brokers, {plan.log_dirs} disks each, {plan.partitions} partitions", file=out
    )
    print(f"producers (acks, idempotent): {plan.producers}", file=out)
    for line in outcome.story:
        print(line, file=out)
    print(f"{dict(outcome.counts)}\ntrace {outcome.trace}\n{outcome.violation or 'nothing was violated'}", file=out)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("seeds", help="FIRST:BEHIND, or one seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--state", type=Path, default=STATE, help="where it is kept what has been run")
    parser.add_argument("--failures", type=int, default=20, help="after so many it stops")
    parser.add_argument("--story", action="store_true", help="tells one seed")
    parser.add_argument("--log", action="store_true", help="tells one seed, with the brokers' logs")
    parser.add_argument("--shrink", action="store_true", help="tells the shortest story that fails as one seed does")
    options = parser.parse_args(arguments)
    first, _, behind = options.seeds.partition(":")
    seeds = range(int(first), int(behind) if behind else int(first) + 1)
    if options.story or options.log or options.shrink:
        plan = plan_of(seeds[0])
        if options.shrink:
            plan = shrink(plan)
        if options.log:
            logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s", stream=sys.stdout)
        outcome = simulate(plan, shows_log=options.log)
        tell(plan, outcome)
        return 1 if outcome.violation else 0
    state = run_many(seeds, jobs=options.jobs, state_path=options.state, most_failures=options.failures)
    failed = [seed for seed in state.failed if seed in seeds]
    for seed in failed[:3]:
        plan = shrink(plan_of(seed))
        path = options.state.parent / f"seed-{seed}.txt"
        with path.open("w") as file:
            tell(plan, simulate(plan), file)
        print(f"the story of seed {seed}, shrunk to {len(plan.events)} faults, is in {path}:")
        print(path.read_text())
    done = len([seed for seed in state.done if seed in seeds])
    hours = state.simulated_s / 3600
    print(
        f"{done} of {len(seeds)} seeds, {len(failed)} failed; {hours:.1f} simulated hours in all,"
        f" {state.cpu_s / max(len(state.done), 1):.2f} CPU-s a seed"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
