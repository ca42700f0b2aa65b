"""`make chaos MINUTES=60`: clusters of three brokers under load, every fault at random, one history after the other.

A seed stands for the faults, their order and their length; what they hit depends on the machine. Stops at the first
history that is not in order, and leaves all of its directories and logs.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.chaos.cluster import KAFKA, KSTORE, Cluster
from tests.chaos.disk import why_disks_cannot_fail
from tests.chaos.history import History
from tests.chaos.load import JavaProducer, Where, Worker
from tests.chaos.random_faults import RandomFaults
from tests.chaos.story import Report, Story, full_load

PARTITIONS = 3
HISTORIES_OF_A_CLUSTER = 4
JAVA_EVERY = 3  # histories


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="one of a run before")
    parser.add_argument("--history", type=int, default=0, help="begin with this history of the seed")
    parser.add_argument("--seconds", type=float, default=60, help="how long the faults of one history last")
    parser.add_argument("--kafka", action="store_true", help="one of the three is an Apache Kafka 3.9.1 broker")
    parser.add_argument("--directory", type=Path, default=None, help="where clusters live; kept after a failure")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1 << 31) if options.seed is None else options.seed
    base = options.directory or Path(tempfile.mkdtemp(prefix="kstore-chaos-"))
    return Chaos(options, seed, base).run()


class Chaos:
    def __init__(self, options: argparse.Namespace, seed: int, base: Path) -> None:
        self.options = options
        self.seed = seed
        self.base = base
        self.began = time.monotonic()
        self.faults: Counter[str] = Counter()
        self.reports: list[Report] = []

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:7.1f}  {text}", flush=True)

    @property
    def left_s(self) -> float:
        return self.options.minutes * 60 - (time.monotonic() - self.began)

    def run(self) -> int:
        self.say(f"seed {self.seed}, {self.options.minutes:g} minutes, in {self.base}")
        number = self.options.history
        while self.left_s > 0:
            directory = self.base / f"cluster-{number}"
            try:
                number = self._cluster(directory, number)
            except (Exception, KeyboardInterrupt) as error:
                self.say(f"FAILED: {error}")
                traceback.print_exc()
                again = f"python -m tests.chaos --seed {self.seed} --history {number}"
                print(f"\nall directories and logs are in {directory}; the same faults: {again}", flush=True)
                return 1
            shutil.rmtree(directory, ignore_errors=True)
        self._sum_up()
        shutil.rmtree(self.base, ignore_errors=True)
        return 0

    def _cluster(self, directory: Path, first: int) -> int:
        """Some histories on one cluster; the number of the next."""
        rng = random.Random(f"{self.seed} cluster {first}")
        can_fail = why_disks_cannot_fail() is None
        kinds = [KSTORE, KSTORE, KAFKA if self.options.kafka else KSTORE]
        disks = rng.choice((1, 2))
        zookeepers = rng.choice((1, 1, 3))
        self.say(f"a cluster of {', '.join(kinds)} with {disks} disks each, on {zookeepers} of ZooKeeper")
        made = Cluster(directory, kinds=kinds, disks=disks, zookeepers=zookeepers, failing_disks=can_fail)
        with made as cluster:
            number = first
            while number < first + HISTORIES_OF_A_CLUSTER and (self.left_s > 0 or number == first):
                self._history(cluster, number, directory)
                number += 1
        return number

    def _history(self, cluster: Cluster, number: int, directory: Path) -> None:
        topic = f"history-{number}"
        with_java = number % JAVA_EVERY == JAVA_EVERY - 1

        def load(history: History, where: Where) -> list[Worker]:
            found = full_load(history, where)
            return [*found, JavaProducer(history, number, where, directory / "java")] if with_java else found

        self.say(f"history {number}{' with Java' if with_java else ''}")
        story = Story(cluster, topic, partitions=PARTITIONS, load=load)
        seed = f"{self.seed} history {number}"
        faults = RandomFaults(topic, PARTITIONS, seed=seed, disks_fail=cluster.failing_disks, say=self.say)
        with story:
            faults.run(cluster, min(self.options.seconds, max(20.0, self.left_s)))
        self.faults.update(faults.counts)
        self.reports.append(story.report)
        self.say(f"history {number}: {story.report}")

    def _sum_up(self) -> None:
        acked, unknown = sum(each.acked for each in self.reports), sum(each.unknown for each in self.reports)
        self.say(f"seed {self.seed}: {len(self.reports)} histories, {acked} records acked, {unknown} unknown, in order")
        self.say("faults: " + ", ".join(f"{count} {name}" for name, count in self.faults.most_common()))
        gaps = sorted(each.longest_gap_s for each in self.reports)
        if gaps:
            self.say(f"longest gaps between two acks: median {gaps[len(gaps) // 2]:.1f} s, at most {gaps[-1]:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
