"""Produce

API 0, versions 3-11 (0-2 are advertised for librdkafka's sake and refused, KAFKA-18659)
KIP-467 per-record errors, KIP-951 leader hints
Kafka: KafkaApis.handleProduceRequest, ReplicaManager.appendRecords, ProduceRequest.json
"""

from collections.abc import Sequence
from typing import NamedTuple

from kstore._native.batch import ZSTD
from kstore._native.connection import PENDING, Request
from kstore._native.hot_messages import ProducePayload, decode_produce, encode_produce_response
from kstore.cluster.topic_names import INTERNAL_TOPICS
from kstore.errors import (
    CorruptRecordError,
    InvalidProduceError,
    InvalidRequiredAcksError,
    InvalidTopicError,
    KafkaError,
    KafkaStorageError,
    MessageTooLargeError,
    NotEnoughReplicasAfterAppendError,
    NotLeaderOrFollowerError,
    RecordListTooLargeError,
    RequestTimedOutError,
    TransactionalIdAuthorizationError,
    UnknownTopicOrPartitionError,
    UnsupportedCompressionTypeError,
)
from kstore.log.append import single_batch
from kstore.model import TopicPartition
from kstore.replica.partition import Partition
from kstore.server.context import Context
from kstore.server.leader_hints import PRODUCE_FROM as HINTS_FROM
from kstore.server.leader_hints import LeaderHints, is_hinted
from kstore.server.purgatory import Waiting
from kstore.server.respond import completion, run_for

ZSTD_FROM = 7

# The low byte of a batch's attributes, and what may be in it (DefaultRecordBatch.java).
ATTRIBUTES = 22
TRANSACTIONAL = 0x10
CODEC = 0x07

# With these Kafka does not say where the log starts (ReplicaManager.appendToLocalLog).
TELL_NO_START = (
    CorruptRecordError,
    InvalidProduceError,
    InvalidTopicError,
    KafkaStorageError,
    MessageTooLargeError,
    NotLeaderOrFollowerError,
    RecordListTooLargeError,
    TransactionalIdAuthorizationError,
    UnknownTopicOrPartitionError,
    UnsupportedCompressionTypeError,
)

# Who names itself so may write to internal topics (AdminUtils.ADMIN_CLIENT_ID).
ADMIN_CLIENT = "__admin_client"

# (partition, error code, base offset, log append time, log start offset, record errors, error message, leader
# hint)
Result = tuple[int, int, int, int, int, Sequence[tuple[int, str]] | None, str | None, tuple[int, int] | None]
Topics = list[tuple[str, list[Result]]]


class Appended(NamedTuple):
    """What a partition has to commit before the answer, and since which epoch this broker has led when it was
    appended: as long as it leads on, in whichever epoch, the append stands (rule 30)."""

    end_offset: int
    since_epoch: int


def handle(context: Context, request: Request) -> object:
    payload = decode_produce(request.buffer, request.position, request.limit, request.api_version)
    acks = payload.acks
    if not -1 <= acks <= 1 or payload.transactional_id is not None or is_forgotten(context, acks):
        return refuse_all(context, request, payload)

    now_ms = context.clock.now_ms()
    partitions = context.replicas.partitions
    deliver = context.deliver
    traffic = context.traffic
    buffer = request.buffer
    suspicious = TRANSACTIONAL if request.api_version >= ZSTD_FROM else TRANSACTIONAL | ZSTD
    failed = False
    required: dict[TopicPartition, Appended] = {}
    unflushed: dict[Partition, int] = {}
    topics: Topics = []
    for topic, indexes in payload.topics:
        results: list[Result] = []
        is_closed = topic in INTERNAL_TOPICS and request.client_id != ADMIN_CLIENT
        for index, position, size in indexes:
            partition = partitions.get((topic, index))
            try:
                if partition is None:
                    raise context.replicas.missing(topic, index)
                if is_closed:
                    raise InvalidTopicError(f"{topic!r} is internal, clients do not write to it")
                if size > ATTRIBUTES and buffer[position + ATTRIBUTES] & suspicious:
                    check_attributes(buffer[position + ATTRIBUTES], request.api_version)
                info, effects = partition.append_as_leader(buffer, position, size, required_acks=acks, now_ms=now_ms)
                if effects:
                    deliver(effects)
                results.append(
                    (
                        index,
                        0,
                        info.first_offset,
                        info.log_append_time,
                        info.log_start_offset,
                        None,
                        None,
                        None,
                    )
                )
                if not info.is_duplicate:
                    counted = traffic[topic]
                    counted.produces += 1
                    counted.messages_in += info.record_count
                    counted.bytes_in += info.size_in_bytes
                if acks == -1 and partition.log.high_watermark <= info.last_offset:
                    assert partition.leader is not None
                    required[partition.topic_partition] = Appended(info.last_offset + 1, partition.leader.since_epoch)
                if partition.log.must_flush:
                    unflushed[partition] = info.last_offset + 1
            except KafkaError as error:
                failed = True
                if partition is not None:
                    traffic[topic].produces += 1
                    traffic[topic].failed_produces += 1
                if partition is None or isinstance(error, TELL_NO_START):
                    results.append(refused(index, error))
                else:
                    results.append(refused(index, error, partition.log.log_start_offset))
        topics.append((topic, results))

    if unflushed:
        run_for(context, request, flush_then_answer(context, request, payload, topics, required, unflushed))
    if acks == 0:
        # A client that expects no answer learns of a failure by losing its connection (KafkaApis.scala).
        if failed:
            request.connection.close("a produce with acks=0 was refused")
        return None
    if unflushed:
        return PENDING
    if required:
        wait_for_commit(context, request, topics, required, payload.timeout_ms, is_new=True)
        return PENDING
    if failed:
        return respond(context, request, topics)
    return encode_produce_response(request.correlation_id, request.api_version, topics, 0)


def respond(context: Context, request: Request, topics: Topics) -> bytes:
    """The answer, with the leaders of what was refused because this broker does not lead it."""
    refused_here = any(result[1] == NotLeaderOrFollowerError.code for _, results in topics for result in results)
    if not refused_here or request.api_version < HINTS_FROM:
        return encode_produce_response(request.correlation_id, request.api_version, topics, 0)
    hints = LeaderHints(context, request)
    hinted = [
        (topic, [(*each[:7], hints.of(topic, each[0])) if is_hinted(each[1]) else each for each in results])
        for topic, results in topics
    ]
    endpoints = list(hints.endpoints.values())
    return encode_produce_response(request.correlation_id, request.api_version, hinted, 0, endpoints)


def check_attributes(attributes: int, version: int) -> None:
    """Raises what refuses a transactional batch, or one that the version has no codec for (KIP-110)."""
    if attributes & TRANSACTIONAL:
        raise TransactionalIdAuthorizationError("this broker has no transactions yet")
    if attributes & CODEC == ZSTD and version < ZSTD_FROM:
        raise UnsupportedCompressionTypeError(f"version {version} of Produce knows no zstd")


async def flush_then_answer(
    context: Context,
    request: Request,
    payload: ProducePayload,
    topics: Topics,
    required: dict[TopicPartition, Appended],
    unflushed: dict[Partition, int],
) -> None:
    """`flush.messages` asks for what was appended to be on the disk before it is acknowledged."""
    lost: dict[TopicPartition, KafkaError] = {}
    for partition, end_offset in unflushed.items():
        try:
            await context.flusher.flushed(partition, end_offset)
        except KafkaError as error:
            lost[partition.topic_partition] = error
            required.pop(partition.topic_partition, None)
    if payload.acks == 0:
        if lost:
            request.connection.close("a produce with acks=0 was not flushed")
        return
    answered: Topics = [
        (
            topic,
            [
                refused(result[0], lost[key])
                if (key := TopicPartition(topic, result[0])) in lost and result[1] == 0
                else result
                for result in results
            ],
        )
        for topic, results in topics
    ]
    if required:
        wait_for_commit(context, request, answered, required, payload.timeout_ms)
    else:
        request.complete(respond(context, request, answered))


def is_forgotten(context: Context, acks: int) -> bool:
    """After its session has expired a broker does not know whether it leads still, and promises nothing alone. With
    acks=all the followers decide (rule 49)."""
    return acks != -1 and context.cluster is not None and not context.cluster.is_confirmed


def refuse_all(context: Context, request: Request, payload: ProducePayload) -> object:
    """Nothing is appended; what is wrong with a partition of its own is said before what is wrong with all."""
    topics = [
        (topic, [refused(place[0], refusal(context, request, payload, topic, *place)) for place in indexes])
        for topic, indexes in payload.topics
    ]
    if payload.acks == 0:
        request.connection.close("a produce with acks=0 was refused")
        return None
    return respond(context, request, topics)


def refusal(
    context: Context, request: Request, payload: ProducePayload, topic: str, index: int, position: int, size: int
) -> KafkaError:
    if payload.transactional_id is not None:
        return TransactionalIdAuthorizationError("this broker has no transactions yet")
    if (topic, index) not in context.replicas.partitions:
        return context.replicas.missing(topic, index)
    if is_forgotten(context, payload.acks):
        return NotLeaderOrFollowerError("the session with ZooKeeper is over: another broker may lead by now")
    try:
        single_batch(request.buffer, position, size)
        if size > ATTRIBUTES:
            check_attributes(request.buffer[position + ATTRIBUTES], request.api_version)
    except KafkaError as error:
        return error
    return InvalidRequiredAcksError(f"acks is {payload.acks}, not -1, 0 or 1")


def refused(index: int, error: KafkaError, log_start_offset: int = -1) -> Result:
    errors = getattr(error, "record_errors", None)
    return (index, error.code, -1, -1, log_start_offset, errors, str(error) or None, None)


def wait_for_commit(
    context: Context,
    request: Request,
    topics: Topics,
    required: dict[TopicPartition, Appended],
    timeout_ms: int,
    *,
    is_new: bool = False,
) -> None:
    """Answers when every partition's high watermark has passed what was appended to it (rules 29, 30). What `is_new`
    was appended in this turn, and cannot have been decided on since."""

    def outcome(topic: str, result: Result) -> Result:
        key = TopicPartition(topic, result[0])
        if result[1] != 0 or key not in required:
            return result
        try:
            check_committed(context, key, required[key])
        except KafkaError as error:
            return refused(result[0], error)
        return result

    def answer() -> object:
        outcomes = [(topic, [outcome(topic, result) for result in results]) for topic, results in topics]
        return respond(context, request, outcomes)

    # While a flush went on, some of it may have come already, and gives no more news.
    waits = {
        key: appended.end_offset for key, appended in required.items() if is_new or is_awaited(context, key, appended)
    }
    if not waits:
        request.complete(answer())
        return
    waiting = Waiting(waits, completion(request, answer))
    context.deliver.produces.watch(waiting, timeout_ms=max(timeout_ms, 0))
    request.on_gone = lambda: context.deliver.produces.forget(waiting)


def is_awaited(context: Context, key: TopicPartition, appended: Appended) -> bool:
    """Whether time can still bring the commit of `appended`."""
    try:
        check_committed(context, key, appended)
    except RequestTimedOutError:
        return True
    except KafkaError:
        return False
    return False


def check_committed(context: Context, key: TopicPartition, appended: Appended) -> None:
    """Raises the KafkaError that a producer with acks=all is answered with if it has to be answered now."""
    partition = context.replicas.get(*key)
    leader = partition.leader
    if leader is None or leader.since_epoch != appended.since_epoch:
        raise NotLeaderOrFollowerError(f"{key} has had another leader since the append")
    if partition.log.high_watermark < appended.end_offset:
        raise RequestTimedOutError(f"{key} is not committed up to {appended.end_offset}")
    if not leader.has_min_maximal_isr():
        raise NotEnoughReplicasAfterAppendError(f"{key} lost in-sync replicas after the append")
