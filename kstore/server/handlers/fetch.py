"""Fetch

API 1, versions 4-17
KIP-73 throttled replicas, KIP-98 isolation, KIP-227 sessions, KIP-320 leader epochs, KIP-392 reading from followers,
KIP-516 topic ids, KIP-595 diverging epochs, KIP-903 replica epochs, KIP-951 leader hints
Kafka: KafkaApis.handleFetchRequest, ReplicaManager.readFromLog, DelayedFetch, FetchRequest.json
"""

from typing import Any

from kstore._native.batch import ZSTD
from kstore._native.connection import PENDING, Request
from kstore._native.hot_messages import decode_fetch, encode_fetch_response
from kstore.errors import (
    InconsistentTopicIdError,
    KafkaError,
    NotCachedError,
    NotLeaderOrFollowerError,
    OffsetOutOfRangeError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
    UnsupportedCompressionTypeError,
)
from kstore.log.work import LookUp
from kstore.model import TopicPartition
from kstore.replica.partition import Partition
from kstore.replica.read_replica import SELECTORS
from kstore.replica.throttle import is_listed
from kstore.server.broker_listener import check_is_a_brokers
from kstore.server.context import Context
from kstore.server.fetch_session import LOOK_AT_ALL_MS, NO_REPLICA, NO_SESSION, FollowerSession, Key, Opened, Wanted
from kstore.server.leader_hints import FETCH_FROM as HINTS_FROM
from kstore.server.leader_hints import LeaderHints, is_hinted
from kstore.server.purgatory import FetchWaiting
from kstore.server.respond import completion, run_for

# What a follower's fetch may be late.
FETCH_SLACK_MS = 1_000

ZSTD_FROM = 10
TOPIC_IDS_FROM = 13
# From this version on any replica may answer a consumer, which says in which rack it is.
ANY_REPLICA_FROM = 11
# Where Kafka did not even read, its answer lists no aborted transactions; where reading failed, the list is null.
NOT_READ = (UnknownTopicIdError, UnknownTopicOrPartitionError, UnsupportedCompressionTypeError)

# (partition, error code, high watermark, last stable offset, log start offset, aborted, preferred replica,
# records, diverging epoch, current leader, snapshot id)
Result = tuple[int, int, int, int, int, Any, int, Any, Any, tuple[int, int] | None, None]


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
    check_is_a_brokers(context, request, payload.replica_id)
    monotonic_ms = context.clock.monotonic_ms()
    try:
        opened = context.fetch_sessions.open(
            session_id=payload.session_id,
            epoch=payload.session_epoch,
            topics=payload.topics,
            forgotten=payload.forgotten,
            uses_topic_ids=version >= TOPIC_IDS_FROM,
            replica=(payload.replica_id, payload.replica_epoch),
            monotonic_ms=monotonic_ms,
        )
    except KafkaError as error:
        return encode_fetch_response(request.correlation_id, version, 0, error.code, NO_SESSION, [])

    # What a follower holds is told by the first look alone (rule 19).
    reading = read_all(context, request, payload, opened, version=version, is_first=True)
    if reading.cold:
        deadline_ms = monotonic_ms + payload.max_wait_ms
        run_for(context, request, answer_cold(context, request, payload, opened, reading, deadline_ms))
        return PENDING
    return answer_or_wait(context, request, payload, opened, reading, payload.max_wait_ms, monotonic_ms)


async def answer_cold(
    context: Context, request: Request, payload: Any, opened: Opened, reading: Reading, deadline_ms: int
) -> None:
    """Answers when the page cache has what is asked for; waits for more bytes until the deadline."""

    def attempt(wait: bool) -> list[LookUp | None]:
        nonlocal reading
        reading = read_all(context, request, payload, opened, version=request.api_version, wait=wait)
        return reading.cold

    await context.cold_reads.until_found(reading.cold, attempt, is_wanted=lambda: not request.connection.closed)
    if request.connection.closed:
        return
    monotonic_ms = context.clock.monotonic_ms()
    answer = answer_or_wait(context, request, payload, opened, reading, deadline_ms - monotonic_ms, monotonic_ms)
    if answer is not PENDING:
        request.complete(answer)


def answer_or_wait(
    context: Context,
    request: Request,
    payload: Any,
    opened: Opened,
    reading: Reading,
    max_wait_ms: int,
    monotonic_ms: int,
) -> object:
    """The answer, or PENDING where it waits for more bytes."""
    if reading.answer_now or reading.size >= payload.min_bytes or max_wait_ms <= 0 or opened.is_empty:
        return respond(context, request, payload, opened, reading, monotonic_ms)
    wait_for_bytes(context, request, payload, opened, reading, max_wait_ms)
    return PENDING


def read_all(
    context: Context,
    request: Request,
    payload: Any,
    opened: Opened,
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
    is_follower = payload.replica_id >= 0
    monotonic_ms = context.clock.monotonic_ms() if is_follower else 0
    chooser = None if is_follower else Chooser.of(context, request, payload)
    session = followers_session(opened, payload)
    for key, want in list(opened.wanted.items()):
        try:
            if session is not None:
                partition = context.replicas.partitions.get((want.topic or "", want.partition))
                if partition is not None and is_idle(partition, want, payload, monotonic_ms if is_first else -1):
                    session.rest(key, want)
                    continue
            elif chooser is not None and (sent := chooser.sent_elsewhere(context, want)) is not None:
                reading.answer_now = True
                reading.results.append((key, want, sent))
                continue
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


def followers_session(opened: Opened, payload: Any) -> FollowerSession | None:
    """The session, where it is a follower's and a follower asks."""
    return opened.session if isinstance(opened.session, FollowerSession) and payload.replica_id >= 0 else None


def is_idle(partition: Partition, want: Wanted, payload: Any, monotonic_ms: int) -> bool:
    """Whether a follower in sync has all there is and knows all there is to be told: most partitions, most of the
    time. That it has asked is noted, at `monotonic_ms` if that is not negative."""
    leader, log = partition.leader, partition.log
    if leader is None or want.fetch_offset != log.log_end_offset or want.current_leader_epoch != leader.epoch:
        return False
    if want.told_high_watermark != log.high_watermark or want.told_log_start != log.log_start_offset:
        return False
    replica_id = payload.replica_id
    if replica_id not in leader.isr_state.isr or leader.remote_end_offsets.get(replica_id) != want.fetch_offset:
        return False
    state = leader.followers[replica_id]
    if state.broker_epoch != payload.replica_epoch or state.log_start_offset != want.log_start_offset:
        return False
    # Not the epoch of its last record, which is an earlier one, or none, until something is appended in this one.
    if want.agreed_epoch != log.latest_epoch or want.topic_id != log.topic_id or log.log_dir.failure is not None:
        return False
    if monotonic_ms >= 0:
        state.asked_for_end(monotonic_ms)
    return True


class Chooser:
    """Sends consumers to a replica in their own rack, as `replica.selector.class` says."""

    __slots__ = ("_rack", "_racks", "_select")

    def __init__(self, select: Any, rack: str, racks: dict[int, str | None]) -> None:
        self._select = select
        self._rack = rack
        self._racks = racks

    @classmethod
    def of(cls, context: Context, request: Request, payload: Any) -> "Chooser | None":
        """None where nobody is sent anywhere."""
        name = context.config.replica_selector_class
        select = None if name is None else SELECTORS[name]
        if select is None or request.api_version < ANY_REPLICA_FROM or not payload.rack_id:
            return None
        listener = request.connection.listener_name
        brokers = context.topics.image.brokers.values()
        racks = {each.id: each.rack for each in brokers if each.endpoint_of(listener) is not None}
        return cls(select, payload.rack_id, racks)

    def sent_elsewhere(self, context: Context, want: Wanted) -> Result | None:
        """The answer that names another replica; None where the partition is read here."""
        topic = want.topic = want.topic or context.topics.name_of(want.topic_id)
        partition = context.replicas.partitions.get((topic or "", want.partition))
        if partition is None or partition.leader is None:
            return None
        replica = self._select(partition.leader, self._rack, want.fetch_offset, self._racks)
        if replica is None:
            return None
        partition.check_epoch(want.current_leader_epoch)
        log = partition.log
        return (
            want.partition, 0, log.high_watermark, log.last_stable_offset, log.log_start_offset,
            None, replica, b"", None, None, None,
        )  # fmt: skip


def is_throttled(context: Context, partition: Partition, replica_id: int) -> bool:
    """Whether a follower gets nothing now, because replicas that are moved have had enough (KIP-73)."""
    throttled = partition.log.config.leader_replication_throttled_replicas
    if not throttled or partition.leader is None or replica_id in partition.leader.isr:
        return False
    quotas = context.replicas.quotas
    quotas.leader.rate = context.config.leader_replication_throttled_rate
    return quotas.leader_throttles(partition.topic_partition, throttled, context.clock.monotonic_ms())


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
    replica_id = payload.replica_id
    leader_only = replica_id >= 0 or version < ANY_REPLICA_FROM
    if replica_id >= 0:
        partition.leader_for(want.current_leader_epoch).check_replica(
            replica_id, payload.replica_epoch, current_leader_epoch=want.current_leader_epoch
        )
    if want.last_fetched_epoch >= 0:
        diverging = partition.diverging_epoch(
            want.fetch_offset,
            want.last_fetched_epoch,
            current_leader_epoch=want.current_leader_epoch,
            leader_only=leader_only,
        )
        if diverging is not None:
            return (
                want.partition, 0, log.high_watermark, log.last_stable_offset, log.log_start_offset,
                None, -1, b"", diverging, None, None,
            )  # fmt: skip
    want.agreed_epoch = log.latest_epoch
    # Who does not say in which epoch of the leader and of its own it asks may ask from an earlier life: what it holds
    # does not count. Followers of 3.9 say both.
    counts = is_first and want.current_leader_epoch >= 0 and payload.replica_epoch >= 0
    if replica_id >= 0 and counts and log.log_start_offset <= want.fetch_offset <= log.log_end_offset:
        context.deliver(
            partition.fetched_by(
                replica_id,
                want.fetch_offset,
                log_start_offset=want.log_start_offset,
                leader_end=log.log_end_offset,
                broker_epoch=payload.replica_epoch,
                monotonic_ms=context.clock.monotonic_ms(),
            )
        )
    # The bounds are taken before the read, so that what is told never runs ahead of what was read (rule 19); and after
    # what the follower has told of itself, which may just have committed what it will read of next.
    high_watermark, last_stable_offset = log.high_watermark, log.last_stable_offset
    try:
        data = partition.read(
            want.fetch_offset,
            max_bytes=max_bytes,
            isolation_level=isolation_level,
            min_one_message=min_one_message,
            current_leader_epoch=want.current_leader_epoch,
            wait=wait,
            replica_id=replica_id,
            leader_only=leader_only,
        )
    except OffsetOutOfRangeError as error:
        if replica_id < 0 and want.fetch_offset > log.log_end_offset:
            refuse_if_replaced(context, partition, error)
        raise
    # From version 3 on a first batch that does not fit does not come, rather than come torn.
    records = b"" if data.first_entry_incomplete else data.records
    if replica_id >= 0 and is_throttled(context, partition, replica_id):
        records = b""
    aborted = None
    if data.aborted_transactions is not None and not data.first_entry_incomplete:
        aborted = [(each.producer_id, each.first_offset) for each in data.aborted_transactions]
    return (
        want.partition, 0, high_watermark, last_stable_offset, log.log_start_offset,
        aborted, -1, records, None, None, None,
    )  # fmt: skip


def refuse_if_replaced(context: Context, partition: Partition, error: OffsetOutOfRangeError) -> None:
    """Raises NotLeaderOrFollowerError where the leader may have been replaced and not have heard of it: the reader may
    have got beyond its end with the next one. Who is told that its offset is out of range begins anew elsewhere, and a
    client that does not compare leader epochs (KIP-320) has nothing to know better by."""
    # A follower that has nothing to fetch asks after its wait, and is noted at the look at all that comes next.
    fetch_ms = context.config.replica_fetch_wait_max_ms + LOOK_AT_ALL_MS
    earliest_ms = context.clock.monotonic_ms() - 2 * fetch_ms - FETCH_SLACK_MS
    if partition.leader is not None and not partition.leader.is_followed(earliest_ms):
        raise NotLeaderOrFollowerError(f"{error}, and no replica in sync has fetched lately") from error


def wait_for_bytes(
    context: Context, request: Request, payload: Any, opened: Opened, reading: Reading, max_wait_ms: int
) -> None:
    """Waits until `min_bytes` can be read or `max_wait_ms` are over, then reads once more."""
    session = followers_session(opened, payload)
    found: dict[TopicPartition, int] = {}
    wants: dict[TopicPartition, Wanted] = {}
    for key, want, result in reading.results:
        topic_partition = TopicPartition(want.topic or "", want.partition)
        records = result[7]
        found[topic_partition] = len(records) if type(records) is bytes else records.size
        wants[topic_partition] = want
        if session is not None:
            session.watch(key, want)

    def available(topic_partition: TopicPartition) -> int:
        partition = context.replicas.partitions.get(topic_partition)
        want = wants[topic_partition] if session is None else session.want_of(topic_partition)
        if partition is None or (payload.replica_id >= 0 and is_throttled(context, partition, payload.replica_id)):
            return 0
        log = partition.log
        if (log.log_end_offset if payload.replica_id >= 0 else log.high_watermark) <= want.fetch_offset:
            return 0
        if payload.replica_id >= 0 and payload.min_bytes <= 1:
            return 1  # it is enough, and need not be read twice
        try:
            records: Any = partition.read(
                want.fetch_offset,
                max_bytes=want.max_bytes,
                isolation_level=payload.isolation_level,
                min_one_message=True,
                current_leader_epoch=want.current_leader_epoch,
                wait=False,
                replica_id=payload.replica_id,
                leader_only=payload.replica_id >= 0 or request.api_version < ANY_REPLICA_FROM,
            ).records
        except NotCachedError:
            # There is something, and it takes a thread to find it.
            return int(payload.min_bytes)
        except KafkaError:
            # The answer tells of it, so it is time to answer.
            return int(payload.min_bytes)
        return len(records) if type(records) is bytes else int(records.size)

    def answer() -> object:
        again = read_all(context, request, payload, opened, version=request.api_version)
        if again.cold:
            run_for(context, request, answer_cold(context, request, payload, opened, again, deadline_ms=0))
            return PENDING
        return respond(context, request, payload, opened, again, context.clock.monotonic_ms())

    complete = completion(request, answer)
    waiting = FetchWaiting(found, complete, needed=payload.min_bytes, available=available, session=session)
    context.deliver.fetches.watch(waiting, timeout_ms=max_wait_ms)
    request.on_gone = lambda: context.deliver.fetches.forget(waiting)


def respond(
    context: Context, request: Request, payload: Any, opened: Opened, reading: Reading, monotonic_ms: int
) -> object:
    """The answer; in a session only the partitions that have news."""
    version = request.api_version
    uses_topic_ids = version >= TOPIC_IDS_FROM
    session = opened.session
    session_id = NO_SESSION
    if session is not None:
        session_id = session.id
    elif opened.may_found:
        session_id = context.fetch_sessions.found(
            opened.wanted,
            uses_topic_ids=uses_topic_ids,
            replica=(payload.replica_id, payload.replica_epoch) if payload.replica_id >= 0 else NO_REPLICA,
            monotonic_ms=monotonic_ms,
        )

    hints: LeaderHints | None = None
    topics: dict[str | bytes | None, tuple[str | None, bytes | None, list[Result]]] = {}
    for key, want, result in reading.results:
        records = result[7]
        has_records = type(records) is not bytes or bool(records)
        if session_id != NO_SESSION:
            news = want.has_news(
                error_code=result[1],
                diverges=result[8] is not None,
                high_watermark=result[2],
                log_start_offset=result[4],
                told_anyway=has_records or result[6] >= 0,
            )
            if session is not None:
                if not news:
                    continue
                if has_records:
                    session.moved_to_end(key)
        size = len(records) if type(records) is bytes else records.size
        if payload.replica_id >= 0:
            sent_to_follower(context, want, size, monotonic_ms)
        elif result[1] == 0 or (want.topic, want.partition) in context.replicas.partitions:
            counted = context.traffic[want.topic or ""]
            counted.fetches += 1
            counted.failed_fetches += result[1] != 0
            counted.bytes_out += size
        if result[1] and version >= HINTS_FROM and is_hinted(result[1]):
            hints = hints or LeaderHints(context, request)
            result = (*result[:9], hints.of(want.topic, want.partition), None)
        entry = topics.get(key[0])
        if entry is None:
            entry = topics[key[0]] = (want.topic, want.topic_id, [])
        entry[2].append(result)
    endpoints = list(hints.endpoints.values()) if hints is not None else ()
    return encode_fetch_response(request.correlation_id, version, 0, 0, session_id, list(topics.values()), endpoints)


def sent_to_follower(context: Context, want: Wanted, size: int, monotonic_ms: int) -> None:
    """What is replicated counts as such, and to the rate of the replicas that are moved."""
    context.replicas.bytes_out += size
    partition = context.replicas.partitions.get((want.topic or "", want.partition))
    throttled = () if partition is None else partition.log.config.leader_replication_throttled_replicas
    if throttled and is_listed(throttled, want.partition, context.node_id):
        context.replicas.quotas.leader.record(size, monotonic_ms)
