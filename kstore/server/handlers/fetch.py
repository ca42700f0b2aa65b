"""Fetch

API 1, versions 4-17
KIP-98 isolation, KIP-227 sessions, KIP-320 leader epochs, KIP-516 topic ids, KIP-595 diverging epochs, KIP-903
replica epochs
Kafka: KafkaApis.handleFetchRequest, ReplicaManager.readFromLog, DelayedFetch, FetchRequest.json
"""

from typing import Any

from kstore._native.batch import ZSTD
from kstore._native.connection import PENDING, Request
from kstore._native.hot_messages import decode_fetch, encode_fetch_response
from kstore.errors import (
    InconsistentTopicIdError,
    InvalidRequestError,
    KafkaError,
    NotCachedError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
    UnsupportedCompressionTypeError,
)
from kstore.log.work import LookUp
from kstore.model import TopicPartition
from kstore.server.broker_listener import check_is_for_brokers
from kstore.server.context import Context
from kstore.server.fetch_session import NO_SESSION, Key, Opened, Wanted
from kstore.server.purgatory import FetchWaiting
from kstore.server.respond import completion, run_for

ZSTD_FROM = 10
TOPIC_IDS_FROM = 13
# Where Kafka did not even read, its answer lists no aborted transactions; where reading failed, the list is null.
NOT_READ = (UnknownTopicIdError, UnknownTopicOrPartitionError, UnsupportedCompressionTypeError)

# (partition, error code, high watermark, last stable offset, log start offset, aborted, preferred replica,
# records, diverging epoch, current leader, snapshot id)
Result = tuple[int, int, int, int, int, Any, int, Any, Any, None, None]


class Reading:
    """The outcome of one pass over all partitions of a fetch."""

    __slots__ = ("answer_now", "cold", "results", "size")

    def __init__(self) -> None:
        self.results: list[tuple[Key, Wanted, Result]] = []
        self.size = 0
        # An error or a divergence is told without waiting for more bytes.
        self.answer_now = False
        # What keeps the outcome from being whole: look-ups that would have waited for the disk.
        self.cold: list[LookUp | None] = []


def handle(context: Context, request: Request) -> object:
    version = request.api_version
    payload = decode_fetch(request.buffer, request.position, request.limit, version)
    if payload.replica_id >= 0:
        if context.cluster is None:
            raise InvalidRequestError(f"replica {payload.replica_id} fetches from a broker that has no followers")
        check_is_for_brokers(context, request)
    now_ms = context.clock.now_ms()
    try:
        opened = context.fetch_sessions.open(
            session_id=payload.session_id,
            epoch=payload.session_epoch,
            topics=payload.topics,
            forgotten=payload.forgotten,
            uses_topic_ids=version >= TOPIC_IDS_FROM,
            now_ms=now_ms,
        )
    except KafkaError as error:
        return encode_fetch_response(request.correlation_id, version, 0, error.code, NO_SESSION, [])

    # What a follower holds is told by the first look alone (rule 19).
    reading = read_all(context, payload, opened.wanted, version=version, is_first=True)
    if reading.cold:
        deadline_ms = now_ms + payload.max_wait_ms
        run_for(context, request, answer_cold(context, request, payload, opened, reading, deadline_ms))
        return PENDING
    return answer_or_wait(context, request, payload, opened, reading, payload.max_wait_ms, now_ms)


async def answer_cold(
    context: Context, request: Request, payload: Any, opened: Opened, reading: Reading, deadline_ms: int
) -> None:
    """Answers when the page cache has what is asked for; waits for more bytes until the deadline."""

    def attempt(wait: bool) -> list[LookUp | None]:
        nonlocal reading
        reading = read_all(context, payload, opened.wanted, version=request.api_version, wait=wait)
        return reading.cold

    await context.cold_reads.until_found(reading.cold, attempt, is_wanted=lambda: not request.connection.closed)
    if request.connection.closed:
        return
    now_ms = context.clock.now_ms()
    answer = answer_or_wait(context, request, payload, opened, reading, deadline_ms - now_ms, now_ms)
    if answer is not PENDING:
        request.complete(answer)


def answer_or_wait(
    context: Context,
    request: Request,
    payload: Any,
    opened: Opened,
    reading: Reading,
    max_wait_ms: int,
    now_ms: int,
) -> object:
    """The answer, or PENDING where it waits for more bytes."""
    if reading.answer_now or reading.size >= payload.min_bytes or max_wait_ms <= 0 or not opened.wanted:
        return respond(context, request, opened, reading, now_ms)
    wait_for_bytes(context, request, payload, opened, reading, max_wait_ms)
    return PENDING


def read_all(
    context: Context,
    payload: Any,
    wanted: dict[Key, Wanted],
    *,
    version: int,
    wait: bool = False,
    is_first: bool = False,
) -> Reading:
    """Reads partition by partition; each takes its bytes from what the request as a whole may still have.

    Until one partition has given data, its first batch comes whole despite the limits (KIP-74). Partitions that would
    `wait` for the disk are left out.
    """
    reading = Reading()
    remaining = min(payload.max_bytes, context.config.fetch_max_bytes)
    for key, want in wanted.items():
        try:
            result = read_one(
                context,
                want,
                max_bytes=min(remaining, want.max_bytes),
                isolation_level=payload.isolation_level,
                min_one_message=reading.size == 0,
                version=version,
                wait=wait,
                payload=payload,
                is_first=is_first,
            )
            records = result[7]
            size = len(records) if type(records) is bytes else records.size
            reading.size += size
            remaining = max(0, remaining - size)
            if result[8] is not None:
                reading.answer_now = True
        except NotCachedError as error:
            reading.cold.append(error.look_up)
            continue
        except KafkaError as error:
            reading.answer_now = True
            aborted: Any = [] if isinstance(error, NOT_READ) else None
            result = (want.partition, error.code, -1, -1, -1, aborted, -1, b"", None, None, None)
        reading.results.append((key, want, result))
    return reading


def read_one(
    context: Context,
    want: Wanted,
    *,
    max_bytes: int,
    isolation_level: int,
    min_one_message: bool,
    version: int,
    wait: bool,
    payload: Any,
    is_first: bool,
) -> Result:
    """What one partition gives. Raises the KafkaError that it is answered with, and NotCachedError."""
    topic = want.topic
    if topic is None:
        topic = want.topic = context.topics.name_of(want.topic_id)
        if topic is None:
            raise UnknownTopicIdError("there is no topic with this id")
    partition = context.replicas.partitions.get((topic, want.partition))
    if partition is None:
        raise context.replicas.missing(topic, want.partition)
    log = partition.log
    if want.topic_id is not None and want.topic_id != log.topic_id:
        # A session goes on while its topic is deleted and made anew under the same name.
        raise InconsistentTopicIdError(f"{topic} has another id than the request says")
    if version < ZSTD_FROM and log.config.target_compression == ZSTD:
        # As Kafka: the topic's configuration is asked, not its batches, which nobody else looks into.
        raise UnsupportedCompressionTypeError(f"version {version} of Fetch knows no zstd (KIP-110)")
    # The bounds are taken before the read, so that what is told never runs ahead of what was read (rule 19).
    high_watermark, last_stable_offset = log.high_watermark, log.last_stable_offset
    replica_id = payload.replica_id
    if replica_id >= 0:
        partition.leader_for(want.current_leader_epoch).check_replica(replica_id, payload.replica_epoch)
    if want.last_fetched_epoch >= 0:
        diverging = partition.diverging_epoch(
            want.fetch_offset, want.last_fetched_epoch, current_leader_epoch=want.current_leader_epoch
        )
        if diverging is not None:
            return (
                want.partition, 0, high_watermark, last_stable_offset, log.log_start_offset,
                None, -1, b"", diverging, None, None,
            )  # fmt: skip
    if replica_id >= 0 and is_first and log.log_start_offset <= want.fetch_offset <= log.log_end_offset:
        context.deliver(
            partition.fetched_by(
                replica_id,
                want.fetch_offset,
                log_start_offset=want.log_start_offset,
                leader_end=log.log_end_offset,
                broker_epoch=payload.replica_epoch,
                now_ms=context.clock.now_ms(),
            )
        )
    data = partition.read(
        want.fetch_offset,
        max_bytes=max_bytes,
        isolation_level=isolation_level,
        min_one_message=min_one_message,
        current_leader_epoch=want.current_leader_epoch,
        wait=wait,
        replica_id=replica_id,
    )
    # From version 3 on a first batch that does not fit does not come, rather than come torn.
    records = b"" if data.first_entry_incomplete else data.records
    aborted = None
    if data.aborted_transactions is not None and not data.first_entry_incomplete:
        aborted = [(each.producer_id, each.first_offset) for each in data.aborted_transactions]
    return (
        want.partition, 0, high_watermark, last_stable_offset, log.log_start_offset,
        aborted, -1, records, None, None, None,
    )  # fmt: skip


def wait_for_bytes(
    context: Context, request: Request, payload: Any, opened: Opened, reading: Reading, max_wait_ms: int
) -> None:
    """Waits until `min_bytes` can be read or `max_wait_ms` are over, then reads once more."""
    watched: dict[TopicPartition, int] = {}
    wants: dict[TopicPartition, Wanted] = {}
    for _, want, result in reading.results:
        topic_partition = TopicPartition(want.topic or "", want.partition)
        records = result[7]
        watched[topic_partition] = len(records) if type(records) is bytes else records.size
        wants[topic_partition] = want

    def available(topic_partition: TopicPartition) -> int:
        partition = context.replicas.partitions.get(topic_partition)
        want = wants[topic_partition]
        if partition is None:
            return 0
        log = partition.log
        if (log.log_end_offset if payload.replica_id >= 0 else log.high_watermark) <= want.fetch_offset:
            return 0
        try:
            records: Any = partition.read(
                want.fetch_offset,
                max_bytes=want.max_bytes,
                isolation_level=payload.isolation_level,
                min_one_message=True,
                current_leader_epoch=want.current_leader_epoch,
                wait=False,
                replica_id=payload.replica_id,
            ).records
        except NotCachedError:
            # There is something, and it takes a thread to find it.
            return int(payload.min_bytes)
        except KafkaError:
            # The answer tells of it, so it is time to answer.
            return int(payload.min_bytes)
        return len(records) if type(records) is bytes else int(records.size)

    def answer() -> object:
        again = read_all(context, payload, opened.wanted, version=request.api_version)
        if again.cold:
            run_for(context, request, answer_cold(context, request, payload, opened, again, deadline_ms=0))
            return PENDING
        return respond(context, request, opened, again, context.clock.now_ms())

    complete = completion(request, answer)
    waiting = FetchWaiting(watched, complete, needed=payload.min_bytes, available=available)
    context.deliver.fetches.watch(waiting, timeout_ms=max_wait_ms)
    request.on_gone = lambda: context.deliver.fetches.forget(waiting)


def respond(context: Context, request: Request, opened: Opened, reading: Reading, now_ms: int) -> object:
    """The answer; in a session only the partitions that have news."""
    version = request.api_version
    uses_topic_ids = version >= TOPIC_IDS_FROM
    session = opened.session
    session_id = NO_SESSION
    if session is not None:
        session_id = session.id
    elif opened.may_found:
        session_id = context.fetch_sessions.found(opened.wanted, uses_topic_ids=uses_topic_ids, now_ms=now_ms)

    topics: dict[str | bytes | None, tuple[str | None, bytes | None, list[Result]]] = {}
    for key, want, result in reading.results:
        records = result[7]
        has_records = type(records) is not bytes or bool(records)
        if session_id != NO_SESSION:
            news = want.has_news(
                error_code=result[1],
                high_watermark=result[2],
                log_start_offset=result[4],
                told_anyway=has_records or result[8] is not None,
            )
            if session is not None:
                if not news:
                    continue
                if has_records:
                    session.moved_to_end(key)
        if result[1] == 0 or (want.topic, want.partition) in context.replicas.partitions:
            counted = context.traffic[want.topic or ""]
            counted.fetches += 1
            counted.failed_fetches += result[1] != 0
            counted.bytes_out += len(records) if type(records) is bytes else records.size
        entry = topics.get(key[0])
        if entry is None:
            entry = topics[key[0]] = (want.topic, want.topic_id, [])
        entry[2].append(result)
    return encode_fetch_response(request.correlation_id, version, 0, 0, session_id, list(topics.values()))
