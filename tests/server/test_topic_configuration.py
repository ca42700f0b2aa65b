"""Every configuration key of a topic that has an effect, changed by request on a running broker: what changes."""

import errno
from pathlib import Path

import pytest

from kstore._native.batch import RecordBatch
from kstore.clock import ManualClock
from kstore.log.flush import FlushJob
from kstore.log.topic_keys import TOPIC_KEYS
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from kstore.protocol.messages.incremental_alter_configs import IncrementalAlterConfigsRequest
from kstore.replica.fetcher import Fetcher, FetchLimits
from kstore.server.handlers.fetch import is_throttled
from tests.fix_broker import Broker, batch, records_in

NONE, TOO_LARGE, NOT_ENOUGH_REPLICAS, INVALID_TIMESTAMP, INVALID_RECORD, POLICY_VIOLATION = 0, 10, 19, 32, 87, 44
STORAGE_ERROR = 56
DAY_MS = 86_400_000
NOW = 1_700_000_000_000

# Which test shows the effect of which key; a key that is honoured and not here fails the last test.
SHOWN: set[str] = set()


def shows(*keys):
    SHOWN.update(keys)
    return lambda test: test


class Topic:
    """One topic `t` with one partition, on a broker whose clock stands still."""

    def __init__(self, broker: Broker, clock: ManualClock) -> None:
        self.broker = broker
        self.clock = clock
        self.client = broker.connect()
        self.client.create_topic("t")
        self.directory = Path(broker.config.log_dirs[0]) / "t-0"
        # From now on the intervals of the background work are counted.
        self.later(0)

    def set(self, key, value):
        Config = IncrementalAlterConfigsRequest.AlterableConfig
        resource = IncrementalAlterConfigsRequest.AlterConfigsResource(
            resource_type=2, resource_name="t", configs=[Config(name=key, config_operation=0, value=value)]
        )
        (result,) = self.client.ask(IncrementalAlterConfigsRequest(resources=[resource]), 1).responses
        assert result.error_code == NONE, result.error_message

    def produce(self, *values, timestamp=NOW, acks=1, **options):
        return self.client.produce("t", batch(*values, timestamp=timestamp, **options), acks=acks)

    def log(self, look):
        """What `look` sees in the partition's log."""
        return self.broker.call(lambda app: look(app.context.replicas.get("t", 0).log))

    def segments(self):
        return self.log(lambda log: [segment.base_offset for segment in log.segments])

    def later(self, milliseconds):
        """Lets time pass, and the broker do what is due, in one turn: its own tasks do not take some of it."""

        def pass_time(app):
            self.clock.advance(milliseconds)
            app.logs.run_due(self.clock.now_ms(), self.clock.monotonic_ms())

        self.broker.call(pass_time)

    def files(self, suffix):
        return sorted(path.name for path in self.directory.glob(f"*{suffix}"))


@pytest.fixture
def topic(start_broker):
    clock = ManualClock(NOW)
    return Topic(start_broker(clock=clock), clock)


@shows("segment.bytes")
def test_segments_are_rolled_by_size(topic):
    for _ in range(3):
        topic.produce(b"x" * 500)
    assert topic.segments() == [0]
    topic.set("segment.bytes", "1000")
    for _ in range(4):
        topic.produce(b"x" * 500)
    assert topic.segments() == [0, 3, 4, 5, 6]


@shows("segment.ms")
def test_segments_are_rolled_by_time(topic):
    topic.produce(b"a")
    topic.set("segment.ms", "1000")
    topic.clock.advance(1001)
    topic.produce(b"b", timestamp=NOW + 1001)
    assert topic.segments() == [0, 1]


@shows("segment.jitter.ms")
def test_segments_are_rolled_before_their_time_by_chance(topic):
    topic.set("segment.jitter.ms", "999")
    topic.set("segment.ms", "1000")
    topic.set("segment.bytes", "100")
    jitters = set()
    for _ in range(20):
        assert topic.produce(b"x").error_code == NONE
        jitters.add(topic.log(lambda log: log.segments.active.roll_jitter_ms))
    assert len(jitters) > 2
    assert all(0 <= jitter < 999 for jitter in jitters)


@shows("segment.index.bytes")
def test_a_full_index_rolls_the_segment(topic):
    topic.set("index.interval.bytes", "0")
    topic.set("segment.index.bytes", "32")
    topic.produce(b"x")
    topic.log(lambda log: log.roll(now_ms=NOW))
    begun = topic.segments()[-1]
    for _ in range(20):
        topic.produce(b"x")
    assert len([offset for offset in topic.segments() if offset > begun]) >= 3


@shows("index.interval.bytes")
def test_index_entries_lie_an_interval_apart(topic):
    def entries_of_a_new_segment(interval):
        topic.set("index.interval.bytes", interval)
        topic.log(lambda log: log.roll(now_ms=NOW))
        for _ in range(20):
            topic.produce(b"x" * 400)
        return topic.log(lambda log: log.segments.active.offset_index.entries)

    few = entries_of_a_new_segment("4096")
    many = entries_of_a_new_segment("500")
    assert 1 <= few <= 2
    assert many >= 8


@shows("preallocate")
def test_a_segment_is_allocated_before_it_is_filled(topic):
    topic.set("segment.bytes", "1048576")
    topic.set("preallocate", "true")
    topic.produce(b"x")
    topic.log(lambda log: log.roll(now_ms=NOW))
    topic.produce(b"y")
    newest = topic.directory / topic.files(".log")[-1]
    assert newest.stat().st_size == 1048576 or newest.stat().st_blocks * 512 >= 1048576
    # What is only allocated is neither read nor counted.
    assert topic.client.values("t", 1) == [b"y"]
    assert topic.log(lambda log: log.size_in_bytes) < 1000
    topic.broker.stop()
    assert newest.stat().st_size < 1000


@shows("retention.ms")
def test_old_segments_go(topic):
    topic.set("segment.ms", "1000")
    for index in range(3):
        topic.produce(b"x", timestamp=NOW + 2000 * index)
        topic.clock.advance(2000)
    assert topic.segments() == [0, 1, 2]
    topic.set("retention.ms", "500000")
    topic.later(300_000)
    assert topic.segments() == [0, 1, 2]
    topic.set("retention.ms", "1000")
    topic.later(300_000)
    assert topic.client.fetch("t", 3).log_start_offset == 3
    assert topic.client.values("t", 3) == []


@shows("retention.bytes")
def test_segments_beyond_a_size_go(topic):
    topic.set("segment.bytes", "1000")
    for _ in range(5):
        topic.produce(b"x" * 800)
    assert len(topic.segments()) == 5
    topic.set("retention.bytes", "2000")
    topic.later(300_000)
    assert topic.segments() == [2, 3, 4]


@shows("cleanup.policy")
def test_without_the_delete_policy_nothing_goes_and_keys_are_wanted(topic):
    topic.set("segment.bytes", "1000")
    topic.set("retention.bytes", "0")
    topic.set("cleanup.policy", "compact")
    assert topic.produce(b"x", key=None).error_code == INVALID_RECORD
    for _ in range(3):
        topic.produce(b"x" * 800)
    topic.later(300_000)
    assert topic.segments() == [0, 1, 2]
    topic.set("cleanup.policy", "delete")
    topic.later(300_000)
    assert topic.segments() == [3]
    assert topic.produce(b"x", key=None).error_code == NONE


@shows("file.delete.delay.ms")
def test_files_go_after_a_delay(topic):
    topic.set("segment.bytes", "1000")
    topic.set("retention.bytes", "0")
    topic.set("file.delete.delay.ms", "400000")
    for _ in range(2):
        topic.produce(b"x" * 800)
    topic.later(300_000)
    assert len(topic.files(".log.deleted")) == 2
    topic.later(399_999)
    assert len(topic.files(".log.deleted")) == 2
    topic.later(1)
    assert topic.files(".deleted") == []


@shows("file.delete.delay.ms")
def test_files_of_old_segments_go_after_the_topics_delay(topic):
    topic.set("file.delete.delay.ms", "5000")
    topic.set("retention.bytes", "0")
    topic.set("segment.bytes", "100")
    for _ in range(2):
        topic.produce(b"x" * 30)
    topic.later(300_000)
    assert len(topic.files(".log.deleted")) == 2
    topic.later(4999)
    assert len(topic.files(".log.deleted")) == 2
    topic.later(1)
    assert topic.files(".deleted") == []


def test_a_deleted_topics_directory_goes_after_the_brokers_delay(topic):
    topic.set("file.delete.delay.ms", "5000")
    topic.client.ask(DeleteTopicsRequest(topic_names=["t"]), 3)
    (renamed,) = topic.directory.parent.glob("t-0.*-delete")
    topic.later(59_999)
    assert renamed.exists()
    topic.later(1)
    assert not renamed.exists()


@shows("max.message.bytes")
def test_a_batch_has_a_most_of_bytes(topic):
    topic.set("max.message.bytes", "200")
    assert topic.produce(b"x" * 300).error_code == TOO_LARGE
    topic.set("max.message.bytes", "2000")
    assert topic.produce(b"x" * 300).error_code == NONE


@shows("compression.type", "compression.gzip.level", "compression.lz4.level", "compression.zstd.level")
@pytest.mark.parametrize(
    ("codec", "number", "levels"), [("gzip", 1, (1, 9)), ("lz4", 3, (1, 17)), ("zstd", 4, (-50, 19))]
)
def test_batches_are_compressed_as_the_topic_says(topic, codec, number, levels):
    # Text that a codec can do more or less with.
    text = b" ".join(b"%d" % (index * index % 977) for index in range(8000))
    topic.set("compression.type", codec)
    sizes = []
    for level in levels:
        topic.set(f"compression.{codec}.level", str(level))
        offset = topic.produce(text).base_offset
        stored = topic.client.fetch("t", offset).records
        assert RecordBatch(stored).compression == number
        assert [record.value for record in records_in(stored)] == [text]
        sizes.append(len(stored))
    assert sizes[1] < sizes[0] < len(text)


@shows("message.timestamp.type")
def test_records_have_the_brokers_time(topic):
    topic.produce(b"a", timestamp=5)
    topic.set("message.timestamp.type", "LogAppendTime")
    assert topic.produce(b"b", timestamp=5).log_append_time_ms == NOW
    records = [record for each in (0, 1) for record in records_in(topic.client.fetch("t", each).records)]
    assert {record.offset: record.timestamp for record in records} == {0: 5, 1: NOW}


@shows("message.timestamp.before.max.ms", "message.timestamp.after.max.ms", "message.timestamp.difference.max.ms")
@pytest.mark.parametrize(
    ("key", "bad", "good"),
    [
        ("message.timestamp.before.max.ms", -101, 101),
        ("message.timestamp.after.max.ms", 101, -101),
        ("message.timestamp.difference.max.ms", 101, 100),
        ("message.timestamp.difference.max.ms", -101, -100),
    ],
)
def test_timestamps_have_bounds(topic, key, bad, good):
    assert topic.produce(b"x", timestamp=NOW + bad).error_code == NONE
    topic.set(key, "100")
    assert topic.produce(b"x", timestamp=NOW + bad).error_code == INVALID_TIMESTAMP
    assert topic.produce(b"x", timestamp=NOW + good).error_code == NONE


@shows("min.insync.replicas")
def test_so_many_replicas_are_in_sync_or_nothing_is_acknowledged(topic):
    topic.set("min.insync.replicas", "2")
    # With one replica no more than one can be asked for.
    assert topic.produce(b"x", acks=-1).error_code == NONE

    def pretend_a_second_replica(app):
        app.context.replicas.get("t", 0).leader.replicas = (1, 2)

    topic.broker.call(pretend_a_second_replica)
    assert topic.produce(b"x", acks=-1).error_code == NOT_ENOUGH_REPLICAS
    topic.set("min.insync.replicas", "1")
    assert topic.produce(b"x", acks=-1).error_code == NONE


@shows("flush.messages")
def test_so_many_records_are_on_the_disk_before_they_are_acknowledged(topic):
    topic.produce(b"a")
    assert topic.log(lambda log: log.recovery_point) == 0
    topic.set("flush.messages", "2")
    topic.produce(b"b")
    assert topic.log(lambda log: log.recovery_point) == 2
    topic.produce(b"c")
    assert topic.log(lambda log: log.recovery_point) == 2
    topic.produce(b"d")
    assert topic.log(lambda log: log.recovery_point) == 4


def refuse(job):
    """Instead of FlushJob.run: a failure that leaves the disk as good as it was."""
    job.error = OSError(errno.EMFILE, "no descriptor is left")


def test_what_a_flush_that_failed_kept_back_is_seen_after_the_next_one(topic, monkeypatch):
    topic.set("flush.messages", "1")
    with monkeypatch.context() as patch:
        patch.setattr(FlushJob, "run", refuse)
        assert topic.produce(b"a").error_code == STORAGE_ERROR
    assert topic.log(lambda log: (log.high_watermark, log.log_end_offset)) == (0, 1)
    topic.set("flush.ms", "500")
    topic.clock.advance(1000)
    topic.broker.call(lambda app: app.context.start_task(app.tasks.tend_logs()))
    topic.broker.wait_for(lambda app: app.context.replicas.get("t", 0).log.high_watermark == 1)
    assert topic.client.values("t") == [b"a"]


def test_what_waits_for_a_flush_is_seen_when_nobody_asks_for_it_any_more(topic, monkeypatch):
    topic.set("flush.messages", "1")
    with monkeypatch.context() as patch:
        patch.setattr(FlushJob, "run", refuse)
        assert topic.produce(b"a").error_code == STORAGE_ERROR
    assert topic.log(lambda log: log.high_watermark) == 0
    topic.set("flush.messages", "1000")
    assert topic.log(lambda log: log.high_watermark) == 1


@shows("flush.ms")
def test_records_are_on_the_disk_after_a_time(topic):
    topic.produce(b"a")
    topic.later(1000)
    assert topic.log(lambda log: log.recovery_point) == 0
    topic.set("flush.ms", "500")
    topic.later(1000)
    assert topic.log(lambda log: log.recovery_point) == 1


def compacted(topic, *values, later=15_000):
    """Writes each value to one key, seals the segment, lets `later` pass and gives what is left."""
    topic.set("cleanup.policy", "compact")
    for value in values:
        topic.produce(value, timestamp=topic.clock.now_ms())
    topic.log(lambda log: log.roll(now_ms=topic.clock.now_ms()))
    topic.later(0)
    topic.later(later)
    return left(topic)


def left(topic):
    """The values that a consumer reads when no cleaning is under way, a segment with each fetch."""
    topic.broker.wait_for(lambda app: not app.logs.cleaner.in_progress)
    found = []
    for base_offset in topic.segments():
        found += [value for value in topic.client.values("t", base_offset) if value not in found or value is None]
    return found


@shows("min.cleanable.dirty.ratio")
def test_a_log_is_compacted_when_it_is_dirty_enough(topic):
    assert compacted(topic, b"1", b"2") == [b"2"]
    topic.set("min.cleanable.dirty.ratio", "0.99")
    assert compacted(topic, b"3", b"4") == [b"2", b"3", b"4"]
    topic.set("min.cleanable.dirty.ratio", "0.5")
    assert compacted(topic) == [b"4"]


@shows("min.compaction.lag.ms")
def test_young_records_are_not_compacted(topic):
    topic.set("min.compaction.lag.ms", "60000")
    assert compacted(topic, b"1", b"2") == [b"1", b"2"]
    topic.later(60_000)
    assert left(topic) == [b"2"]


@shows("max.compaction.lag.ms")
def test_old_records_are_compacted_whatever_the_ratio(topic):
    topic.set("min.cleanable.dirty.ratio", "1")
    assert compacted(topic, b"1", b"2") == [b"1", b"2"]
    topic.set("max.compaction.lag.ms", "1000")
    topic.later(15_000)
    assert left(topic) == [b"2"]


@shows("delete.retention.ms")
def test_tombstones_go_after_their_time(topic):
    topic.set("min.cleanable.dirty.ratio", "0")
    topic.set("delete.retention.ms", "100000")
    assert compacted(topic, b"1", None) == [None]
    topic.set("delete.retention.ms", "0")
    assert topic.client.produce("t", batch(b"x", key=b"other")).error_code == NONE
    assert compacted(topic) == [None, b"x"]  # it has its time already
    assert topic.client.produce("t", batch(b"y", key=b"other")).error_code == NONE
    assert compacted(topic, later=100_000) == [b"y"]


def test_a_key_that_is_deleted_is_the_brokers_again(topic):
    topic.set("max.message.bytes", "200")
    Config = IncrementalAlterConfigsRequest.AlterableConfig
    resource = IncrementalAlterConfigsRequest.AlterConfigsResource(
        resource_type=2, resource_name="t", configs=[Config(name="max.message.bytes", config_operation=1)]
    )
    topic.client.ask(IncrementalAlterConfigsRequest(resources=[resource]), 1)
    assert topic.produce(b"x" * 300).error_code == NONE


@shows("leader.replication.throttled.replicas")
def test_a_follower_that_is_not_in_sync_may_be_held_back(topic):
    def held_back(app):
        partition = app.context.replicas.get("t", 0)
        app.context.replicas.quotas.leader.record(10_000, app.clock.monotonic_ms())
        config = app.context.config
        config.leader_replication_throttled_rate = 100
        return is_throttled(app.context, partition, 2)

    assert not topic.broker.call(held_back)
    topic.set("leader.replication.throttled.replicas", "0:9")
    assert not topic.broker.call(held_back)
    topic.set("leader.replication.throttled.replicas", f"0:{topic.broker.app.context.node_id}")
    assert topic.broker.call(held_back)


@shows("follower.replication.throttled.replicas")
def test_a_replica_that_lags_may_be_left_out_of_fetches(topic):
    topic.set("follower.replication.throttled.replicas", "*")

    def asked(app, rate):
        quotas = app.context.replicas.quotas
        quotas.follower.record(10_000, app.clock.monotonic_ms())
        quotas.follower.rate = rate
        partitions = app.context.replicas.partitions
        fetcher = Fetcher(2, partitions.get, broker_id=app.context.node_id, limits=FetchLimits(), quotas=quotas)
        fetcher.add(partitions["t", 0])
        return fetcher.fetch_request(broker_epoch=1, monotonic_ms=app.clock.monotonic_ms()) is not None

    assert topic.broker.call(lambda app: asked(app, 1_000_000))
    assert not topic.broker.call(lambda app: asked(app, 100))


def test_configurations_are_still_there_after_a_restart(start_broker):
    clock = ManualClock(NOW)
    first = Topic(start_broker(clock=clock), clock)
    first.set("max.message.bytes", "200")
    first.broker.stop()
    client = start_broker(clock=clock).connect()
    assert client.produce("t", batch(b"x" * 300)).error_code == TOO_LARGE


def test_every_key_with_an_effect_is_shown_here():
    honoured = {name for name, key in TOPIC_KEYS.items() if key.effect == "honoured"}
    assert honoured == SHOWN
