"""Produce against a live broker."""

import struct
import threading
from types import SimpleNamespace

import pytest

from kstore._native.batch import RecordBatch
from kstore._native.checksum import crc32c
from kstore.clock import ManualClock
from kstore.log.flush import FlushJob
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from kstore.protocol.messages.init_producer_id import InitProducerIdRequest
from kstore.protocol.messages.produce import ProduceRequest
from tests.fix_broker import batch, fetch_request, frame, produce_request, records_in

NONE, CORRUPT, UNKNOWN_TOPIC, TIMED_OUT, TOO_LARGE, TOO_LONG = 0, 2, 3, 7, 10, 18
NOT_ENOUGH_REPLICAS, INVALID_ACKS, INVALID_TIMESTAMP, NOT_LEADER, INVALID_TOPIC = 19, 21, 32, 6, 17
NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
OUT_OF_ORDER, INVALID_EPOCH, NO_TRANSACTION, INVALID_RECORD = 45, 47, 53, 87
VERSIONS = range(3, 12)
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}

# Fields of a batch's header, for those that lie (DefaultRecordBatch.java).
BASE_OFFSET, LENGTH, MAGIC, CRC, ATTRIBUTES = 0, 8, 16, 17, 21
LAST_OFFSET_DELTA, MAX_TIMESTAMP, COUNT = 23, 35, 57


def lying(data, position, fmt, value):
    """`data` with one field changed and the CRC made right."""
    changed = bytearray(data)
    struct.pack_into(fmt, changed, position, value)
    if position >= ATTRIBUTES:
        struct.pack_into(">I", changed, CRC, crc32c(bytes(changed[ATTRIBUTES:])))
    return bytes(changed)


@pytest.mark.parametrize("version", VERSIONS)
def test_records_are_stored_in_every_version(client, version):
    topic = f"stored.{version}"
    client.create_topic(topic)
    for first in (0, 2):
        result = client.produce(topic, batch(b"a", b"b"), version=version)
        assert (result.index, result.error_code, result.base_offset) == (0, NONE, first)
        if version >= 5:
            assert result.log_start_offset == 0
        if version >= 2:
            assert result.log_append_time_ms == -1
    assert client.values(topic) == [b"a", b"b"] * 2


@pytest.mark.parametrize("acks", [1, -1])
def test_an_acknowledged_record_is_there(client, acks):
    topic = f"acks.{acks}"
    client.create_topic(topic)
    assert client.produce(topic, batch(b"x"), acks=acks).error_code == NONE
    assert client.values(topic) == [b"x"]


def test_who_wants_no_acknowledgement_gets_none(client):
    client.create_topic("acks.0")
    client.send(produce_request({("acks.0", 0): batch(b"x")}, acks=0), 9, answered=False)
    # The next answer is that of the next request.
    assert client.produce("acks.0", batch(b"y")).base_offset == 1


@pytest.mark.parametrize(
    "request_",
    [
        produce_request({("nobody", 0): batch(b"x")}, acks=0),
        produce_request({("acks.0.fails", 0): b"garbage"}, acks=0),
        produce_request({("acks.0.fails", 0): batch(b"x")}, acks=0, transactional_id="t"),
    ],
    ids=["unknown topic", "no batch", "transaction"],
)
def test_a_failure_that_cannot_be_answered_closes_the_connection(broker, request_):
    with broker.connect() as client:
        client.send(request_, 9, answered=False)
        assert client.is_closed_by_the_broker()


@pytest.mark.parametrize("acks", [2, -2, 32767, -32768])
def test_other_acks_are_refused(client, acks):
    topic = f"other.acks.{acks}"
    client.create_topic(topic)
    result = client.produce(topic, batch(b"x"), acks=acks)
    assert (result.error_code, result.base_offset) == (INVALID_ACKS, -1)
    assert client.values(topic) == []


def test_each_partition_has_its_own_outcome(client):
    client.create_topic("several", 3)
    client.create_topic("other")
    records = {
        ("several", 2): batch(b"c"),
        ("several", 0): b"garbage" * 20,
        ("nobody", 0): batch(b"x"),
        ("several", 7): batch(b"x"),
        ("several", -1): batch(b"x"),
        ("other", 0): batch(b"o"),
    }
    answer = client.ask(produce_request(records), 9)
    codes = {
        (topic.name, part.index): part.error_code for topic in answer.responses for part in topic.partition_responses
    }
    assert list(codes) == [
        ("several", 2), ("several", 0), ("several", 7), ("several", -1), ("nobody", 0), ("other", 0),
    ]  # fmt: skip
    assert codes["several", 0] in (CORRUPT, INVALID_RECORD)
    assert {key for key, code in codes.items() if code == NONE} == {("several", 2), ("other", 0)}
    assert codes["nobody", 0] == codes["several", 7] == codes["several", -1] == UNKNOWN_TOPIC
    assert client.values("several", partition=2) == [b"c"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_refusal_is_told_in_every_version(client, version):
    result = client.produce("nobody", batch(b"x"), version=version)
    assert (result.error_code, result.base_offset) == (UNKNOWN_TOPIC, -1)
    if version >= 8:
        assert "nobody" in result.error_message


def test_a_produce_makes_no_topic(broker, client):
    client.produce("nobody", batch(b"x"))
    assert "nobody" not in broker.call(lambda app: app.context.topics.image.topics)


# What a batch must be


GOOD = batch(b"one", b"two")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (None, INVALID_RECORD),
        (b"", INVALID_RECORD),
        (GOOD + GOOD, INVALID_RECORD),
        (GOOD[:-1], INVALID_RECORD),
        (GOOD[:40], INVALID_RECORD),
        (GOOD[:5], INVALID_RECORD),
        (GOOD[:-1] + b"\xff", CORRUPT),
        (lying(GOOD, LENGTH, ">i", 0), CORRUPT),
        (lying(GOOD, LENGTH, ">i", -1), CORRUPT),
        (lying(GOOD, LENGTH, ">i", 2**31 - 1), INVALID_RECORD),
        (lying(GOOD, MAGIC, "b", 0), INVALID_RECORD),
        (lying(GOOD, MAGIC, "b", 1), INVALID_RECORD),
        (lying(GOOD, BASE_OFFSET, ">q", 1), INVALID_RECORD),
        (lying(GOOD, COUNT, ">i", 3), INVALID_RECORD),
        (lying(GOOD, COUNT, ">i", 0), INVALID_RECORD),
        (lying(GOOD, COUNT, ">i", -1), INVALID_RECORD),
        (lying(GOOD, LAST_OFFSET_DELTA, ">i", 7), INVALID_RECORD),
        (lying(GOOD, LAST_OFFSET_DELTA, ">i", -1), INVALID_RECORD),
        (lying(GOOD, ATTRIBUTES, ">h", 0x20), INVALID_RECORD),
        (batch(b"x", producer_id=5, producer_epoch=0, base_sequence=-1), INVALID_RECORD),
    ],
    ids=[
        "null", "empty", "two batches", "cut", "cut in the header", "cut before the length", "flipped byte",
        "no length", "negative length", "huge length", "magic 0", "magic 1", "base offset", "count too high",
        "count zero", "count negative", "offsets too far", "offsets negative", "control", "no sequence",
    ],
)  # fmt: skip
def test_a_bad_batch_is_refused_and_not_stored(client, broker, request, data, code):
    topic = f"bad.{abs(hash(request.node.name))}"
    client.create_topic(topic)
    result = client.produce(topic, data)
    assert (result.error_code, result.base_offset) == (code, -1)
    assert result.error_message
    assert client.values(topic) == []
    assert client.produce(topic, GOOD).base_offset == 0
    assert broker.call(lambda app: app.context.replicas.get(topic, 0).log.size_in_bytes) == len(GOOD)


def test_magic_3_is_refused(client):
    client.create_topic("magic.3")
    assert client.produce("magic.3", lying(GOOD, MAGIC, "b", 3)).error_code in (CORRUPT, INVALID_RECORD)
    assert client.values("magic.3") == []


def test_a_torn_second_batch_is_left_out(client):
    client.create_topic("torn")
    assert client.produce("torn", GOOD + GOOD[:30]).error_code == NONE
    assert client.values("torn") == [b"one", b"two"]


def test_a_compacted_topic_needs_keys_and_names_the_records_that_have_none(client):
    client.create_topic("compacted", cleanup_policy="compact")
    result = client.produce("compacted", batch(b"a", b"b", key=None))
    assert result.error_code == INVALID_RECORD
    assert [error.batch_index for error in result.record_errors] == [0, 1]
    assert all(error.batch_index_error_message for error in result.record_errors)
    assert client.produce("compacted", batch(b"a", key=b"k")).error_code == NONE


def test_a_batch_has_a_most_of_bytes(client):
    client.create_topic("small.batches", max_message_bytes="200")
    assert client.produce("small.batches", batch(b"x" * 300)).error_code == TOO_LARGE
    assert client.produce("small.batches", batch(b"x" * 50)).error_code == NONE


def test_a_batch_fits_into_a_segment(client):
    client.create_topic("small.segments", segment_bytes="300")
    assert client.produce("small.segments", batch(b"x" * 400)).error_code == TOO_LONG
    assert client.produce("small.segments", batch(b"x" * 50)).error_code == NONE


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("version", [7, 11])
def test_every_codec_is_stored_as_it_came(client, codec, version):
    topic = f"codec.{codec}.{version}"
    client.create_topic(topic)
    data = batch(b"x" * 500, b"y" * 500, compression=CODECS[codec])
    assert client.produce(topic, data, version=version).error_code == NONE
    stored = client.fetch(topic, 0).records
    assert RecordBatch(stored).compression == CODECS[codec]
    assert stored[61:] == data[61:]
    assert client.values(topic) == [b"x" * 500, b"y" * 500]


def test_zstd_needs_version_7(client):
    client.create_topic("early.zstd")
    result = client.produce("early.zstd", batch(b"x", compression=4), version=6)
    assert result.error_code == 76
    assert client.values("early.zstd") == []


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd", "uncompressed"])
def test_a_topics_own_codec_takes_the_place_of_the_producers(client, codec):
    topic = f"own.codec.{codec}"
    client.create_topic(topic, compression_type=codec)
    client.produce(topic, batch(b"x" * 1000, compression=0 if codec == "gzip" else 1))
    stored = client.fetch(topic, 0).records
    assert RecordBatch(stored).compression == CODECS.get(codec, 0)
    assert client.values(topic) == [b"x" * 1000]


def test_an_unknown_codec_is_refused(client):
    client.create_topic("codec.5")
    result = client.produce("codec.5", lying(GOOD, ATTRIBUTES, ">h", 5))
    assert result.error_code in (CORRUPT, INVALID_RECORD, 76)
    assert client.values("codec.5") == []


# Timestamps


def test_log_append_time_is_the_brokers_and_is_told(start_broker):
    client = start_broker(clock=ManualClock(5_000_000)).connect()
    client.create_topic("append.time", message_timestamp_type="LogAppendTime")
    result = client.produce("append.time", batch(b"a", b"b", timestamp=1))
    assert (result.error_code, result.log_append_time_ms) == (NONE, 5_000_000)
    records = list(records_in(client.fetch("append.time", 0).records))
    assert [record.timestamp for record in records] == [5_000_000, 5_000_000]


@pytest.mark.parametrize(
    ("timestamp", "code"), [(899, INVALID_TIMESTAMP), (900, NONE), (1200, NONE), (1201, INVALID_TIMESTAMP)]
)
def test_timestamps_lie_within_the_topics_bounds(start_broker, timestamp, code):
    client = start_broker(clock=ManualClock(1000)).connect()
    client.create_topic("bounds", message_timestamp_before_max_ms="100", message_timestamp_after_max_ms="200")
    result = client.produce("bounds", batch(b"x", timestamp=timestamp))
    assert result.error_code == code
    assert [error.batch_index for error in result.record_errors] == ([0] if code else [])


def test_the_flag_of_append_time_is_not_the_producers_to_set(client):
    client.create_topic("create.time")
    data = batch(b"x", timestamp=5, timestamp_type=1, log_append_time=7)
    assert client.produce("create.time", lying(data, MAX_TIMESTAMP, ">q", -1)).error_code == INVALID_TIMESTAMP
    client.create_topic("append.time.flag", message_timestamp_type="LogAppendTime")
    assert client.produce("append.time.flag", data).error_code == INVALID_TIMESTAMP


# Idempotent producers


def producer(client):
    answer = client.ask(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=0), 4)
    assert answer.error_code == NONE
    return answer.producer_id


def test_a_batch_that_comes_again_is_stored_once(client):
    client.create_topic("again")
    mine = producer(client)
    data = batch(b"a", b"b", producer_id=mine, producer_epoch=0, base_sequence=0)
    assert [client.produce("again", data).base_offset for _ in range(3)] == [0, 0, 0]
    assert client.values("again") == [b"a", b"b"]


def test_a_gap_in_the_sequence_is_refused(client):
    client.create_topic("gap")
    mine = producer(client)
    client.produce("gap", batch(b"a", producer_id=mine, producer_epoch=0, base_sequence=0))
    result = client.produce("gap", batch(b"c", producer_id=mine, producer_epoch=0, base_sequence=2))
    assert result.error_code == OUT_OF_ORDER
    assert client.values("gap") == [b"a"]


def test_an_old_epoch_is_refused(client):
    client.create_topic("old.epoch")
    mine = producer(client)
    client.produce("old.epoch", batch(b"a", producer_id=mine, producer_epoch=1, base_sequence=0))
    result = client.produce("old.epoch", batch(b"b", producer_id=mine, producer_epoch=0, base_sequence=1))
    assert result.error_code == INVALID_EPOCH


# Transactions are not there yet


def test_transactions_are_refused(client):
    client.create_topic("transactions")
    answer = client.ask(produce_request({("transactions", 0): GOOD}, transactional_id="mine"), 9)
    assert answer.responses[0].partition_responses[0].error_code == NO_TRANSACTION
    mine = producer(client)
    data = batch(b"x", producer_id=mine, producer_epoch=0, base_sequence=0, is_transactional=True)
    assert client.produce("transactions", data).error_code == NO_TRANSACTION
    assert client.values("transactions") == []


# Waiting for other replicas


def with_follower(broker, topic, *, isr=(1, 2)):
    """Has the partition believe in a second replica, as replication will."""

    def change(app):
        leader = app.context.replicas.get(topic, 0).leader
        leader.replicas, leader.isr, leader.remote_end_offsets = (1, 2), frozenset(isr), {2: -1}

    broker.call(change)


def follower_fetches(broker, topic, offset):
    def advance(app):
        leader = app.context.replicas.get(topic, 0).leader
        leader.remote_end_offsets[2] = offset
        app.context.deliver(leader.advance())
        app.context.deliver.turn_ended()

    broker.call(advance)


def test_acks_all_waits_for_the_high_watermark_and_holds_up_later_answers(broker, client):
    client.create_topic("waits")
    with_follower(broker, "waits")
    client.send(produce_request({("waits", 0): batch(b"a")}, acks=-1), 9)
    client.send(produce_request({("waits", 0): batch(b"b")}, acks=1), 9)
    broker.wait_for(lambda app: app.context.replicas.get("waits", 0).log.log_end_offset == 2)
    with broker.connect() as reader:
        assert reader.values("waits") == [], "what is not committed is not read"
        follower_fetches(broker, "waits", 2)
        answers = [client.receive().responses[0].partition_responses[0] for _ in range(2)]
        assert [(answer.error_code, answer.base_offset) for answer in answers] == [(NONE, 0), (NONE, 1)]
        assert reader.values("waits") == [b"a", b"b"]


def test_acks_all_ends_with_its_time_out(broker, client):
    client.create_topic("times.out")
    with_follower(broker, "times.out")
    answer = client.ask(produce_request({("times.out", 0): GOOD}, acks=-1, timeout_ms=50), 9)
    assert answer.responses[0].partition_responses[0].error_code == TIMED_OUT


def test_acks_all_waits_on_in_a_new_epoch_of_the_same_leader(broker, client):
    client.create_topic("new.epoch")
    with_follower(broker, "new.epoch")
    client.send(produce_request({("new.epoch", 0): GOOD}, acks=-1, timeout_ms=20_000), 9)
    broker.wait_for(lambda app: len(app.context.deliver.produces) == 1)

    def lead_on(app):
        partition = app.context.replicas.get("new.epoch", 0)
        leading = {"broker_id": 1, "replicas": (1, 2)}
        app.context.deliver(partition.become_leader(epoch=1, isr=frozenset({1, 2}), **leading))
        app.context.deliver.turn_ended()
        waiting = len(app.context.deliver.produces)
        # Alone in sync it has all that the producer waits for.
        app.context.deliver(partition.become_leader(epoch=2, isr=frozenset({1}), **leading))
        app.context.deliver.turn_ended()
        return waiting

    assert broker.call(lead_on) == 1
    assert client.receive().responses[0].partition_responses[0].error_code == NONE


def test_acks_all_hears_of_another_leader(broker, client):
    client.create_topic("new.leader")
    with_follower(broker, "new.leader")
    client.send(produce_request({("new.leader", 0): GOOD}, acks=-1, timeout_ms=20_000), 9)
    broker.wait_for(lambda app: len(app.context.deliver.produces) == 1)

    def follow(app):
        partition = app.context.replicas.get("new.leader", 0)
        ended = partition.become_follower(leader_id=2, epoch=1)
        # Back before the answer is made: what was waited for may be gone all the same (rule 30).
        began = partition.become_leader(broker_id=1, epoch=2, replicas=(1,), isr=frozenset({1}))
        app.context.deliver(ended + began)
        app.context.deliver.turn_ended()

    broker.call(follow)
    assert client.receive().responses[0].partition_responses[0].error_code == NOT_LEADER


def test_who_does_not_lead_says_who_does(broker, client):
    client.create_topic("led.elsewhere")

    def follow(app):
        partition = app.context.replicas.get("led.elsewhere", 0)
        app.context.deliver(partition.become_follower(leader_id=2, epoch=7))

    broker.call(follow)
    request = produce_request({("led.elsewhere", 0): GOOD}, acks=1)
    assert client.ask(request, 9).responses[0].partition_responses[0].error_code == NOT_LEADER
    answer = client.ask(request, 10).responses[0].partition_responses[0]
    assert (answer.error_code, answer.current_leader.leader_id, answer.current_leader.leader_epoch) == (
        NOT_LEADER,
        2,
        7,
    )


def test_too_few_replicas_in_sync_are_told_before_anything_is_stored(broker, client):
    client.create_topic("too.few", min_insync_replicas="2")
    with_follower(broker, "too.few", isr=(1,))
    assert client.produce("too.few", GOOD).error_code == NOT_ENOUGH_REPLICAS
    assert client.produce("too.few", GOOD, acks=1).base_offset == 0


def test_replicas_that_leave_before_the_answer_are_told_and_the_record_stays(broker, client):
    """Nobody has promised to keep it: it may be lost, or be read."""
    client.create_topic("too.few.by.now", min_insync_replicas="2")
    with_follower(broker, "too.few.by.now")
    client.send(produce_request({("too.few.by.now", 0): GOOD}, acks=-1, timeout_ms=20_000), 9)
    broker.wait_for(lambda app: len(app.context.deliver.produces) == 1)

    def shrink_as_it_is_committed(app):
        leader = app.context.replicas.get("too.few.by.now", 0).leader
        leader.remote_end_offsets[2] = leader.log.log_end_offset
        effects = leader.advance()
        leader.isr = frozenset({1})
        app.context.deliver(effects)
        app.context.deliver.turn_ended()

    broker.call(shrink_as_it_is_committed)
    assert client.receive().responses[0].partition_responses[0].error_code == NOT_ENOUGH_REPLICAS_AFTER_APPEND
    assert len(client.values("too.few.by.now")) > 0


def test_more_replicas_than_there_are_cannot_be_asked_for(client):
    client.create_topic("one.is.enough", min_insync_replicas="3")
    assert client.produce("one.is.enough", GOOD, acks=-1).error_code == NONE


# Flushes that an answer waits for


@pytest.fixture
def held_flush(monkeypatch):
    """Holds up the flushes of partitions called `held...` from the time that `begun` says to `release`."""
    begun, release = threading.Event(), threading.Event()
    run = FlushJob.run

    def wait_and_run(job):
        if "/held" in job.directory.path:
            begun.set()
            assert release.wait(30)
        run(job)

    monkeypatch.setattr(FlushJob, "run", wait_and_run)
    yield SimpleNamespace(begun=begun, release=release)
    release.set()


def test_a_partition_that_is_deleted_while_it_is_flushed_is_told(broker, client, held_flush):
    client.create_topic("held.deleted", flush_messages="1")
    client.send(produce_request({("held.deleted", 0): batch(b"x")}, acks=1), 9)
    assert held_flush.begun.wait(30)
    # The second waits for a flush of its own.
    client.send(produce_request({("held.deleted", 0): batch(b"x")}, acks=1), 9)
    broker.wait_for(lambda app: app.context.replicas.get("held.deleted", 0).log.log_end_offset == 2)
    with broker.connect() as other:
        other.ask(DeleteTopicsRequest(topic_names=["held.deleted"]), 5)
        other.create_topic("held.deleted")
    held_flush.release.set()
    codes = [client.receive().responses[0].partition_responses[0].error_code for _ in range(2)]
    assert codes[1] == NOT_LEADER
    assert client.values("held.deleted") == []


def test_what_is_committed_while_it_is_flushed_is_answered_at_once(broker, client, held_flush):
    client.create_topic("held.committed", flush_messages="1")
    with_follower(broker, "held.committed")
    client.send(produce_request({("held.committed", 0): batch(b"x")}, acks=-1, timeout_ms=600_000), 9)
    assert held_flush.begun.wait(30)
    follower_fetches(broker, "held.committed", 1)
    held_flush.release.set()
    assert client.receive().responses[0].partition_responses[0].error_code == NONE


def test_nothing_is_seen_before_it_is_flushed_where_a_flush_is_asked_for(broker, client, held_flush):
    client.create_topic("held.seen", flush_messages="2")
    assert client.produce("held.seen", batch(b"first")).error_code == NONE
    client.send(produce_request({("held.seen", 0): batch(b"second")}, acks=1), 9)
    assert held_flush.begun.wait(30)
    with broker.connect() as consumer:
        assert consumer.values("held.seen") == [b"first"]
        held_flush.release.set()
        assert client.receive().responses[0].partition_responses[0].error_code == NONE
        assert consumer.values("held.seen") == [b"first", b"second"]


def test_a_consumer_that_waits_hears_of_the_flush(broker, client, held_flush):
    client.create_topic("held.waited", flush_messages="1")
    client.send(produce_request({("held.waited", 0): batch(b"x")}, acks=0), 9, answered=False)
    assert held_flush.begun.wait(30)
    with broker.connect() as consumer:
        consumer.send(fetch_request({("held.waited", 0): 0}, max_wait_ms=600_000, min_bytes=1), 11)
        broker.wait_for(lambda app: len(app.context.deliver.fetches) == 1)
        held_flush.release.set()
        answer = consumer.receive()
    assert answer.responses[0].partitions[0].high_watermark == 1


def test_a_flush_that_breaks_closes_the_connection(client, monkeypatch):
    client.create_topic("breaks", flush_messages="1")
    monkeypatch.setattr(FlushJob, "run", lambda job: 1 / 0)
    client.send(produce_request({("breaks", 0): GOOD}, acks=1), 9)
    assert client.is_closed_by_the_broker()


def test_internal_topics_are_written_to_by_tools_only(broker, client):
    client.create_topic("__transaction_state")
    assert client.produce("__transaction_state", GOOD).error_code == INVALID_TOPIC
    with broker.connect(client_id="__admin_client") as tool:
        assert tool.produce("__transaction_state", GOOD).base_offset == 0


def test_a_produce_whose_client_has_gone_waits_no_longer(broker, client):
    client.create_topic("gone")
    with_follower(broker, "gone")
    with broker.connect() as other:
        other.send(produce_request({("gone", 0): GOOD}, acks=-1, timeout_ms=600_000), 9)
        broker.wait_for(lambda app: len(app.context.deliver.produces) == 1)
    broker.wait_for(lambda app: len(app.context.deliver.produces) == 0)


# The stream


def test_pipelined_requests_are_answered_in_order(client):
    client.create_topic("pipelined")
    for index in range(200):
        client.send(produce_request({("pipelined", 0): batch(b"%d" % index)}, acks=1), 9)
    offsets = [client.receive().responses[0].partition_responses[0].base_offset for _ in range(200)]
    assert offsets == list(range(200))
    assert client.values("pipelined") == [b"%d" % index for index in range(200)]


@pytest.mark.parametrize("version", [0, 1, 2, 12, 32767, -1])
def test_a_version_that_is_not_spoken_closes_the_connection(broker, version):
    data = bytearray(frame(produce_request({("x", 0): GOOD}), 9))
    struct.pack_into(">h", data, 6, version)
    with broker.connect() as client:
        client.socket.sendall(data)
        assert client.is_closed_by_the_broker()


def test_one_request_may_name_no_topic(client):
    assert client.ask(ProduceRequest(acks=1), 9).responses == []
