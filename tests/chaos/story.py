"""One topic of a cluster under load, what happens to the cluster meanwhile, and what is asked of it at the end.

with Story(cluster, "orders") as story:
    cluster.kill(1)
    story.wait_for_progress()
    cluster.bring_up(1)
# everything is healed, the load has ended, everything was read: `story.report` had no anomaly
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import NamedTuple, Self

from tests.chaos.checker import anomalies
from tests.chaos.cluster import Cluster
from tests.chaos.faults import heal_everything
from tests.chaos.history import History
from tests.chaos.load import (
    AiokafkaGroupReader,
    AiokafkaProducer,
    AssignReader,
    Committer,
    EndWatcher,
    GroupReader,
    LibrdkafkaProducer,
    SendingWorker,
    Where,
    Worker,
    read_everything,
)
from tests.judge.java import wait_until

SHOWN_ANOMALIES = 20

MakeLoad = Callable[[History, Where], list[Worker]]


def light_load(history: History, where: Where) -> list[Worker]:
    return [
        LibrdkafkaProducer(history, "idempotent", where, idempotent=True),
        AssignReader(history, "reader", where),
    ]


def full_load(history: History, where: Where) -> list[Worker]:
    """Of every kind, but for Java."""
    return [
        LibrdkafkaProducer(history, "idempotent", where, idempotent=True, per_second=200),
        LibrdkafkaProducer(
            history, "plain", where, idempotent=False, per_second=100, config={"compression.type": "lz4"}
        ),
        AiokafkaProducer(history, "aiokafka", where, idempotent=False, per_second=50),
        AssignReader(history, "reader", where),
        GroupReader(history, "member-1", where, "readers"),
        AiokafkaGroupReader(history, "member-2", where, "readers-of-aiokafka"),
        EndWatcher(history, "watcher", where),
        Committer(history, "committer", where),
    ]


class Report(NamedTuple):
    acked: int
    unknown: int
    longest_gap_s: float
    recovered_after_s: float
    anomalies: Counter[str]

    def __str__(self) -> str:
        found = ", ".join(f"{count} {kind}" for kind, count in self.anomalies.items()) or "no anomaly"
        return (
            f"{self.acked} acked, {self.unknown} unknown, longest gap {self.longest_gap_s:.1f} s,"
            f" whole again {self.recovered_after_s:.1f} s after the last fault: {found}"
        )


class Story:
    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        *,
        partitions: int = 3,
        load: MakeLoad = light_load,
        configs: Mapping[str, str] | None = None,
        assignment: list[list[int]] | None = None,
        begin: int = 0,
        recovery_s: float = 60,
        same_logs: bool = True,
    ) -> None:
        """`begin`: so many records of each partition come and are deleted before everything else."""
        self.cluster = cluster
        self.topic = topic
        self.where = Where(cluster.bootstrap, topic, partitions if assignment is None else len(assignment))
        self.history = History(begin=begin)
        self.load = load(self.history, self.where)
        self.configs = {"min.insync.replicas": "2", **(configs or {})}
        self.assignment = assignment
        self.recovery_s = recovery_s
        self.same_logs = same_logs
        self.report: Report

    @property
    def producers(self) -> list[SendingWorker]:
        return [worker for worker in self.load if isinstance(worker, SendingWorker)]

    @property
    def acked(self) -> int:
        return sum(producer.acked for producer in self.producers)

    def start(self) -> None:
        self.cluster.create_topic(self.topic, self.where.partitions, assignment=self.assignment, configs=self.configs)
        if self.history.begin:
            self.cluster.delete_first_records(self.topic, self.where.partitions, self.history.begin)
        for worker in self.load:
            worker.start()
        for producer in self.producers:
            wait_until(lambda producer=producer: producer.acked > 0, timeout=60, what=f"{producer.name} has begun")  # type: ignore[misc]

    def wait_for_progress(self, count: int = 100, timeout: float = 30) -> None:
        """So many more are acknowledged."""
        wanted = self.acked + count
        wait_until(lambda: self.acked >= wanted, timeout=timeout, what=f"{count} more records are acknowledged")

    def finish(self) -> Report:
        """Heals, ends the load, reads everything, and says what is wrong."""
        began = time.monotonic()
        heal_everything(self.cluster, self.recovery_s)
        for producer in self.producers:
            before = producer.acked
            wait_until(
                lambda producer=producer, before=before: producer.acked > before,  # type: ignore[misc]
                timeout=self.recovery_s,
                what=f"{producer.name} gets on after everything was healed",
            )
        recovered = time.monotonic() - began
        for producer in self.producers:
            producer.stop()
        self._let_readers_come_to_the_end()
        for worker in self.load:
            worker.stop()
        read_everything(self.history, "final reader", self.where)
        if self.same_logs:
            self.cluster.wait_for_same_logs(self.topic, begin=self.history.begin)
        self.cluster.check_alive()
        return self._judge(recovered)

    def _let_readers_come_to_the_end(self) -> None:
        """Those of groups come back at their own pace."""
        wanted = {send.value for send in self.history.acked}
        for group, members in self.history.groups.items():

            def has_all(members: list[str] = members) -> bool:
                polls = [poll for poll in self.history.polls if poll.reader in members]
                return wanted <= {record.value for poll in polls for record in poll.records}

            deadline = time.monotonic() + self.recovery_s
            while not has_all() and time.monotonic() < deadline:
                time.sleep(0.5)
            if not has_all():
                self.history.complaints.append(f"group {group} did not read everything in {self.recovery_s:.0f} s")

    def _judge(self, recovered: float) -> Report:
        found = anomalies(self.history)
        shown = [str(anomaly) for anomaly in found[:SHOWN_ANOMALIES]] + self.cluster.log_complaints()
        acked = len(self.history.acked)
        gap = max((producer.longest_gap_s for producer in self.producers), default=0.0)
        counts = Counter(anomaly.kind for anomaly in found)
        self.report = Report(acked, len(self.history.sends) - acked, gap, recovered, counts)
        assert not shown, f"{self.report}\n" + "\n".join(shown)
        return self.report

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
            return
        for worker in self.load:
            worker.stopping.set()
