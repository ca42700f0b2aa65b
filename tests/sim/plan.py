"""What a seed asks for: the cluster, its clients, and what goes wrong when. A plan is values, so that it can be made
smaller."""

import random
from typing import NamedTuple

QUIET_AT_S = 100.0
END_S = 120.0
# How long a cluster has, after the faults have stopped, to be whole again.
PATIENCE_S = 50.0


class Event(NamedTuple):
    """`who` is a broker's name, or a part that some broker plays then: leader, follower, controller."""

    at_s: float
    kind: str
    who: str
    for_s: float = 0.0
    other: str = ""
    amount: float = 0.0

    def __str__(self) -> str:
        words = [f"{self.at_s:7.2f} s", self.kind, self.who]
        if self.other:
            words.append(f"- {self.other}")
        if self.for_s:
            words.append(f"for {self.for_s:.1f} s")
        if self.amount:
            words.append(f"({self.amount:g})")
        return " ".join(words)


class Plan(NamedTuple):
    seed: int
    brokers: int
    log_dirs: int
    partitions: int
    producers: tuple[tuple[int, bool], ...]  # acks, idempotent
    consumers: int
    events: tuple[Event, ...]
    quiet_at_s: float = QUIET_AT_S
    end_s: float = END_S
    # How one broker goes away when all is quiet: the others go on, and take acks=all.
    closing: str = ""


KINDS = (
    # kind, weight, shortest, longest
    ("kill", 5, 0.3, 15.0),
    ("power", 4, 0.5, 15.0),
    ("wipe", 1, 0.5, 10.0),
    ("pause", 3, 0.2, 14.0),
    ("stop", 2, 0.5, 8.0),
    ("cut", 3, 0.5, 20.0),
    ("cut one way", 2, 0.5, 20.0),
    ("isolate", 3, 0.5, 15.0),
    ("cut from zookeeper", 3, 0.5, 15.0),
    ("zookeeper away", 1, 0.5, 10.0),
    ("lose connections", 3, 0.0, 0.0),
    ("half open", 2, 0.0, 0.0),
    ("slow", 2, 2.0, 20.0),
    ("set clock", 1, 0.0, 0.0),
    ("expire", 3, 0.0, 0.0),
    ("drop session", 2, 0.0, 0.0),
    ("disk fails", 2, 2.0, 12.0),
    ("make topic", 2, 0.0, 0.0),
    ("delete topic", 1, 0.0, 0.0),
    ("depose", 2, 0.0, 0.0),
    ("delete records", 1, 0.0, 0.0),
    ("reassign", 2, 0.0, 0.0),
    ("elect preferred", 1, 0.0, 0.0),
)
PARTS = ("leader", "leader", "follower", "follower", "controller")


def plan_of(seed: int, kinds: frozenset[str] | None = None) -> Plan:
    """The plan that belongs to a seed."""
    choose = random.Random(f"plan {seed}")
    brokers = choose.choice((3, 3, 3, 3, 4, 5))
    names = [f"b{number}" for number in range(1, brokers + 1)]
    wanted = [each for each in KINDS if kinds is None or each[0] in kinds]
    # Some seeds know few kinds of faults, and those more often.
    if choose.random() < 0.5:
        wanted = choose.sample(wanted, min(len(wanted), choose.randint(2, 4)))
    weights = [each[1] for each in wanted]
    events = []
    for _ in range(choose.choice((4, 8, 12, 18)) if wanted else 0):
        kind, _, shortest, longest = choose.choices(wanted, weights)[0]
        who = choose.choice(PARTS) if choose.random() < 0.6 else choose.choice(names)
        # Many short faults, few long ones.
        for_s = round(shortest + (longest - shortest) * choose.random() ** 2, 2) if longest else 0.0
        at_s = round(6 + (QUIET_AT_S - 12) * choose.random(), 2)
        amount = 0.0
        if kind == "set clock":
            amount = choose.choice((-3_600_000, -5_000, 5_000, 60_000, 3_600_000))
        elif kind == "slow":
            amount = choose.choice((0.02, 0.2, 1.0))
        events.append(Event(at_s, kind, who, for_s, choose.choice(names), amount))
    # What happens at about the same time is what hurts.
    if events and choose.random() < 0.6:
        first = choose.choice(events)
        events = [
            event._replace(at_s=round(first.at_s + 4 * choose.random(), 2)) if choose.random() < 0.3 else event
            for event in events
        ]
    producers = [(-1, True), (-1, False)]
    if choose.random() < 0.5:
        producers.append((1, False))
    if choose.random() < 0.3:
        producers.append((-1, True))
    return Plan(
        seed,
        brokers,
        choose.choice((1, 1, 2)),
        choose.choice((1, 1, 2)),
        tuple(producers),
        choose.choice((1, 2)),
        tuple(sorted(events)),
        closing=choose.choice(("", "", "kill", "pause", "isolate")),
    )
