"""What is measured: one class of cell for loads on two running brokers, and one function for each other question.

Every cell gives Kafka's and kstore's figures in the same order, pair by pair, so that the report can form ratios.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.side_by_side.brokers import (
    Broker,
    first_ack_seconds,
    make_broker,
    remove,
    running,
    topic,
)
from benchmarks.side_by_side.load import Run, java_producer, load, settle_disk
from benchmarks.side_by_side.machine import memory_mb, proportional_mb
from tests.judge.topics import create_topic
from tests.judge.wire_client import WireClient

STOLEN_LIMIT = 0.01


class Scale(NamedTuple):
    """How much is done: the whole, or the short mode."""

    pairs: int
    gigabytes: float
    requests: int
    warm_up_seconds: float
    restarts: int
    full_restarts: int  # with 1,000 partitions, which Kafka takes a minute to close
    recovery_gigabytes: float
    memory_gigabytes: float


FULL = Scale(7, 1.0, 200_000, 60, 7, 3, 5.0, 5.0)
SHORT = Scale(2, 0.3, 40_000, 10, 2, 1, 0.6, 0.6)


class Figure(NamedTuple):
    """One line of the report: values of both by pair, in `unit`; goals are ratios, or absolute where said."""

    name: str
    title: str
    unit: str
    kafka: list[float]
    kstore: list[float]
    reach: float
    aim: float
    absolute: bool = False
    notes: str = ""


class LoadCell(NamedTuple):
    name: str
    title: str
    unit: str
    reach: float
    aim: float
    mode: str
    options: dict[str, Any]
    size: int
    value: Callable[[Run], float]
    counts_requests: bool = False  # the amount is in requests, not in bytes
    share: float = 1.0  # of the scale's amount

    def records(self, scale: Scale) -> int:
        return int((scale.requests if self.counts_requests else scale.gigabytes * 1e9 / self.size) * self.share)


BATCH_16K: dict[str, Any] = {"batch__size": 16384, "batch__num__messages": 10000, "linger__ms": 5}
BATCH_1M: dict[str, Any] = {"batch__size": 1_000_000, "batch__num__messages": 100_000, "linger__ms": 50}
ONE_RECORD: dict[str, Any] = {"batch__num__messages": 1, "linger__ms": 0}
COMMON: dict[str, Any] = {
    "acks": 1,
    "queue__buffering__max__messages": 100_000,
    "queue__buffering__max__kbytes": 200_000,
}


def cpu_per_gb(run: Run) -> float:
    return run.cpu_per_gb


def cpu_per_record(run: Run) -> float:
    return run.cpu_us_per_record


def ack_p99_ms(run: Run) -> float:
    return run.latency_us["p99"] / 1000


PER_GB = "broker CPU-s per GB"
PER_REQUEST = "broker CPU us per request"
CELLS = [
    LoadCell(
        "produce-16k",
        "produce 1 KB in 16 KB batches, acks=1",
        PER_GB,
        1 / 3,
        1 / 5,
        "produce",
        COMMON | BATCH_16K,
        1000,
        cpu_per_gb,
    ),
    LoadCell(
        "produce-1m",
        "produce 1 KB in batches up to 1 MB, acks=1",
        PER_GB,
        0.8,
        0.55,
        "produce",
        COMMON | BATCH_1M,
        1000,
        cpu_per_gb,
    ),
    LoadCell(
        "produce-single",
        "produce one 100 B record a request, acks=1",
        PER_REQUEST,
        1 / 3,
        1 / 6,
        "produce",
        COMMON | ONE_RECORD,
        100,
        cpu_per_record,
        counts_requests=True,
    ),
    LoadCell("fetch", "fetch 1 KB records from the page cache", PER_GB, 0.8, 0.6, "fetch", {}, 1000, cpu_per_gb),
    LoadCell(
        "produce-16k-all",
        "produce 1 KB in 16 KB batches, acks=all, idempotent",
        PER_GB,
        1 / 3,
        1 / 5,
        "produce",
        COMMON | BATCH_16K | {"acks": "all", "enable__idempotence": "true"},
        1000,
        cpu_per_gb,
    ),
    LoadCell(
        "produce-zstd",
        "produce 1 KB half random in 128 KB batches of zstd, acks=1",
        PER_GB,
        1 / 2,
        1 / 3,
        "produce",
        COMMON | {"batch__size": 131_072, "linger__ms": 20, "compression__codec": "zstd", "random_percent": 50},
        1000,
        cpu_per_gb,
    ),
    LoadCell(
        "java-produce-16k",
        "produce 1 KB in 16 KB batches by Kafka's ProducerPerformance, acks=all, idempotent",
        PER_GB,
        1 / 3,
        1 / 5,
        "java",
        {"settings": ("acks=all", "batch.size=16384", "linger.ms=5")},
        1000,
        cpu_per_gb,
    ),
    LoadCell(
        "latency",
        "5,000 records of 100 B a second, acks=all: p99 of the acknowledgements",
        "ms",
        1.0,
        0.5,
        "produce",
        {"acks": "all", "linger__ms": 0, "rate": 5000},
        100,
        ack_p99_ms,
        counts_requests=True,
        share=0.25,
    ),
]

# Every figure, in the order in which the report has them.
FIGURES = (
    *(cell.name for cell in CELLS),
    *("start-empty", "start-1000", "start-1000-all", "rss-idle", "rss-1000", "rss-loaded", "recovery"),
    *("cluster-load", "cluster-latency", "cluster-failover", "cluster-failover-all", "cluster-failover-controller"),
    *("cluster-shutdown", "cluster-catchup", "cluster-memory"),
)


class Contest:
    """Both brokers, running and warmed, and everything that was measured on them."""

    def __init__(self, kafka: Broker, kstore: Broker, scale: Scale, say: Callable[[str], None]) -> None:
        self.brokers = {"kafka": kafka, "kstore": kstore}
        self.scale = scale
        self.say = say
        self.runs: dict[str, dict[str, list[Run]]] = {}
        self.discarded = 0

    def warm_up(self) -> None:
        """The JVM compiles what is hot: produce and fetch of every size, until the time is over; nothing counts."""
        for name, broker in self.brokers.items():
            deadline = time.monotonic() + (self.scale.warm_up_seconds if name == "kafka" else 2)
            while time.monotonic() < deadline:
                with topic(broker, "warm-up") as where:
                    for options in (BATCH_16K, BATCH_1M):
                        load("produce", broker, topic=where, records=300_000, size=1000, **COMMON, **options)
                    load("produce", broker, topic=where, records=50_000, size=100, **COMMON, **ONE_RECORD)
                    load("fetch", broker, topic=where, records=650_000)

    def measure(self, cell: LoadCell) -> Figure:
        found: dict[str, list[Run]] = {"kafka": [], "kstore": []}
        with self.prepared(cell) as topics:
            for name in self.brokers:
                self.once(cell, name, topics)  # this cell's own warm-up
            for pair in range(self.scale.pairs):
                order = ["kafka", "kstore"] if pair % 2 == 0 else ["kstore", "kafka"]
                for name in order:
                    found[name].append(self.quiet_run(cell, name, topics))
                self.say(
                    f"{cell.name} {pair + 1}/{self.scale.pairs}: Kafka {cell.value(found['kafka'][-1]):.2f}, "
                    f"kstore {cell.value(found['kstore'][-1]):.2f} {cell.unit}"
                )
        self.runs[cell.name] = found
        values = {name: [cell.value(run) for run in runs] for name, runs in found.items()}
        return Figure(
            cell.name,
            cell.title,
            cell.unit,
            values["kafka"],
            values["kstore"],
            cell.reach,
            cell.aim,
            notes=self.rates(cell, found),
        )

    def rates(self, cell: LoadCell, found: dict[str, list[Run]]) -> str:
        """How fast both went, beside the client alone: near that ceiling only CPU says something."""
        fastest = {name: max(run.records / run.seconds for run in runs) for name, runs in found.items()}
        text = f"records/s: Kafka {fastest['kafka']:,.0f}, kstore {fastest['kstore']:,.0f}"
        if cell.mode == "produce" and "rate" not in cell.options:
            alone = load("produce", None, records=cell.records(self.scale), size=cell.size, mock=1, **cell.options)
            ceiling = alone.records / alone.seconds
            bound = max(fastest.values()) > 0.8 * ceiling
            text += f", client alone {ceiling:,.0f}{' (client-bound)' if bound else ''}"
        return text

    def prepared(self, cell: LoadCell) -> Any:
        return FetchTopics(self.brokers, cell, self.scale) if cell.mode == "fetch" else NoTopics()

    def quiet_run(self, cell: LoadCell, name: str, topics: dict[str, str]) -> Run:
        """A run during which the host took less than 1 % of the machine away."""
        for _ in range(3):
            run = self.once(cell, name, topics)
            if run.stolen_part <= STOLEN_LIMIT:
                return run
            self.discarded += 1
        return run

    def once(self, cell: LoadCell, name: str, topics: dict[str, str]) -> Run:
        broker = self.brokers[name]
        records = cell.records(self.scale)
        if cell.mode == "fetch":
            runs = [load("fetch", broker, topic=topics[name], records=records) for _ in range(3)]
            return merged(runs)
        with topic(broker, "measured") as where:
            settle_disk()
            if cell.mode == "java":
                run = java_producer(broker, topic=where, records=records, size=cell.size, **cell.options)
            else:
                run = load("produce", broker, topic=where, records=records, size=cell.size, **cell.options)
            proof = load("fetch", broker, topic=where, records=records)
        # Equal work: every record that was acknowledged is read back, and is what was sent.
        assert proof.records == run.records, f"{name} lost records"
        assert run.sum in ("", proof.sum), f"{name} changed records"
        return run


def merged(runs: list[Run]) -> Run:
    return runs[0]._replace(
        records=sum(run.records for run in runs),
        gigabytes=sum(run.gigabytes for run in runs),
        seconds=sum(run.seconds for run in runs),
        broker_user=sum(run.broker_user for run in runs),
        broker_system=sum(run.broker_system for run in runs),
        client_cpu=sum(run.client_cpu for run in runs),
        machine_busy=sum(run.machine_busy for run in runs),
        stolen_part=max(run.stolen_part for run in runs),
    )


class NoTopics:
    def __enter__(self) -> dict[str, str]:
        return {}

    def __exit__(self, *error: object) -> None:
        pass


class FetchTopics:
    """A topic on each broker, filled once, for a cell that only reads."""

    def __init__(self, brokers: dict[str, Broker], cell: LoadCell, scale: Scale) -> None:
        self.contexts = {name: topic(broker, "to-read") for name, broker in brokers.items()}
        self.brokers = brokers
        self.records = cell.records(scale)

    def __enter__(self) -> dict[str, str]:
        topics = {name: context.__enter__() for name, context in self.contexts.items()}
        for name, broker in self.brokers.items():
            load("produce", broker, topic=topics[name], records=self.records, size=1000, **COMMON, **BATCH_1M)
        settle_disk()
        return topics

    def __exit__(self, *error: object) -> None:
        for context in self.contexts.values():
            context.__exit__(None, None, None)


# Cells that start and end brokers of their own


def alternating(kafka: str, rounds: int) -> Iterator[tuple[str, str]]:
    """(side, broker's name) in the order A B B A."""
    for number in range(rounds):
        order = [("kafka", kafka), ("kstore", "kstore")]
        yield from order if number % 2 == 0 else reversed(order)


def start_times(kafka: str, workplace: Path, scale: Scale, say: Callable[[str], None]) -> list[Figure]:
    """Process start to the first acknowledged record: on an empty directory, and with 1,000 partitions."""
    empty: dict[str, list[float]] = {"kafka": [], "kstore": []}
    full: dict[str, list[float]] = {"kafka": [], "kstore": []}
    every: dict[str, list[float]] = {"kafka": [], "kstore": []}
    for side, name in alternating(kafka, scale.restarts):
        broker = formatted(name, workplace / f"empty-{side}")
        empty[side].append(first_ack_seconds(broker, broker.port, "first", 1)[0])
        broker.kill()
        remove(broker)
    brokers = {side: filled(name, workplace / f"many-{side}", 1000) for side, name in alternating(kafka, 1)}
    for side, _ in alternating(kafka, scale.full_restarts):
        broker = brokers[side]
        first, all_of_them = first_ack_seconds(broker, broker.port, "many", 1000)
        full[side].append(first)
        every[side].append(all_of_them)
        broker.stop(timeout=600)
    for broker in brokers.values():
        remove(broker)
    say(f"start: empty {medians(empty)}, 1,000 partitions {medians(full)}")
    title = "process start to first ack"
    return [
        Figure("start-empty", f"{title}, empty directory", "s", empty["kafka"], empty["kstore"], 0.3, 0.2, True),
        Figure("start-1000", f"{title}, 1,000 partitions", "s", full["kafka"], full["kstore"], 1.0, 0.5, True),
        Figure(
            "start-1000-all",
            "the same until all 1,000 have acknowledged one",
            "s",
            every["kafka"],
            every["kstore"],
            2.0,
            1.0,
            True,
        ),
    ]


def medians(values: dict[str, list[float]]) -> str:
    return ", ".join(f"{side} {sorted(found)[len(found) // 2]:.2f}" for side, found in values.items())


def formatted(name: str, directory: Path) -> Broker:
    """A broker that was never started; Kafka's directory is formatted before its clock runs."""
    broker = make_broker(name, directory, {"broker.session.timeout.ms": "1000"})
    remove(broker)
    broker.log_directory.parent.mkdir(parents=True, exist_ok=True)
    if hasattr(broker, "prepare"):
        broker.prepare()
    return broker


def filled(name: str, directory: Path, partitions: int) -> Broker:
    """A broker with a topic of so many partitions with a record each, closed cleanly."""
    broker = formatted(name, directory)
    broker.start()
    with WireClient(broker.port) as client:
        create_topic(client, "many", partitions)
    load("produce", broker, topic="many", records=partitions, size=100, partitions=partitions)
    broker.stop(timeout=600)  # a thousand partitions are flushed
    return broker


def memory(kafka: str, workplace: Path, scale: Scale, say: Callable[[str], None]) -> list[Figure]:
    """Resident memory: idle, with 1,000 partitions, and after gigabytes of load."""
    idle: dict[str, list[float]] = {"kafka": [], "kstore": []}
    many: dict[str, list[float]] = {"kafka": [], "kstore": []}
    loaded: dict[str, list[float]] = {"kafka": [], "kstore": []}
    shares: dict[str, list[float]] = {"kafka": [], "kstore": []}
    for side, name in alternating(kafka, 1):
        with running(name, workplace / f"memory-{side}") as broker:
            time.sleep(3)  # what is done lazily after the start is done
            idle[side].append(memory_mb(broker.pid))
            shares[side].append(proportional_mb(broker.pid))
            with topic(broker, "many", 1000):
                load("produce", broker, topic="many", records=1000, size=100, partitions=1000)
                many[side].append(memory_mb(broker.pid))
        with running(name, workplace / f"memory-{side}") as broker, topic(broker, "loaded", 6) as where:
            records = int(scale.memory_gigabytes * 1e9) // 1000
            load("produce", broker, topic=where, records=records, size=1000, partitions=6, **COMMON, **BATCH_16K)
            load("fetch", broker, topic=where, records=records, partitions=6)
            loaded[side].append(memory_mb(broker.pid))
    say(f"memory: idle {medians(idle)}, 1,000 partitions {medians(many)}, loaded {medians(loaded)}")
    pss = f"proportional: Kafka {shares['kafka'][0]:.0f}, kstore {shares['kstore'][0]:.0f}"
    title = "resident memory"
    return [
        Figure("rss-idle", f"{title}, idle", "MB", idle["kafka"], idle["kstore"], 45, 35, True, pss),
        Figure("rss-1000", f"{title}, 1,000 partitions", "MB", many["kafka"], many["kstore"], 90, 70, True),
        Figure(
            "rss-loaded",
            f"{title}, after {scale.memory_gigabytes:g} GB of load",
            "MB",
            loaded["kafka"],
            loaded["kstore"],
            80,
            60,
            True,
        ),
    ]


def recovery(kafka: str, workplace: Path, scale: Scale, say: Callable[[str], None]) -> list[Figure]:
    """kill -9 right after the last acknowledgement; the next process start to the ack of all partitions."""
    found: dict[str, list[float]] = {"kafka": [], "kstore": []}
    for side, name in alternating(kafka, 1 if scale.pairs < 3 else 3):
        broker = formatted(name, workplace / f"killed-{side}")
        broker.start()
        with WireClient(broker.port) as client:
            create_topic(client, "killed", 6)
        records = int(scale.recovery_gigabytes * 1e9) // 1000
        run = load("produce", broker, topic="killed", records=records, size=1000, partitions=6, **COMMON, **BATCH_16K)
        broker.kill()
        found[side].append(first_ack_seconds(broker, broker.port, "killed", 6)[1])
        proof = load("fetch", broker, topic="killed", records=run.records + 6, partitions=6)
        assert proof.records == run.records + 6
        broker.kill()
        remove(broker)
        say(f"recovery of {side}: {found[side][-1]:.2f} s")
    return [
        Figure(
            "recovery",
            f"start after kill -9 with {scale.recovery_gigabytes:g} GB in 6 partitions, to the first ack of all",
            "s",
            found["kafka"],
            found["kstore"],
            1 / 3,
            1 / 10,
            notes="Kafka with broker.session.timeout.ms=1000: by default it would wait 9 s for its old session",
        )
    ]
