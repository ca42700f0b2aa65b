"""Clients that work while the cluster is broken, and write down what they were told: one thread, or process, each.

load = [LibrdkafkaProducer(history, "p", where, idempotent=True), AssignReader(history, "r", where)]
for each in load: each.start()
...
for each in load: each.stop()      # what has no answer by then is unknown
"""

import asyncio
import contextlib
import json
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka.errors import KafkaError as AioKafkaError
from aiokafka.structs import TopicPartition as AioTopicPartition
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from tests.chaos.history import ACKED, UNKNOWN, Commit, EndOffset, History, Poll, Read, Send
from tests.judge.java import java_command

# What clients say of brokers that are away is what is wanted here.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

# An answer that takes longer is unknown; longer than every fault.
ANSWER_S = 60
NEVER_TOLD = (
    KafkaError._AUTO_OFFSET_RESET,
    KafkaError._BAD_MSG,
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError._LOG_TRUNCATION,
)


class Where(NamedTuple):
    """What is written to, or read from."""

    bootstrap: str
    topic: str
    partitions: int


class Worker:
    """`work` runs in a thread of its own until `stopping` is set."""

    def __init__(self, history: History, name: str, where: Where) -> None:
        self.history = history
        self.name = name
        self.where = where
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.failure = error

    def work(self) -> None:
        raise NotImplementedError

    def stop(self, timeout: float = ANSWER_S + 30) -> None:
        """Raises what it failed with."""
        self.stopping.set()
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"{self.name} does not end"
        if self.failure is not None:
            raise self.failure


def value_of(producer: str, number: int, size: int) -> bytes:
    """Unique, and easily told."""
    return f"{producer}:{number}:".encode().ljust(size, b".")


# --- producers ---


class SendingWorker(Worker):
    """`acked` counts, `latest` is when the last one came: by them progress is seen."""

    def __init__(
        self, history: History, name: str, where: Where, *, per_second: float = 300, size: int = 300, idempotent: bool
    ) -> None:
        super().__init__(history, name, where)
        self.per_second = per_second
        self.size = size
        self.idempotent = idempotent
        self.acked = 0
        self.longest_gap_s = 0.0
        self.latest = time.monotonic()
        if idempotent:
            history.idempotent.add(name)

    def note(self, producer: str, number: int, partition: int, value: bytes, offset: int | None) -> None:
        if offset is None:
            self.history.sends.append(Send(producer, number, partition, value, UNKNOWN))
            return
        self.history.sends.append(Send(producer, number, partition, value, ACKED, offset))
        self.acked += 1
        now = time.monotonic()
        self.longest_gap_s = max(self.longest_gap_s, now - self.latest)
        self.latest = now


class LibrdkafkaProducer(SendingWorker):
    """After a fatal error there is a new one, under a new name."""

    def __init__(self, history: History, name: str, where: Where, *, acks: str = "all", **options: Any) -> None:
        self.config: dict[str, Any] = options.pop("config", {})
        super().__init__(history, name, where, **options)
        self.acks = acks
        self._lives = 0

    def work(self) -> None:
        while not self.stopping.is_set():
            self._lives += 1
            self._live(self.name if self._lives == 1 else f"{self.name}/{self._lives}")

    def _live(self, name: str) -> None:
        if self.idempotent:
            self.history.idempotent.add(name)
        fatal = threading.Event()

        def complains(error: KafkaError) -> None:
            if error.fatal():
                fatal.set()

        producer = Producer(
            {
                "bootstrap.servers": self.where.bootstrap,
                "client.id": name,
                "acks": self.acks,
                "enable.idempotence": self.idempotent,
                "linger.ms": 5,
                "message.timeout.ms": ANSWER_S * 1000,
                "request.timeout.ms": 5000,
                "retry.backoff.ms": 50,
                "reconnect.backoff.max.ms": 1000,
                "socket.timeout.ms": 6000,
                "topic.metadata.refresh.interval.ms": 1000,
                "queue.buffering.max.messages": 20_000,
                "allow.auto.create.topics": False,
                "error_cb": complains,
                "log_level": 0,
                **self.config,
            }
        )
        number, began = 0, time.monotonic()
        while not self.stopping.is_set() and not fatal.is_set():
            due = (time.monotonic() - began) * self.per_second
            while number < due:
                partition, value = number % self.where.partitions, value_of(name, number, self.size)
                try:
                    producer.produce(
                        self.where.topic, value, partition=partition, on_delivery=self._answered(name, number, value)
                    )
                except BufferError:  # as many as the queue holds have no answer yet
                    began = time.monotonic() - number / self.per_second
                    break
                except KafkaException:  # fatal: nothing is taken any more
                    fatal.set()
                    break
                number += 1
            producer.poll(0.01)
        producer.flush(0 if fatal.is_set() else ANSWER_S)
        # What has no answer by now gets one: unknown.
        producer.purge()
        producer.flush(10)

    def _answered(self, name: str, number: int, value: bytes) -> Callable[[KafkaError | None, Message], None]:
        def answered(error: KafkaError | None, message: Message) -> None:
            self.note(name, number, message.partition(), value, None if error is not None else message.offset())

        return answered


class AiokafkaProducer(SendingWorker):
    def work(self) -> None:
        asyncio.run(self._work())

    async def _work(self) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.where.bootstrap,
            acks="all",
            enable_idempotence=self.idempotent,
            request_timeout_ms=6000,
            retry_backoff_ms=100,
            metadata_max_age_ms=5000,
            linger_ms=5,
        )
        await started(producer, self.stopping)
        number, began, waiting = 0, time.monotonic(), set()
        while not self.stopping.is_set():
            due = (time.monotonic() - began) * self.per_second
            while number < due and len(waiting) < 5000:
                partition, value = number % self.where.partitions, value_of(self.name, number, self.size)
                answer = asyncio.ensure_future(self._send(producer, number, partition, value))
                waiting.add(answer)
                answer.add_done_callback(waiting.discard)
                number += 1
            await asyncio.sleep(0.01)
        if waiting:
            await asyncio.wait(waiting, timeout=ANSWER_S)
        for answer in waiting:
            answer.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        with contextlib.suppress(AioKafkaError, asyncio.TimeoutError):
            await asyncio.wait_for(producer.stop(), 10)

    async def _send(self, producer: AIOKafkaProducer, number: int, partition: int, value: bytes) -> None:
        offset = None
        try:
            answer = await producer.send(self.where.topic, value, partition=partition)
            offset = (await answer).offset
        except AioKafkaError:
            offset = None
        finally:
            self.note(self.name, number, partition, value, offset)


async def started(client: Any, stopping: threading.Event) -> None:
    """aiokafka's clients do not start while nobody answers."""
    while not stopping.is_set():
        try:
            await client.start()
        except (AioKafkaError, OSError):
            await asyncio.sleep(0.5)
        else:
            return


class JavaProducer(SendingWorker):
    """Kafka's own VerifiableProducer, in a JVM of its own, idempotent."""

    def __init__(self, history: History, number: int, where: Where, directory: Path, *, per_second: int = 100) -> None:
        super().__init__(history, f"{number}", where, per_second=per_second, idempotent=True)
        self.number = number
        self._file = directory / f"verifiable-producer-{number}.properties"

    def work(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        settings = {
            "enable.idempotence": "true",
            "retries": "2147483647",
            "delivery.timeout.ms": str(ANSWER_S * 1000),
            "request.timeout.ms": "5000",
            "retry.backoff.ms": "50",
            "metadata.max.age.ms": "5000",
        }
        self._file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        main = "org.apache.kafka.tools.VerifiableProducer"
        words = ["--bootstrap-server", self.where.bootstrap, "--topic", self.where.topic, "--value-prefix", self.number]
        words += ["--throughput", int(self.per_second), "--producer.config", self._file, "--acks", -1]
        command = [*java_command("3.9.1", heap="128m"), main, *map(str, words)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            ends = threading.Thread(target=self._end, args=(process,), daemon=True)
            ends.start()
            assert process.stdout is not None
            for line in process.stdout:
                self._line(line)
            ends.join()

    def _end(self, process: "subprocess.Popen[str]") -> None:
        """SIGTERM: it waits for its answers, and says its last words."""
        while process.poll() is None and not self.stopping.wait(0.2):
            pass
        process.terminate()
        try:
            process.wait(ANSWER_S + 20)
        except subprocess.TimeoutExpired:
            process.kill()

    def _line(self, line: str) -> None:
        with contextlib.suppress(json.JSONDecodeError):
            told = json.loads(line)
            value = str(told.get("value")).encode()
            if told.get("name") == "producer_send_success":
                number = int(value.rpartition(b".")[2])
                self.note(self.name, number, told["partition"], value, told["offset"])
            elif told.get("name") == "producer_send_error":
                self.note(self.name, int(value.rpartition(b".")[2]), -1, value, None)


# --- consumers ---

READER = {
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "check.crcs": True,
    "allow.auto.create.topics": False,
    "fetch.wait.max.ms": 100,
    "fetch.error.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1000,
    "socket.timeout.ms": 6000,
    "topic.metadata.refresh.interval.ms": 1000,
    "log_level": 0,
}


class AssignReader(Worker):
    """All partitions, from the beginning, without a group."""

    def __init__(self, history: History, name: str, where: Where, **config: Any) -> None:
        super().__init__(history, name, where)
        self.config = config

    def work(self) -> None:
        consumer = self.open()
        sought = frozenset(range(self.where.partitions))
        while not self.stopping.is_set():
            records = self.poll(consumer)
            if records:
                self.history.polls.append(Poll(self.name, records, sought))
                sought = frozenset()
        consumer.close()

    def open(self) -> Consumer:
        consumer = Consumer({"bootstrap.servers": self.where.bootstrap, "group.id": self.name, **READER, **self.config})
        begin = self.history.begin
        consumer.assign([TopicPartition(self.where.topic, index, begin) for index in range(self.where.partitions)])
        return consumer

    def poll(self, consumer: Consumer) -> tuple[Read, ...]:
        return reads_in(consumer.consume(500, 0.2), self.history, self.name)


def reads_in(messages: list[Message], history: History, reader: str) -> tuple[Read, ...]:
    found = []
    for message in messages:
        error = message.error()
        if error is None:
            found.append(Read(message.partition(), message.offset(), message.value()))
        elif error.code() in NEVER_TOLD:
            history.complaints.append(f"{reader}: {error.str()}")
    return tuple(found)


class GroupReader(Worker):
    """A member of a group, which commits what it has written down."""

    def __init__(self, history: History, name: str, where: Where, group: str, **config: Any) -> None:
        super().__init__(history, name, where)
        self.group = group
        self.config = config
        self.rebalances = 0
        self.assigned: frozenset[int] = frozenset()
        self._sought: set[int] = set()
        history.groups.setdefault(group, []).append(name)

    def work(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self.where.bootstrap,
                "group.id": self.group,
                **READER,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": 6000,
                "heartbeat.interval.ms": 500,
                **self.config,
            }
        )
        consumer.subscribe([self.where.topic], on_assign=self._assigned)
        while not self.stopping.is_set():
            records = reads_in(consumer.consume(500, 0.2), self.history, self.name)
            if records:
                self.history.polls.append(Poll(self.name, records, frozenset(self._sought)))
                self._sought.clear()
                with contextlib.suppress(KafkaException):
                    consumer.commit(asynchronous=False)
        consumer.close()

    def _assigned(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.rebalances += 1
        self.assigned = frozenset(each.partition for each in partitions)
        self._sought.update(self.assigned)


class Sought(ConsumerRebalanceListener):  # type: ignore[misc]
    """The partitions that were given since somebody looked: they may begin elsewhere."""

    def __init__(self) -> None:
        self.partitions: set[int] = set()

    def on_partitions_revoked(self, revoked: Collection[AioTopicPartition]) -> None:
        pass

    def on_partitions_assigned(self, assigned: Collection[AioTopicPartition]) -> None:
        self.partitions.update(each.partition for each in assigned)


class AiokafkaGroupReader(Worker):
    """As GroupReader, with aiokafka."""

    def __init__(self, history: History, name: str, where: Where, group: str) -> None:
        super().__init__(history, name, where)
        self.group = group
        history.groups.setdefault(group, []).append(name)

    def work(self) -> None:
        asyncio.run(self._work())

    async def _work(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.where.bootstrap,
            group_id=self.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=6000,
            heartbeat_interval_ms=500,
            request_timeout_ms=8000,
            metadata_max_age_ms=2000,
            retry_backoff_ms=100,
        )
        # A member that is alone gets what it had, and begins where it has committed all the same.
        sought = Sought()
        consumer.subscribe([self.where.topic], listener=sought)
        await started(consumer, self.stopping)
        while not self.stopping.is_set():
            try:
                batches = await consumer.getmany(timeout_ms=200, max_records=500)
            except (AioKafkaError, AssertionError):
                # It asserts that it has a position, also while it looks for one.
                await asyncio.sleep(0.1)
                continue
            records = tuple(
                Read(each.partition, each.offset, each.value) for batch in batches.values() for each in batch
            )
            if not records:
                continue
            self.history.polls.append(Poll(self.name, records, frozenset(sought.partitions)))
            sought.partitions.clear()
            with contextlib.suppress(AioKafkaError):
                await consumer.commit()
        with contextlib.suppress(AioKafkaError, asyncio.TimeoutError):
            await asyncio.wait_for(consumer.stop(), 10)


class EndWatcher(Worker):
    """Asks for the ends of all partitions, one question after the other."""

    def work(self) -> None:
        consumer = Consumer({"bootstrap.servers": self.where.bootstrap, "group.id": self.name, **READER})
        while not self.stopping.wait(0.05):
            for partition in range(self.where.partitions):
                with contextlib.suppress(KafkaException):
                    asked = TopicPartition(self.where.topic, partition)
                    _, end = consumer.get_watermark_offsets(asked, timeout=2, cached=False)
                    self.history.ends.append(EndOffset(partition, end))
        consumer.close()


class Committer(Worker):
    """Commits rising offsets for a group without members, and reads them again."""

    def work(self) -> None:
        config = {"bootstrap.servers": self.where.bootstrap, "group.id": self.name, **READER}
        consumer = Consumer(config)
        offset = 0
        while not self.stopping.wait(0.05):
            offset += 1
            asked = TopicPartition(self.where.topic, 0, offset)
            outcome = ACKED
            try:
                (done,) = consumer.commit(offsets=[asked], asynchronous=False)
                if done.error is not None:
                    outcome = UNKNOWN
            except KafkaException:
                outcome = UNKNOWN
            self.history.commits.append(Commit(self.name, offset, outcome))
            if offset % 5 == 0:
                self.look(consumer)
        self.look(consumer, timeout=20)
        consumer.close()

    def look(self, consumer: Consumer, timeout: float = 3) -> None:
        with contextlib.suppress(KafkaException):
            (found,) = consumer.committed([TopicPartition(self.where.topic, 0)], timeout=timeout)
            if found.error is None:
                self.history.commits.append(Commit(self.name, max(found.offset, -1), is_read=True))


# --- the end ---


def read_everything(history: History, name: str, where: Where, timeout: float = 60) -> None:
    """From the beginning to the ends as they are now; fails when that takes too long."""
    reader = AssignReader(history, name, where)
    consumer = reader.open()
    try:
        ends = ends_of(consumer, where, timeout)
        positions = dict.fromkeys(ends, history.begin)
        sought = frozenset(ends)
        deadline = time.monotonic() + timeout
        while any(positions[index] < end for index, end in ends.items()):
            records = reader.poll(consumer)
            if records:
                history.polls.append(Poll(name, records, sought))
                sought = frozenset()
            for partition, offset, _ in records:
                positions[partition] = offset + 1
            assert time.monotonic() < deadline, f"{name} is at {positions} of {ends} after {timeout:.0f} s"
    finally:
        consumer.close()
    history.final_readers.add(name)


def ends_of(consumer: Consumer, where: Where, timeout: float) -> dict[int, int]:
    deadline = time.monotonic() + timeout
    ends: dict[int, int] = {}
    while len(ends) < where.partitions:
        for partition in range(where.partitions):
            try:
                _, ends[partition] = consumer.get_watermark_offsets(
                    TopicPartition(where.topic, partition), timeout=5, cached=False
                )
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
    return ends
