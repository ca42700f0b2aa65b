"""Faults, as small objects that are put together: `begin` does it and says what it has done, `end` mends it.

    fault = Kill(leader_of("orders"))
    with happening(fault, cluster):
        ...

Whom a fault strikes is found out when it begins: `Target` gives the broker that controls, leads or coordinates then. If
ZooKeeper cannot say, it strikes whoever the fault's own random numbers choose.
"""

import contextlib
import errno
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from tests.chaos.cluster import CLIENTS, ZOOKEEPER, Cluster, UnknownError, eventually
from tests.judge.java import JudgeError

Target = Callable[[Cluster], int]


def any_broker(rng: random.Random) -> Target:
    """Chosen now, so that the same seed gives the same one whatever happens."""
    place = rng.random()

    def chosen(cluster: Cluster) -> int:
        numbers = sorted(cluster.brokers)
        return numbers[int(place * len(numbers))]

    return chosen


def broker(number: int) -> Target:
    return lambda cluster: number


def role(find: Callable[[Cluster], int | None], otherwise: Target) -> Target:
    """Whoever has the role when it is asked for."""

    def found(cluster: Cluster) -> int:
        with contextlib.suppress(UnknownError):
            number = find(cluster)
            if number is not None:
                return number
        return otherwise(cluster)

    return found


def controller(otherwise: Target | None = None) -> Target:
    return role(lambda cluster: cluster.controller(), otherwise or broker(1))


def coordinator(otherwise: Target | None = None) -> Target:
    return role(lambda cluster: cluster.coordinator(), otherwise or broker(1))


def leader_of(topic: str, partition: int = 0, otherwise: Target | None = None) -> Target:
    return role(lambda cluster: cluster.leader(topic, partition), otherwise or broker(1))


def follower_of(topic: str, partition: int = 0, otherwise: Target | None = None) -> Target:
    return role(lambda cluster: cluster.follower(topic, partition), otherwise or broker(1))


class Fault(Protocol):
    def begin(self, cluster: Cluster) -> str:
        """What was done, in words."""

    def end(self, cluster: Cluster) -> None:
        """As if nothing had been; what has to recover may still do so. Safe to call after a `begin` that failed."""


@contextmanager
def happening(fault: Fault, cluster: Cluster) -> Iterator[str]:
    try:
        yield fault.begin(cluster)
    finally:
        fault.end(cluster)


class OnBroker:
    """What strikes one broker, `struck` from the beginning on."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.struck = 0

    def choose(self, cluster: Cluster) -> int:
        self.struck = self.target(cluster)
        return self.struck


class Kill(OnBroker):
    """kill -9; started again at the end."""

    def begin(self, cluster: Cluster) -> str:
        cluster.kill(self.choose(cluster))
        return f"kill -9 of broker {self.struck}"

    def end(self, cluster: Cluster) -> None:
        if self.struck:
            cluster.bring_up(self.struck)


class Stop(OnBroker):
    """A controlled shutdown; started again at the end."""

    def begin(self, cluster: Cluster) -> str:
        number = self.choose(cluster)
        if cluster.brokers[number].server.is_running:
            cluster.brokers[number].server.signal(signal.SIGCONT)  # who sleeps does not hear
        cluster.stop(number)
        return f"controlled shutdown of broker {self.struck}"

    def end(self, cluster: Cluster) -> None:
        if self.struck:
            cluster.bring_up(self.struck)


class Pause(OnBroker):
    """SIGSTOP, and SIGCONT at the end."""

    def begin(self, cluster: Cluster) -> str:
        number = self.choose(cluster)
        if cluster.brokers[number].server.is_running:
            cluster.brokers[number].server.signal(signal.SIGSTOP)
        return f"SIGSTOP of broker {number}"

    def end(self, cluster: Cluster) -> None:
        if self.struck and cluster.brokers[self.struck].server.is_running:
            cluster.brokers[self.struck].server.signal(signal.SIGCONT)


class Bounces(OnBroker):
    """Stopped (or killed) and started, several times, all of it at the beginning."""

    def __init__(self, target: Target, *, count: int, hard: bool, between: Callable[[Cluster], object]) -> None:
        super().__init__(target)
        self.count = count
        self.hard = hard
        self.between = between

    def begin(self, cluster: Cluster) -> str:
        struck = []
        for _ in range(self.count):
            number = self.choose(cluster)
            struck.append(number)
            (cluster.kill if self.hard else cluster.stop)(number)
            cluster.bring_up(number)
            self.between(cluster)
        return f"{'hard' if self.hard else 'clean'} bounces of brokers {struck}"

    def end(self, cluster: Cluster) -> None:
        if self.struck:
            cluster.bring_up(self.struck)


class RollingRestart:
    """Each broker in turn, when everybody is in sync: all of it at the beginning."""

    def __init__(self, *, hard: bool = False, timeout: float = 60) -> None:
        self.hard = hard
        self.timeout = timeout

    def begin(self, cluster: Cluster) -> str:
        for number in cluster.brokers:
            cluster.wait_until_in_sync(self.timeout)
            (cluster.kill if self.hard else cluster.stop)(number)
            cluster.bring_up(number)
        return f"rolling restart of all, {'by kill -9' if self.hard else 'in order'}"

    def end(self, cluster: Cluster) -> None:
        for number in cluster.brokers:
            cluster.bring_up(number)


# --- the network ---

BOTH, ONE_WAY, RESET = "both ways", "one way", "torn"


class Cut(OnBroker):
    """Between a broker and one other, or ZooKeeper, or all clients."""

    def __init__(self, target: Target, other: Target | str, how: str = BOTH) -> None:
        super().__init__(target)
        self.other = other
        self.how = how
        self.pair: tuple[str, str] | None = None

    def begin(self, cluster: Cluster) -> str:
        one = self.choose(cluster)
        other = self.other if isinstance(self.other, str) else str(self.other(cluster))
        if other == str(one):
            other = str(next(number for number in sorted(cluster.brokers) if number != one))
        self.pair = (str(one), other)
        cut(cluster, *self.pair, self.how)
        return f"network cut between broker {one} and {other}, {self.how}"

    def end(self, cluster: Cluster) -> None:
        if self.pair is not None:
            cluster.network.heal(*self.pair)


class Isolate(OnBroker):
    """From all other brokers and from ZooKeeper; clients reach it still."""

    def __init__(self, target: Target, how: str = BOTH) -> None:
        super().__init__(target)
        self.how = how

    def others(self, cluster: Cluster) -> list[str]:
        return [each.name for each in cluster.brokers.values() if each.id != self.struck] + [ZOOKEEPER]

    def begin(self, cluster: Cluster) -> str:
        name = str(self.choose(cluster))
        for other in self.others(cluster):
            cut(cluster, name, other, self.how)
        return f"broker {name} cut off, {self.how}"

    def end(self, cluster: Cluster) -> None:
        if self.struck:
            for other in self.others(cluster):
                cluster.network.heal(str(self.struck), other)


def cut(cluster: Cluster, one: str, other: str, how: str) -> None:
    if how == BOTH:
        cluster.network.cut(one, other)
    elif how == ONE_WAY:
        cluster.network.cut_one_way(one, other)
    else:
        cluster.network.reset(one, other)


class Slow:
    """Every way between brokers, and to ZooKeeper, takes so long."""

    def __init__(self, delay_s: float, *, clients: bool = False) -> None:
        self.delay_s = delay_s
        self.clients = clients

    def pairs(self, cluster: Cluster) -> Iterator[tuple[str, str]]:
        names = [each.name for each in cluster.brokers.values()]
        for index, one in enumerate(names):
            for other in names[index + 1 :]:
                yield one, other
            yield one, ZOOKEEPER
            if self.clients:
                yield CLIENTS, one

    def begin(self, cluster: Cluster) -> str:
        for pair in self.pairs(cluster):
            cluster.network.slow(*pair, self.delay_s)
        return f"{self.delay_s * 1000:.0f} ms each way between brokers"

    def end(self, cluster: Cluster) -> None:
        for pair in self.pairs(cluster):
            cluster.network.slow(*pair, 0)


# --- ZooKeeper ---


class ZooKeeperAway:
    """All of its servers stopped (killed, paused), and back at the end."""

    def __init__(self, how: str = "stopped") -> None:
        self.how = how

    def begin(self, cluster: Cluster) -> str:
        for server in cluster.zookeepers:
            if self.how == "paused":
                server.signal(signal.SIGSTOP)
            elif self.how == "killed":
                server.kill()
            else:
                server.stop()
        return f"ZooKeeper {self.how}"

    def end(self, cluster: Cluster) -> None:
        for server in cluster.zookeepers:
            if self.how == "paused":
                server.signal(signal.SIGCONT)
            elif not server.is_running:
                server.spawn_only()
        for server in cluster.zookeepers:
            server.wait_until_ready()


class EndSession(OnBroker):
    """The broker's session ends behind its back, while it goes on."""

    def begin(self, cluster: Cluster) -> str:
        number = self.choose(cluster)
        try:
            had_one = cluster.end_session(number)
        except UnknownError:
            had_one = False
        return f"session of broker {number} ended" if had_one else f"broker {number} had no session"

    def end(self, cluster: Cluster) -> None:
        """Nothing: it registers anew by itself."""


# --- disks ---


class DiskFails(OnBroker):
    """What would change anything on one disk of a broker fails; mended at the end, with a restart unless not wanted."""

    def __init__(self, target: Target, *, error_number: int = errno.EIO, disk: int = 0, restart: bool = True) -> None:
        super().__init__(target)
        self.error_number = error_number
        self.disk = disk
        self.restart = restart

    def begin(self, cluster: Cluster) -> str:
        number = self.choose(cluster)
        # A broker that finds all of its directories failed ends.
        if len(cluster.brokers[number].disks) == 1:
            cluster.down.add(number)
        cluster.brokers[number].disks[self.disk].fail(self.error_number)
        return f"{errno.errorcode[self.error_number]} on disk {self.disk} of broker {number}"

    def end(self, cluster: Cluster) -> None:
        if not self.struck:
            return
        cluster.brokers[self.struck].disks[self.disk].mend()
        if self.restart and cluster.brokers[self.struck].server.is_running:
            cluster.kill(self.struck)
        cluster.bring_up(self.struck)


# --- several ---


class Together:
    """One begins after the other; mended in reverse."""

    def __init__(self, faults: Sequence[Fault], between_s: float = 0) -> None:
        self.faults = faults
        self.between_s = between_s

    def begin(self, cluster: Cluster) -> str:
        words = []
        for fault in self.faults:
            words.append(fault.begin(cluster))
            time.sleep(self.between_s)
        return ", and ".join(words)

    def end(self, cluster: Cluster) -> None:
        failed = []
        for fault in reversed(self.faults):
            try:
                fault.end(cluster)
            except JudgeError:  # a broker that does not come up while another fault lasts
                failed.append(fault)
        for fault in failed:
            fault.end(cluster)


def heal_everything(cluster: Cluster, timeout: float = 60) -> None:
    """Whatever was done, everybody is there again, and in sync in time."""
    cluster.network.heal()
    for server in cluster.zookeepers:
        if not server.is_running:
            server.start()
        server.signal(signal.SIGCONT)
    for each in cluster.brokers.values():
        for disk in each.disks:
            disk.mend()
        if each.server.is_running:
            each.server.signal(signal.SIGCONT)
        cluster.bring_up(each.id)
    eventually(
        cluster.registered, wanted=lambda found: found == set(cluster.brokers), timeout=timeout, what="registered"
    )
    cluster.wait_until_in_sync(timeout)
