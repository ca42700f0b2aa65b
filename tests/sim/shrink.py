"""A failing plan made small: faults, clients and brokers are left out while it still fails."""

from collections.abc import Callable

from tests.sim.plan import Event, Plan
from tests.sim.world import Outcome, simulate

MOST_TRIES = 120


def shrink(plan: Plan, fails: Callable[[Plan], Outcome | None] | None = None, *, most: int = MOST_TRIES) -> Plan:
    """The smallest plan that was found. `fails` gives the outcome of a plan that fails, None of one that does not."""
    tries = 0

    def still_fails(candidate: Plan) -> bool:
        nonlocal tries
        tries += 1
        if fails is not None:
            return fails(candidate) is not None
        return simulate(candidate).violation is not None

    def attempt(candidate: Plan) -> bool:
        nonlocal plan
        if tries < most and candidate != plan and still_fails(candidate):
            plan = candidate
            return True
        return False

    size = max(len(plan.events) // 2, 1)
    while size >= 1 and plan.events and tries < most:
        start, shrunk = 0, False
        while start < len(plan.events) and tries < most:
            rest: tuple[Event, ...] = plan.events[:start] + plan.events[start + size :]
            if attempt(plan._replace(events=rest)):
                shrunk = True
            else:
                start += size
        if size == 1 and not shrunk:
            break
        size = max(size // 2, 1) if not shrunk or size > 1 else 1
    for less in ({"brokers": 3}, {"closing": ""}, {"log_dirs": 1}, {"partitions": 1}, {"consumers": 1}):
        attempt(plan._replace(**less))  # type: ignore[arg-type]
    for number in reversed(range(len(plan.producers))):
        if len(plan.producers) > 1:
            attempt(plan._replace(producers=plan.producers[:number] + plan.producers[number + 1 :]))
    for number, event in enumerate(plan.events):
        if event.for_s > 2:
            shorter = event._replace(for_s=round(event.for_s / 2, 2))
            attempt(plan._replace(events=(*plan.events[:number], shorter, *plan.events[number + 1 :])))
    return plan
