"""Stories that the simulator has found, told with as few faults as they need; each seed once ended in a violation."""

import pytest

from tests.sim.faults import Faults
from tests.sim.plan import Event, Plan, plan_of
from tests.sim.world import Outcome, simulate


def plan_with(*events: Event, seed: int) -> Plan:
    return plan_of(seed)._replace(
        brokers=3, log_dirs=1, partitions=1, producers=((-1, True), (-1, False)), closing="", events=events
    )


def told(*events: Event, seed: int) -> Outcome:
    outcome = simulate(plan_with(*events, seed=seed))
    assert outcome.violation is None, "\n".join(outcome.story)
    return outcome


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_new_controller_notices_a_leader_that_came_back_while_there_was_none(seed: int) -> None:
    """The leader loses its power and comes back; the controller dies before it has seen the leader's znode go. The next
    one found the leader alive and the state as it was, and it led on without its lost tail."""
    told(Event(20.0, "power", "leader", 1.0), Event(23.0, "kill", "controller", 9.0), seed=seed)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_broker_that_came_back_does_not_obey_what_was_meant_for_its_earlier_life(seed: int) -> None:
    """The session of before is not over yet, so that the controller takes the broker for the one that it was. What it
    sends then (here because a new one is elected) was taken, and the old epoch was led without its lost tail."""
    told(Event(20.0, "power", "leader", 1.0), Event(23.0, "depose", "b1"), seed=seed)


@pytest.mark.parametrize("loss", ["power", "wipe"])
@pytest.mark.parametrize(("lags", "dies", "seed"), [("b3", "b1", 1), ("b1", "b2", 4), ("b1", "b2", 6), ("b2", "b3", 7)])
def test_the_only_one_that_holds_all_is_waited_for(lags: str, dies: str, seed: int, loss: str) -> None:
    """A follower lags behind, the other one dies, and then the leader, alone in sync, loses its power (or is replaced
    by an empty machine): it came back, was compared with the one that lagged, and led without what only the dead one
    still had (rule 26)."""
    told(
        Event(20.0, "cut", "leader", 29.0, lags),
        Event(34.0, "kill", dies, 26.0),
        Event(40.3, loss, "leader", 1.0),
        seed=seed,
    )


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_follower_whose_clock_is_set_back_fetches_on(seed: int) -> None:
    """It had lost its connections a moment before: its back-off was over an hour later by that clock."""
    told(
        Event(20.0, "lose connections", "follower"),
        Event(20.05, "set clock", "b1", 0.0, "b1", -3_600_000.0),
        Event(20.05, "set clock", "b2", 0.0, "b1", -3_600_000.0),
        Event(20.05, "set clock", "b3", 0.0, "b1", -3_600_000.0),
        seed=seed,
    )


POWER_CUTS = [Event(at_s, "power", broker, 1.0) for at_s in (20.0, 50.0) for broker in ("b1", "b2", "b3")]


@pytest.mark.parametrize("seed", [1, 3, 4])
def test_what_is_flushed_before_it_is_acknowledged_survives_the_end_of_all_machines(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """With flush.messages=1. Without it, here as with Kafka, each of these seeds loses what was acknowledged."""
    monkeypatch.setattr(Faults, "_may_lose", lambda _faults, _who: True)
    plan = plan_with(*POWER_CUTS, seed=seed)
    flushed = simulate(plan, overrides={"log.flush.interval.messages": "1"})
    assert flushed.violation is None, "\n".join(flushed.story)
    assert flushed.counts["faults"]["power"] == len(POWER_CUTS)
    unflushed = simulate(plan)
    assert unflushed.violation is not None
    assert "was committed" in unflushed.violation
