"""What is measured on three brokers: loads with three replicas, and what happens when one of the brokers goes.

Both clusters run all the time, each on a ZooKeeper of its own, and are measured in turn (A B B A).
"""

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.side_by_side.cells import BATCH_16K, COMMON, PER_GB, STOLEN_LIMIT, Figure, ack_p99_ms, cpu_per_gb
from benchmarks.side_by_side.cluster import IDS, Cluster, Departure, rotated
from benchmarks.side_by_side.load import Run, load, settle_disk
from benchmarks.side_by_side.machine import (
    memory_mb,
    process_times,
    proportional_mb,
    touch_free_memory,
    wait_until_quiet,
)
from benchmarks.side_by_side.prober import Prober, Steady
from benchmarks.side_by_side.sendfile import sendfile_seconds

CELLS = ("cluster-load", "cluster-latency", "cluster-failover", "cluster-shutdown", "cluster-catchup", "cluster-memory")
MANY = 250
WRITTEN_PARTITIONS = 3
# So many acknowledgements one after the other say that a partition is well.
SETTLED_ACKS = 50
SIDES = ("kafka", "kstore")

ALL_REPLICAS: dict[str, Any] = COMMON | BATCH_16K | {"acks": "all", "partitions": WRITTEN_PARTITIONS}


class ClusterScale(NamedTuple):
    pairs: int
    gigabytes: float
    warm_up_seconds: float
    latency_seconds: float
    failovers: int
    controller_failovers: int
    shutdowns: int
    catch_ups: int
    catch_up_gigabytes: float


FULL = ClusterScale(7, 1.0, 60, 20, 30, 7, 10, 5, 2.0)
SHORT = ClusterScale(2, 0.2, 15, 5, 3, 1, 2, 1, 0.4)


class Part(NamedTuple):
    """Some brokers of a cluster, for a load."""

    bootstrap: str
    pids: tuple[int, ...]


def without(cluster: Cluster, away: int) -> Part:
    there = [broker for number, broker in cluster.brokers.items() if number != away]
    return Part(",".join(broker.bootstrap for broker in there), tuple(broker.pid for broker in there))


class ClusterContest:
    def __init__(
        self, clusters: Mapping[str, Cluster], workplace: Path, scale: ClusterScale, say: Callable[[str], None]
    ) -> None:
        self.clusters = clusters
        self.workplace = workplace
        self.scale = scale
        self.say = say
        self.runs: dict[str, dict[str, list[Run]]] = {}
        self.discarded = 0
        self._slowest: float | None = None  # records a second of the slower one
        self._dice = random.Random(1)

    def measure(self, wanted: list[str]) -> list[Figure]:
        questions = {
            "cluster-load": self.throughput,
            "cluster-latency": self.latency,
            "cluster-failover": self.failover,
            "cluster-shutdown": self.shutdown,
            "cluster-catchup": self.catch_up,
            "cluster-memory": self.memory,
        }
        figures: list[Figure] = []
        for name in CELLS:
            if name in wanted:
                figures += questions[name]()
        return figures

    def in_turn(self, rounds: int) -> list[tuple[int, str]]:
        """(round, side) in the order A B B A."""
        return [
            (number, side)
            for number in range(rounds)
            for side in (SIDES if number % 2 == 0 else tuple(reversed(SIDES)))
        ]

    def settle(self) -> None:
        """Waits until a broker that has just come back, a JVM above all, is done with its start."""
        if not wait_until_quiet():
            self.say("the machine does not become quiet: measured as it is")

    # --- loads ---

    def warm_up(self) -> None:
        for side, cluster in self.clusters.items():
            seconds = self.scale.warm_up_seconds if side == "kafka" else 3
            self.say(f"warming up {side}'s cluster for {seconds:.0f} s")
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                with cluster.topic("warm-up", rotated(WRITTEN_PARTITIONS)) as where:
                    load("produce", cluster, topic=where, records=150_000, size=1000, **ALL_REPLICAS)

    def loaded(self, side: str, records: int, **options: Any) -> Run:
        """A produce run on a topic of its own, during which the host took little of the machine away."""
        cluster = self.clusters[side]
        for _ in range(3):
            with cluster.topic("measured", rotated(WRITTEN_PARTITIONS)) as where:
                settle_disk()
                run = load("produce", cluster, topic=where, records=records, size=1000, **(ALL_REPLICAS | options))
                proof = load("fetch", cluster, topic=where, records=records, partitions=WRITTEN_PARTITIONS)
            assert proof.records == run.records, f"{side} lost records"
            assert run.sum == proof.sum, f"{side} changed records"
            if run.stolen_part <= STOLEN_LIMIT:
                return run
            self.discarded += 1
        return run

    def throughput(self) -> list[Figure]:
        found: dict[str, list[Run]] = {side: [] for side in SIDES}
        records = int(self.scale.gigabytes * 1e9 / 1000)
        shares: dict[str, list[float]] = {side: [] for side in SIDES}
        for number, side in self.in_turn(self.scale.pairs):
            before = {pid: process_times(pid).total for pid in self.clusters[side].pids}
            run = self.loaded(side, records)
            spent = [process_times(pid).total - before[pid] for pid in self.clusters[side].pids]
            shares[side].append(max(spent) / sum(spent))
            found[side].append(run)
            self.say(f"cluster-load {number + 1}/{self.scale.pairs}: {side} {run.cpu_per_gb:.1f} {PER_GB}")
        self.runs["cluster-load"] = found
        rates = {side: max(run.records / run.seconds for run in runs) for side, runs in found.items()}
        self._slowest = min(rates.values())
        alone = load("produce", None, records=records, size=1000, mock=1, **ALL_REPLICAS)
        ceiling = alone.records / alone.seconds
        busiest = {side: f"{100 * median(found):.0f} %" for side, found in shares.items()}
        notes = (
            f"records/s: Kafka {rates['kafka']:,.0f}, kstore {rates['kstore']:,.0f}, client alone {ceiling:,.0f};"
            f" of the CPU the busiest broker took: Kafka {busiest['kafka']}, kstore {busiest['kstore']}"
        )
        title = "three brokers, RF 3, min ISR 2: produce 1 KB in 16 KB batches to 3 partitions, acks=all"
        values = {side: [cpu_per_gb(run) for run in runs] for side, runs in found.items()}
        unit = "CPU-s of all brokers per GB"
        return [Figure("cluster-load", title, unit, values["kafka"], values["kstore"], 1 / 3, 1 / 5, notes=notes)]

    def latency(self) -> list[Figure]:
        if self._slowest is None:
            runs = [self.loaded(side, int(self.scale.gigabytes * 5e5)) for side in SIDES]
            self._slowest = min(run.records / run.seconds for run in runs)
        rate = int(self._slowest / 4)
        records = int(rate * self.scale.latency_seconds)
        found: dict[str, list[Run]] = {side: [] for side in SIDES}
        for number, side in self.in_turn(self.scale.pairs):
            run = self.loaded(side, records, rate=rate, linger__ms=0)
            found[side].append(run)
            self.say(f"cluster-latency {number + 1}/{self.scale.pairs}: {side} p99 {ack_p99_ms(run):.2f} ms")
        self.runs["cluster-latency"] = found
        values = {side: [ack_p99_ms(run) for run in runs] for side, runs in found.items()}
        title = "the same at a quarter of the slower one's rate: p99 of the acknowledgements"
        notes = f"{rate:,} records/s, linger 0"
        return [Figure("cluster-latency", title, "ms", values["kafka"], values["kstore"], 1 / 2, 1 / 4, notes=notes)]

    # --- a broker goes ---

    def failover(self) -> list[Figure]:
        """kill -9 of a leader; from when its session is over, so that the time-out itself does not count."""
        one: dict[str, list[float]] = {side: [] for side in SIDES}
        last: dict[str, list[float]] = {side: [] for side in SIDES}
        controller: dict[str, list[float]] = {side: [] for side in SIDES}
        with self.many_partitions() as where:
            for number, side in self.in_turn(self.scale.failovers):
                first, final = self.kill(self.clusters[side], where, controls=False)
                one[side].append(first)
                last[side].append(final)
                self.say(f"cluster-failover {number + 1}/{self.scale.failovers}: {side} {first:.3f}, all {final:.3f} s")
            for _, side in self.in_turn(self.scale.controller_failovers):
                controller[side].append(self.kill(self.clusters[side], where, controls=True)[1])
                self.say(f"cluster-failover, the controller: {side} all {controller[side][-1]:.3f} s")
        title = f"leader killed with -9, {MANY} partitions: from the end of its session to the next ack"
        trials = f"{self.scale.failovers} trials, back-off of the client 10 ms"
        return [
            Figure(
                "cluster-failover",
                f"{title} of one partition",
                "s",
                one["kafka"],
                one["kstore"],
                0.3,
                0.15,
                True,
                trials,
            ),
            Figure(
                "cluster-failover-all",
                "the same until each of its partitions has acknowledged",
                "s",
                last["kafka"],
                last["kstore"],
                0.3,
                0.15,
                True,
            ),
            Figure(
                "cluster-failover-controller",
                "the same where it was the controller as well",
                "s",
                controller["kafka"],
                controller["kstore"],
                0.6,
                0.3,
                True,
            ),
        ]

    @contextmanager
    def many_partitions(self) -> Iterator[str]:
        """A topic of 250 partitions in both clusters, with a record in each."""
        with ExitStack() as stack:
            for cluster in self.clusters.values():
                where = stack.enter_context(cluster.topic("many", rotated(MANY)))
                prober = Prober(cluster, where)
                prober.first_acks(list(range(MANY)))
                prober.close()
            yield where

    def kill(self, cluster: Cluster, topic: str, *, controls: bool) -> tuple[float, float]:
        """Seconds to the first ack of a partition of the dead leader, chosen before, and of the last of them."""
        cluster.wait_for_isr(topic)
        cluster.lead_as_preferred(topic)
        controller = cluster.controller()
        candidates = [number for number in IDS if (number == controller) == controls]
        victim = max(candidates, key=lambda number: (len(cluster.led_by(number, topic)), self._dice.random()))
        self.settle()
        led = cluster.led_by(victim, topic)
        assert led, f"broker {victim} leads nothing of {topic}"
        chosen = self._dice.choice(led)
        others = [index for index in led if index != chosen]
        single, rest = Prober(cluster, topic), Prober(cluster, topic)
        single.away = rest.away = victim
        found: dict[int, float] = {}
        with Departure(cluster, victim) as departure:
            cluster.brokers[victim].kill()
            gone = departure.wait()
            helper = threading.Thread(target=lambda: found.update(rest.first_acks(others)))
            helper.start()
            first = single.first_acks([chosen])[chosen]
            helper.join()
        single.close()
        rest.close()
        assert len(found) == len(others), "a partition of the dead leader acknowledges nothing"
        cluster.brokers[victim].start()
        return first - gone, max(first, *found.values()) - gone

    def shutdown(self) -> list[Figure]:
        gaps: dict[str, list[float]] = {side: [] for side in SIDES}
        with self.many_partitions() as where:
            for number, side in self.in_turn(self.scale.shutdowns):
                gaps[side].append(self.stop(self.clusters[side], where))
                self.say(f"cluster-shutdown {number + 1}/{self.scale.shutdowns}: {side} {gaps[side][-1]:.3f} s")
        title = f"controlled shutdown of a leader, {MANY} partitions: longest gap between two acks of one partition"
        return [Figure("cluster-shutdown", title, "s", gaps["kafka"], gaps["kstore"], 0.1, 0.05, True)]

    def stop(self, cluster: Cluster, topic: str) -> float:
        cluster.wait_for_isr(topic)
        cluster.lead_as_preferred(topic)
        controller = cluster.controller()
        candidates = [number for number in IDS if number != controller]
        victim = max(candidates, key=lambda number: (len(cluster.led_by(number, topic)), self._dice.random()))
        self.settle()
        steady = Steady(cluster, topic, self._dice.choice(cluster.led_by(victim, topic)))
        steady.start()
        steady.wait_for_acks(SETTLED_ACKS)
        steady.forget()
        cluster.brokers[victim].end(signal.SIGTERM, 120)
        steady.wait_for_acks(SETTLED_ACKS)
        gap = steady.longest_gap()
        cluster.brokers[victim].start()
        return gap

    # --- a follower that was away ---

    def catch_up(self) -> list[Figure]:
        times: dict[str, list[float]] = {side: [] for side in SIDES}
        rates: dict[str, list[float]] = {side: [] for side in SIDES}
        touch_free_memory()
        for number, side in self.in_turn(self.scale.catch_ups):
            cluster = self.clusters[side]
            away = max(broker for broker in IDS if broker != cluster.controller())
            leaders = [broker for broker in IDS if broker != away]
            assignment = [[leaders[index % 2], leaders[1 - index % 2], away] for index in range(4)]
            with cluster.topic("catch-up", assignment) as where:
                seconds, size, best = self.follow(cluster, where, away)
            rates[side].append(size / seconds / 1e6)
            times[side].append(seconds / best)
            self.say(
                f"cluster-catchup {number + 1}/{self.scale.catch_ups}: {side} {rates[side][-1]:.0f} MB/s,"
                f" sendfile {size / best / 1e6:.0f} MB/s"
            )
        title = f"a follower catches up {self.scale.catch_up_gigabytes:g} GB in 4 partitions: time, of sendfile's"
        notes = f"MB/s: Kafka {median(rates['kafka']):.0f}, kstore {median(rates['kstore']):.0f}"
        unit = "times sendfile"
        return [
            Figure("cluster-catchup", title, unit, times["kafka"], times["kstore"], 1 / 0.6, 1 / 0.8, True, notes=notes)
        ]

    def follow(self, cluster: Cluster, topic: str, away: int) -> tuple[float, int, float]:
        """Seconds from its first byte to its last, bytes, and what `sendfile` takes for as many."""
        cluster.brokers[away].stop(timeout=120)
        cluster.wait_for_isr(topic, 2)
        records = int(self.scale.catch_up_gigabytes * 1e6)
        options = ALL_REPLICAS | {"partitions": 4}
        load("produce", without(cluster, away), topic=topic, records=records, size=1000, **options)
        settle_disk()
        other = next(broker for broker in IDS if broker != away)
        size = cluster.log_bytes(other, topic)
        files = sorted(cluster.brokers[other].log_directory.glob(f"{topic}-*/*.log"))
        best = sendfile_seconds(files, self.workplace / "sendfile")
        settle_disk()
        before = cluster.log_bytes(away, topic)
        cluster.brokers[away].spawn_only()
        deadline = time.monotonic() + 600
        started = 0.0
        while True:
            done = cluster.log_bytes(away, topic)
            if done > before and not started:
                started = time.monotonic()
            if done >= size:
                break
            assert time.monotonic() < deadline, f"the follower of {cluster.name} has {done} of {size} bytes after 600 s"
            time.sleep(0.005)
        seconds = time.monotonic() - started
        cluster.wait_for_isr(topic)
        return seconds, size - before, best

    # --- memory ---

    def memory(self) -> list[Figure]:
        resident: dict[str, list[float]] = {}
        shares: dict[str, float] = {}
        with self.many_partitions():
            time.sleep(3)  # what is done lazily is done
            for side, cluster in self.clusters.items():
                resident[side] = [max(memory_mb(pid) for pid in cluster.pids)]
                shares[side] = max(proportional_mb(pid) for pid in cluster.pids)
        self.say(f"cluster-memory: Kafka {resident['kafka'][0]:.0f}, kstore {resident['kstore'][0]:.0f} MB")
        title = f"resident memory of the largest of three brokers, {MANY} partitions of three replicas"
        notes = f"proportional: Kafka {shares['kafka']:.0f}, kstore {shares['kstore']:.0f}; after the cells above it"
        return [Figure("cluster-memory", title, "MB", resident["kafka"], resident["kstore"], 80, 60, True, notes)]
