"""The simulator itself: seeds that run clean, the same seed the same trace, a broken rule found, a story shrunk."""

import io
import json
import multiprocessing
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim import __main__ as command
from tests.sim.mutants.rules import MUTANTS
from tests.sim.plan import Event, Plan, plan_of
from tests.sim.shrink import shrink
from tests.sim.world import Outcome, simulate

# Others are run by `make sim`.
SEEDS = int(os.environ.get("KSTORE_SIM_SEEDS", "24"))
GROUP = 4
HERE = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("first", range(0, SEEDS, GROUP))
def test_nothing_is_violated_whatever_goes_wrong(first: int) -> None:
    for seed in range(first, first + GROUP):
        outcome = simulate(plan_of(seed))
        assert outcome.violation is None, "\n".join([f"seed {seed}", *outcome.story])
        assert outcome.counts["simulated_s"] >= 120
        assert outcome.counts["acknowledged"] > 100


def trace_in_another_process(seed: int, hash_seed: str) -> str:
    code = (
        "from tests.sim.plan import plan_of; from tests.sim.world import simulate;"
        f"print(simulate(plan_of({seed})).trace)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=HERE,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return run.stdout.strip()


def test_the_same_seed_gives_the_same_trace_whatever_python_hashes() -> None:
    here = simulate(plan_of(5))
    assert len(here.trace) == 32
    assert {trace_in_another_process(5, hash_seed) for hash_seed in ("1", "2")} == {here.trace}
    assert simulate(plan_of(6)).trace != here.trace


def scattered(chance: random.Random) -> list[bytearray]:
    """Memory with holes, so that objects come to lie elsewhere and in another order."""
    found = [bytearray(chance.choice((30, 60, 100, 200, 300, 400, 500))) for _ in range(20_000)]
    return [each for each in found if chance.random() < 0.5]


def test_the_same_seed_gives_the_same_trace_wherever_objects_lie() -> None:
    """A set of objects is gone through in the order of their addresses."""
    traces = set()
    held = []
    for number in range(5):
        held.append(scattered(random.Random(number)))
        traces.add(simulate(plan_of(5)).trace)
    assert len(traces) == 1


def broken(rule: str, seeds: range) -> str | None:
    """What the simulator says of a broken rule, in a process that dies with it."""
    (mutant,) = [each for each in MUTANTS if each.rule == rule]
    with multiprocessing.get_context("fork").Pool(1, initializer=mutant.apply) as pool:
        return pool.apply(first_violation, (seeds,))


def first_violation(seeds: range) -> str | None:
    return next((found for seed in seeds if (found := simulate(plan_of(seed)).violation) is not None), None)


def test_a_broken_rule_is_found() -> None:
    """A new leader that takes all it has for committed (rule 14)."""
    found = broken("14a", range(12))
    assert found is not None
    assert "committed" in found


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.rule for mutant in MUTANTS])
def test_every_mutant_has_its_place_in_the_source(mutant: object) -> None:
    assert mutant.made() is not None  # type: ignore[attr-defined]


def test_a_failing_plan_is_shrunk_to_what_it_fails_by() -> None:
    plan = plan_of(2)._replace(
        events=tuple(Event(float(number), "kill" if number in (3, 11) else "slow", "b1") for number in range(16))
    )

    def fails(candidate: Plan) -> Outcome | None:
        kills = sum(event.kind == "kill" for event in candidate.events)
        return Outcome(2, "two kills", "", [], {}) if kills == 2 else None

    small = shrink(plan, fails)
    assert [event.kind for event in small.events] == ["kill", "kill"]
    assert (small.brokers, small.log_dirs, small.partitions, len(small.producers)) == (3, 1, 1, 1)


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[int] = []

    def run_chunk(seeds: list[int]) -> list[tuple[int, str | None, str, float, float, dict[str, int]]]:
        run.extend(seeds)
        return [(seed, "bad" if seed == 23 else None, "", 120.0, 0.5, {"kill": 1}) for seed in seeds]

    monkeypatch.setattr(command, "run_chunk", run_chunk)
    path = tmp_path / "state.json"
    command.run_many(range(10, 20), jobs=1, state_path=path, most_failures=5, out=io.StringIO())
    state = command.run_many(range(10, 30), jobs=1, state_path=path, most_failures=5, out=io.StringIO())
    assert run == list(range(10, 30))
    assert state.failed == {23: "bad"}
    assert json.loads(path.read_text())["done"] == [[10, 30]]
    assert json.loads(path.read_text())["faults"] == {"kill": 20}
