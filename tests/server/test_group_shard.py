"""A shard on its log: answers wait for their records and for flushes, failures are told, logs are loaded."""

import shutil
from types import SimpleNamespace

import pytest

from kstore._native.batch import iter_batches
from kstore._native.builder import BatchBuilder, control_batch
from kstore.clock import ManualClock
from kstore.cluster.topic_names import GROUPS_TOPIC
from kstore.coordinator.group.records import OffsetAndMetadata, offset_record
from kstore.errors import KafkaStorageError
from kstore.model import TopicPartition
from kstore.protocol.messages.create_topics import CreateTopicsRequest
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from kstore.protocol.messages.heartbeat import HeartbeatRequest
from kstore.replica.log_copy import append_some
from kstore.server import group_loading, group_shard, groups
from tests.server.handlers.members import Member

UNKNOWN_SERVER_ERROR, NONE = -1, 0
LOADING, NOT_AVAILABLE, NOT_COORDINATOR = 14, 15, 16
ONE = {"offsets.topic.num.partitions": "1", "group.initial.rebalance.delay.ms": "0"}
KEY = TopicPartition(GROUPS_TOPIC, 0)


@pytest.fixture
def start(start_broker):
    """Starts a broker whose groups are all in one partition, with a topic and a client."""

    def started(**overrides):
        broker = start_broker(overrides=ONE | {key.replace("__", "."): value for key, value in overrides.items()})
        client = broker.connect()
        if not broker.call(lambda app: "orders" in app.context.topics.image.topics):
            client.create_topic("orders", 3)
        Member(client, "g").find()
        broker.wait_for(lambda app: all(each.shard.is_loaded for each in app.context.groups._hosted.values()))
        return broker, client

    return started


def offsets_log(app):
    return app.context.replicas.get(*KEY).log


def append(app, batch):
    """Appends a batch to the topic of offsets behind the coordinator's back."""
    partition = app.context.replicas.get(*KEY)
    _, effects = partition.append_as_leader(batch, 0, len(batch), required_acks=-1, now_ms=app.clock.now_ms())
    app.context.deliver(effects)


def test_nothing_is_made_for_a_partition_that_nobody_asked_for(start_broker):
    broker = start_broker(overrides={"offsets.topic.num.partitions": "50"})
    client = broker.connect()
    client.create_topic("orders")
    Member(client, "g").find()
    assert broker.call(lambda app: (len(app.context.groups._led), len(app.context.groups._hosted))) == (50, 0)
    Member(client, "g").commit({("orders", 0): 1})
    assert broker.call(lambda app: len(app.context.groups._hosted)) == 1


def test_groups_are_there_again_after_a_restart(start):
    broker, client = start()
    simple, member = Member(client, "simple"), Member(client, "g")
    member.settle()
    for offset in range(5):
        simple.commit({("orders", 0): offset, ("orders", 2): offset + 10})
    member.commit({("orders", 1): 8})
    broker.stop()

    broker, client = start()
    again = Member(client, "simple")
    assert again.fetch(everything=True) == (
        NONE,
        {("orders", 0): (4, "at 4", NONE), ("orders", 2): (14, "at 14", NONE)},
    )
    # The member lives on where it was: it was silent for less than its session.
    member.client = client
    assert member.heartbeat() == NONE
    assert member.fetch(("orders", 1))[1] == {("orders", 1): (8, "at 8", NONE)}


def test_records_are_compressed_as_the_key_says(start):
    for codec in range(5):
        broker, client = start(offsets__topic__compression__codec=str(codec))
        assert Member(client, f"codec-{codec}").commit({("orders", 0): codec}) == {("orders", 0): NONE}
        *_, last = iter_batches(client.fetch(GROUPS_TOPIC, 0).records)
        assert last.compression == codec
        broker.stop()
    broker, client = start()
    for codec in range(5):
        assert Member(client, f"codec-{codec}").fetch(("orders", 0))[1] == {("orders", 0): (codec, f"at {codec}", NONE)}


def test_a_commit_that_cannot_be_written_is_told(start):
    broker, client = start()
    member = Member(client, "g")
    assert member.commit({("orders", 0): 1}) == {("orders", 0): NONE}
    broker.call(lambda app: offsets_log(app).log_dir.fail("testing", OSError(5, "Input/output error")))
    assert member.commit({("orders", 0): 2}) == {("orders", 0): NOT_COORDINATOR}


def test_a_group_record_that_is_too_large_is_refused(start):
    _, client = start(message__max__bytes="2000")
    member = Member(client, "g")
    member.join()
    assert member.sync({member.member_id: b"x" * 5000}).error_code == UNKNOWN_SERVER_ERROR
    small = Member(client, "small")
    small.settle()


def test_a_commit_waits_for_the_disk_where_flush_messages_asks_for_it(start):
    broker, client = start(log__flush__interval__messages="1")
    member = Member(client, "g")
    for offset in range(3):
        assert member.commit({("orders", 0): offset}) == {("orders", 0): NONE}
        recovery_point, end = broker.call(
            lambda app: (offsets_log(app).recovery_point, offsets_log(app).log_end_offset)
        )
        assert recovery_point == end == offset + 1
    assert member.fetch(("orders", 0))[1] == {("orders", 0): (2, "at 2", NONE)}


def test_who_waits_is_told_when_the_topic_of_offsets_is_deleted(start):
    broker, client = start()
    leader, waiting = Member(client, "g"), Member(broker.connect(), "g", version=3)
    leader.settle()
    waiting.client.send(waiting.join_request(), 3)
    broker.wait_for(lambda app: state_of(app, "g") == "PreparingRebalance")
    client.ask(DeleteTopicsRequest(topic_names=[GROUPS_TOPIC]), 5)
    assert waiting.client.receive().error_code == NOT_COORDINATOR
    assert client.ask(HeartbeatRequest(group_id="g"), 4).error_code == NOT_COORDINATOR
    Member(client, "g").find()
    fresh = Member(client, "g")
    assert fresh.fetch(everything=True) == (NONE, {})
    fresh.settle()


def test_groups_go_on_in_a_new_epoch_of_the_same_leader(start):
    """They were read anew, and whoever waited was sent away, each time that an in-sync replica came or went."""
    broker, client = start()
    member = Member(client, "g")
    member.settle()

    def lead_on(app):
        before = dict(app.context.groups._hosted)
        partition = app.context.replicas.get(*KEY)
        leading = {"broker_id": app.context.node_id, "replicas": (app.context.node_id,)}
        epoch = partition.leader.epoch + 1
        app.context.deliver(partition.become_leader(epoch=epoch, isr=frozenset(leading["replicas"]), **leading))
        return before == app.context.groups._hosted, app.context.groups._led[0] == epoch

    assert broker.call(lead_on) == (True, True)
    assert member.commit({("orders", 0): 3}) == {("orders", 0): NONE}
    assert member.fetch(("orders", 0))[1] == {("orders", 0): (3, "at 3", NONE)}


def state_of(app, group_id):
    return app.context.groups.ask(group_id, lambda shard, _: shard.describe_group(group_id)).state


def test_what_is_committed_after_a_long_sleep_is_not_taken_for_old(start_broker):
    """The time of a commit was that of the last deadline: a machine that had slept for a week wrote commits of a week
    ago, and the next round of expiry took them."""
    clock = ManualClock()
    broker = start_broker(overrides=ONE | {"offsets.retention.minutes": "10"}, clock=clock)
    client = broker.connect()
    client.create_topic("orders")
    simple, member = Member(client, "simple"), Member(client, "g")
    simple.find()
    assert simple.commit({("orders", 0): 1}) == {("orders", 0): NONE}
    member.settle()
    assert member.commit({("orders", 0): 1}) == {("orders", 0): NONE}
    clock.step_wall(3_600_000)
    assert simple.commit({("orders", 0): 2}) == {("orders", 0): NONE}
    assert member.leave() == NONE
    clock.advance(seconds=599)
    broker.call(do_what_is_due)
    assert simple.fetch(everything=True)[1] == {("orders", 0): (2, "at 2", NONE)}
    assert member.fetch(everything=True)[1] == {("orders", 0): (1, "at 1", NONE)}
    clock.advance(seconds=601)
    broker.call(do_what_is_due)
    assert simple.fetch(everything=True)[1] == member.fetch(everything=True)[1] == {}


def do_what_is_due(app):
    for hosted in app.context.groups._hosted.values():
        while (hosted.shard.next_deadline_ms or app.clock.monotonic_ms() + 1) <= app.clock.monotonic_ms():
            hosted.tick()


def test_a_log_that_could_not_be_read_is_told_and_read_again(start, start_broker, monkeypatch):
    """Its groups were said to be loading until the next start, and its members' heartbeats were taken."""
    broker, client = start()
    member = Member(client, "g")
    member.settle()
    member.commit({("orders", 0): 5})
    broker.stop()

    failures = [KafkaStorageError("no descriptor"), OSError(24, "Too many open files")]
    load = group_shard.load

    async def fail_twice(*arguments, **options):
        if failures:
            raise failures.pop()
        return await load(*arguments, **options)

    monkeypatch.setattr(group_shard, "load", fail_twice)
    monkeypatch.setattr(groups, "RELOAD_S", 3600)
    broker = start_broker(overrides=ONE)
    member.client = broker.connect()
    for left in (1, 0):
        broker.wait_for(lambda app, left=left: len(failures) == left and first_shard(app).failure is not None)
        assert member.heartbeat() == NOT_AVAILABLE
        assert member.fetch(everything=True)[0] == NOT_AVAILABLE
        assert member.commit({("orders", 0): 6}) == {("orders", 0): NOT_AVAILABLE}
        broker.call(lambda app: app.context.groups._load_again(app.context.groups._hosted[0]))
    broker.wait_for(lambda app: first_shard(app).is_loaded)
    assert member.heartbeat() == NONE
    assert member.fetch(everything=True) == (NONE, {("orders", 0): (5, "at 5", NONE)})


def first_shard(app):
    return app.context.groups._hosted[0].shard


def test_a_broker_with_members_that_wait_stops_in_order(start):
    broker, client = start()
    leader, waiting = Member(client, "g"), Member(broker.connect(), "g", version=3)
    leader.settle()
    waiting.client.send(waiting.join_request(), 3)
    broker.wait_for(lambda app: state_of(app, "g") == "PreparingRebalance")
    broker.stop()


# What is in the log


def test_the_last_record_of_a_key_counts_and_a_tombstone_takes_it_back(start):
    broker, client = start()
    Member(client, "kept").commit({("orders", 0): 1})

    def write(app):
        builder = BatchBuilder()
        for offset in (3, 4):
            builder.append(1, *offset_record("kept", "orders", 1, OffsetAndMetadata(offset, -1, "m", 1)))
        key, value = offset_record("gone", "orders", 0, OffsetAndMetadata(9, -1, "m", 1))
        builder.append(1, key, value)
        builder.append(1, key, None)
        append(app, builder.build())

    broker.call(write)
    broker.stop()
    broker, client = start()
    assert Member(client, "kept").fetch(everything=True)[1] == {
        ("orders", 0): (1, "at 1", NONE),
        ("orders", 1): (4, "m", NONE),
    }
    assert Member(client, "gone").fetch(everything=True)[1] == {}


@pytest.mark.parametrize(("marker", "offset"), [(1, 7), (0, 2)], ids=["committed", "aborted"])
def test_offsets_of_a_transaction_count_when_it_is_committed(start, marker, offset):
    broker, client = start()
    Member(client, "g").commit({("orders", 0): 2})

    def write(app):
        builder = BatchBuilder(producer_id=5, producer_epoch=0, base_sequence=0, is_transactional=True)
        builder.append(1, *offset_record("g", "orders", 0, OffsetAndMetadata(7, -1, "", 1)))
        append(app, builder.build())
        batch = control_batch(marker, timestamp=1, producer_id=5, producer_epoch=0)
        log = offsets_log(app)
        log.append_as_leader(batch, 0, len(batch), leader_epoch=0, now_ms=1, origin="coordinator")

    broker.call(write)
    broker.stop()
    broker, client = start()
    (found,) = Member(client, "g").fetch(("orders", 0))[1].values()
    assert found[0] == offset


def test_records_that_nobody_understands_are_passed_over(start):
    broker, client = start()
    Member(client, "g").commit({("orders", 0): 1})

    def write(app):
        builder = BatchBuilder()
        builder.append(1, b"\0\3\0\1g", b"\0\0\0\0\0\1\0")  # a group of the newer protocol
        builder.append(1, b"\0\1broken", b"\0\3")
        builder.append(1, b"\0\77", b"whatever")
        append(app, builder.build())

    broker.call(write)
    broker.stop()
    broker, client = start()
    assert Member(client, "g").fetch(everything=True) == (NONE, {("orders", 0): (1, "at 1", NONE)})


def test_a_log_of_many_pieces_is_read_to_its_end(start):
    broker, client = start(offsets__topic__segment__bytes="1048576")

    def write(app):
        for number in range(300):
            builder = BatchBuilder()
            for part in range(20):
                record = offset_record(f"group-{part}", "orders", 0, OffsetAndMetadata(number, -1, "m" * 200, 1))
                builder.append(1, *record)
            append(app, builder.build())

    broker.call(write)
    assert broker.call(lambda app: len(list(offsets_log(app).segments))) > 1
    broker.stop()
    broker, client = start(offsets__load__buffer__size="10000")
    for part in range(20):
        (found,) = Member(client, f"group-{part}").fetch(("orders", 0))[1].values()
        assert found[0] == 299


def test_a_topic_of_offsets_that_a_client_made_is_used(start_broker):
    broker = start_broker()
    client = broker.connect()
    topic = CreateTopicsRequest.CreatableTopic(name=GROUPS_TOPIC, num_partitions=3, replication_factor=1)
    client.ask(CreateTopicsRequest(topics=[topic]), 7)
    client.create_topic("orders")
    assert Member(client, "g").commit({("orders", 0): 1}) == {("orders", 0): NONE}


def test_groups_are_loaded_whole_while_their_partition_moves_to_another_directory(start, tmp_path):
    """The files that were read had been removed meanwhile: the groups were not loaded, and their disk was blamed."""
    broker, client = start(log__dirs=f"{tmp_path / 'a'},{tmp_path / 'b'}")
    for offset in range(5):
        Member(client, f"g{offset}").commit({("orders", 0): offset})

    async def load(app):
        logs, partition = app.context.replicas.logs, app.context.replicas.get(*KEY)
        source, now_ms = partition.log, app.context.clock.now_ms()
        turns, replayed = [], []

        def move_in_the_second_turn():
            turns.append(partition.log)
            if len(turns) == 2:
                there = next(each.path for each in logs.dirs if each is not source.log_dir)
                copy = logs.moves.begin(KEY, there, now_ms)
                records = memoryview(source.read(0, max_bytes=1 << 20).records.read())
                append_some(copy, records, most=len(records), high_watermark=0, now_ms=now_ms)
                source.release_descriptors()
                partition.move_to(logs.moves.complete(KEY, now_ms))
                shutil.rmtree(source.directory.path)
            return False

        shard = SimpleNamespace(replay=lambda key, value, **where: replayed.append(where["offset"]))
        await group_loading.load(shard, partition, max_bytes=1, is_given_up=move_in_the_second_turn)
        return replayed, partition.log is not source, logs.take_failed_dirs()

    assert broker.run(load) == ([0, 1, 2, 3, 4], True, {})
