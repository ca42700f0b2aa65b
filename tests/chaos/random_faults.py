"""Faults of every kind, one after the other and some together, out of one seed."""

import errno
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from tests.chaos.cluster import CLIENTS, ZOOKEEPER, Cluster
from tests.chaos.faults import (
    BOTH,
    ONE_WAY,
    RESET,
    Cut,
    DiskFails,
    EndSession,
    Fault,
    Isolate,
    Kill,
    Pause,
    Slow,
    Stop,
    Target,
    Together,
    ZooKeeperAway,
    any_broker,
    controller,
    coordinator,
    follower_of,
    leader_of,
)
from tests.judge.java import JudgeError

LASTS_S = (0.5, 8.0)
QUIET_S = (0.5, 4.0)
# The odds that a second fault begins while the first lasts.
TOGETHER = 0.25


class Choice(NamedTuple):
    weight: int
    make: Callable[[random.Random, Target], Fault]


def choices(*, disks_fail: bool) -> dict[str, Choice]:
    hows = (BOTH, BOTH, ONE_WAY, RESET)
    found = {
        "kill": Choice(5, lambda rng, target: Kill(target)),
        "stop": Choice(2, lambda rng, target: Stop(target)),
        "pause": Choice(4, lambda rng, target: Pause(target)),
        "cut": Choice(3, lambda rng, target: Cut(target, any_broker(rng), rng.choice(hows))),
        "cut from zookeeper": Choice(2, lambda rng, target: Cut(target, ZOOKEEPER, rng.choice(hows))),
        "cut from clients": Choice(1, lambda rng, target: Cut(target, CLIENTS, rng.choice(hows))),
        "isolate": Choice(3, lambda rng, target: Isolate(target, rng.choice(hows))),
        "slow": Choice(1, lambda rng, target: Slow(rng.choice((0.02, 0.1, 0.4)))),
        "zookeeper away": Choice(1, lambda rng, target: ZooKeeperAway(rng.choice(("killed", "paused")))),
        "end session": Choice(2, lambda rng, target: EndSession(target)),
    }
    if disks_fail:
        found["full disk"] = Choice(1, lambda rng, target: DiskFails(target, error_number=errno.ENOSPC))
        found["broken disk"] = Choice(1, lambda rng, target: DiskFails(target, error_number=errno.EIO))
    return found


def targets(rng: random.Random, topic: str, partitions: int) -> Target:
    anybody = any_broker(rng)
    partition = rng.randrange(partitions)
    return rng.choice(
        [
            controller(anybody),
            coordinator(anybody),
            leader_of(topic, partition, anybody),
            follower_of(topic, partition, anybody),
            anybody,
        ]
    )


class Planned(NamedTuple):
    """What happens next, after a while in which nothing does. `kinds` name the faults."""

    after_s: float
    lasts_s: float
    kinds: tuple[str, ...]
    fault: Fault


class RandomFaults:
    def __init__(
        self, topic: str, partitions: int, *, seed: str, disks_fail: bool, say: Callable[[str], None] = print
    ) -> None:
        self.topic = topic
        self.partitions = partitions
        self.rng = random.Random(seed)
        self.say = say
        self.counts: Counter[str] = Counter()
        self._choices = choices(disks_fail=disks_fail)

    def plan(self) -> Planned:
        """The next of a row that the seed alone decides on."""
        rng = self.rng
        after_s, lasts_s = rng.uniform(*QUIET_S), rng.uniform(*LASTS_S)
        kind, fault = self._one()
        if rng.random() >= TOGETHER:
            return Planned(after_s, lasts_s, (kind,), fault)
        other, second = self._one()
        return Planned(after_s, lasts_s, (kind, other), Together([fault, second], rng.uniform(0, 2)))

    def _one(self) -> tuple[str, Fault]:
        names = sorted(self._choices)
        (name,) = self.rng.choices(names, [self._choices[name].weight for name in names])
        return name, self._choices[name].make(self.rng, targets(self.rng, self.topic, self.partitions))

    def run(self, cluster: Cluster, seconds: float) -> None:
        """Raises what a fault could not do: a broker that does not come up, say."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            planned = self.plan()
            time.sleep(planned.after_s)
            self._happen(cluster, planned)
            self.counts.update(planned.kinds)
            cluster.check_alive()

    def _happen(self, cluster: Cluster, planned: Planned) -> None:
        began = time.monotonic()
        try:
            self.say(f"{planned.fault.begin(cluster)}, for {planned.lasts_s:.1f} s")
            time.sleep(max(0.0, planned.lasts_s - (time.monotonic() - began)))
        finally:
            self._end(cluster, planned.fault)

    def _end(self, cluster: Cluster, fault: Fault) -> None:
        """Who starts while ZooKeeper, or his way to it, is gone gives up: then the network is healed first."""
        try:
            fault.end(cluster)
        except JudgeError as error:
            self.say(f"not ended: {str(error).splitlines()[0]}; the network is healed")
            cluster.network.heal()
            fault.end(cluster)
