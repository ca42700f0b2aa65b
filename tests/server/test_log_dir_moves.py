"""AlterReplicaLogDirs on a live broker: a replica moves while it is written to and read from."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kstore.clock import ManualClock
from kstore.errors import NotCachedError
from kstore.log.log_moves import LogMoves
from kstore.model import TopicPartition
from kstore.protocol.messages.alter_replica_log_dirs import AlterReplicaLogDirsRequest
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from kstore.protocol.messages.describe_log_dirs import DescribeLogDirsRequest
from kstore.replica.log_copy import append_some, bytes_behind
from kstore.server import copy_pace, replica_move
from kstore.server.copy_pace import CopyPace
from kstore.server.replica_move import ReplicaMove
from tests.fix_broker import Broker, Client, StartBroker, batch, records_in

NONE, REPLICA_NOT_AVAILABLE, LOG_DIR_NOT_FOUND = 0, 9, 57


@pytest.fixture
def start(start_broker: StartBroker, tmp_path: Path) -> Any:
    """Starts a broker over the directories `a` and `b`."""
    return lambda **overrides: start_broker(
        overrides={"log.dirs": f"{tmp_path / 'a'},{tmp_path / 'b'}"}
        | {name.replace("_", "."): value for name, value in overrides.items()}
    )


def move(client: Client, topic: str, to: Path, partition: int = 0, version: int = 2) -> int:
    wanted = AlterReplicaLogDirsRequest.AlterReplicaLogDirTopic(name=topic, partitions=[partition])
    request = AlterReplicaLogDirsRequest(
        dirs=[AlterReplicaLogDirsRequest.AlterReplicaLogDir(path=str(to), topics=[wanted])]
    )
    (result,) = client.ask(request, version).results
    (part,) = result.partitions
    assert (result.topic_name, part.partition_index) == (topic, partition)
    return int(part.error_code)


def directory_of(app: Any, topic: str) -> str:
    return str(app.context.replicas.get(topic, 0).log.log_dir.path)


def other_than(broker: Broker, topic: str, tmp_path: Path) -> Path:
    here = Path(broker.call(lambda app: directory_of(app, topic)))
    return tmp_path / ("b" if here.name == "a" else "a")


@pytest.mark.parametrize("version", range(3))
def test_a_replica_moves_and_nobody_notices(start: Any, tmp_path: Path, version: int) -> None:
    broker = start()
    client = broker.connect()
    client.create_topic("t")
    values = [b"%d" % number for number in range(60)]
    for value in values[:50]:
        client.produce("t", batch(value, key=None))
    there = other_than(broker, "t", tmp_path)
    assert move(client, "t", there, version=version) == NONE
    for value in values[50:]:
        assert client.produce("t", batch(value, key=None)).error_code == NONE
    broker.wait_for(lambda app: directory_of(app, "t") == str(there))
    assert client.values("t") == values
    assert client.produce("t", batch(b"after", key=None)).base_offset == 60
    assert (there / "t-0").is_dir()
    assert [path.name[-7:] for path in there.parent.glob("*/t-0.*")] == ["-delete"]
    broker.stop()
    assert start().connect().values("t") == [*values, b"after"]


def test_a_move_goes_on_after_a_restart(start: Any, tmp_path: Path) -> None:
    broker = start(replica_alter_log_dirs_io_max_bytes_per_second="1")
    client = broker.connect()
    client.create_topic("t")
    for number in range(5):
        assert client.produce("t", batch(b"%d" % number + bytes(400_000))).error_code == NONE
    there = other_than(broker, "t", tmp_path)
    assert move(client, "t", there) == NONE
    broker.wait_for(lambda app: any(log.log_end_offset for log in app.context.replicas.logs.moves.futures.values()))
    described = [
        (part.is_future_key, part.offset_lag > 0)
        for result in client.ask(DescribeLogDirsRequest(topics=None), 4).results
        for topic in result.topics
        if topic.name == "t"
        for part in topic.partitions
    ]
    assert sorted(described) == [(False, False), (True, True)]
    broker.stop()
    assert [path.name[-7:] for path in there.glob("t-0*")] == ["-future"]
    broker = start()
    broker.wait_for(lambda app: directory_of(app, "t") == str(there))
    client = broker.connect()
    assert [(client.values("t", offset)[0] or b"")[:1] for offset in range(5)] == [b"%d" % n for n in range(5)]


def test_where_it_cannot_go_it_is_told(start: Any, tmp_path: Path) -> None:
    broker = start()
    client = broker.connect()
    client.create_topic("t")
    assert move(client, "t", tmp_path / "c") == LOG_DIR_NOT_FOUND
    assert move(client, "unknown", tmp_path / "a") == REPLICA_NOT_AVAILABLE
    here = Path(broker.call(lambda app: directory_of(app, "t")))
    assert move(client, "t", here) == NONE
    assert not list(tmp_path.glob("*/t-0.*"))


def test_a_partition_that_is_to_come_is_made_where_it_was_wanted(start: Any, tmp_path: Path) -> None:
    client = (broker := start()).connect()
    for number in range(4):
        there = tmp_path / "ab"[number // 2]
        assert move(client, f"t{number}", there) == REPLICA_NOT_AVAILABLE
        client.create_topic(f"t{number}")
        assert broker.call(lambda app, topic=f"t{number}": directory_of(app, topic)) == str(there)


@pytest.mark.parametrize("kept", [0, 1])
def test_a_replica_whose_last_records_are_compacted_away_moves_with_the_offsets_that_it_had(
    start: Any, tmp_path: Path, kept: int
) -> None:
    """Nothing could be read at the copy's end: the loop did nothing else any more, and later on the replica was not
    moved before its next record, which to a topic that nobody writes to never came."""
    client = (broker := start()).connect()
    client.create_topic("t")
    for _ in range(kept):
        client.produce("t", batch(b"a"))
    there = other_than(broker, "t", tmp_path)

    def leave_a_gap(app: Any) -> None:
        log = app.context.replicas.get("t", 0).log
        log.skip_to(5, now_ms=app.context.clock.now_ms())
        log.update_high_watermark(5)

    def ends(app: Any) -> tuple[int, int]:
        log = app.context.replicas.get("t", 0).log
        return log.high_watermark, log.log_end_offset

    broker.call(leave_a_gap)
    assert move(client, "t", there) == NONE
    broker.wait_for(lambda app: directory_of(app, "t") == str(there))
    assert broker.call(ends) == (5, 5)
    broker.stop()
    client = (broker := start()).connect()
    assert broker.call(ends) == (5, 5)
    assert client.produce("t", batch(b"b")).base_offset == 5
    assert client.values("t", 5) == [b"b"]
    assert client.values("t") == [b"a" if kept else b"b"]


@pytest.mark.parametrize("step_ms", [-3_600_000, 3_600_000])
def test_a_clock_that_is_set_makes_copying_no_slower_and_no_faster(
    monkeypatch: pytest.MonkeyPatch, step_ms: int
) -> None:
    monkeypatch.setattr(copy_pace, "RETRY_S", 0)
    clock = ManualClock()
    config = SimpleNamespace(
        alter_log_dirs_replication_quota_window_num=11,
        alter_log_dirs_replication_quota_window_size_seconds=1,
        replica_alter_log_dirs_io_max_bytes_per_second=1000,
    )
    replicas = SimpleNamespace(logs=SimpleNamespace(dirs=["a", "b"]))
    context: Any = SimpleNamespace(clock=clock, config=config, replicas=replicas)

    async def copy() -> None:
        pace = CopyPace(context)
        pace.count(10_000)
        waits = asyncio.ensure_future(pace.allowance())
        for step in (0, step_ms):
            clock.step_wall(step)
            for _ in range(5):
                await asyncio.sleep(0)
            assert not waits.done()
        clock.advance(seconds=10)
        await asyncio.wait_for(waits, 30)

    asyncio.run(copy())


class Load:
    """Appends to a replica in every turn of the broker's loop."""

    def __init__(self, app: Any, topic: str, batch_to_append: bytes, *, per_turn: int) -> None:
        self._app = app
        self._partition = app.context.replicas.get(topic, 0)
        self._batch = batch_to_append
        self._per_turn = per_turn
        self.turns = 0
        self.ends: list[int] = []

    async def run(self, *, most_turns: int) -> bool:
        """Until the replica lies elsewhere, which is so when it gives True."""
        before = self._partition.log.log_dir
        while self._partition.log.log_dir is before and self.turns < most_turns:
            self.turns += 1
            for _ in range(self._per_turn):
                data = bytearray(self._batch)
                info, effects = self._partition.append_as_leader(
                    data, 0, len(data), required_acks=1, now_ms=self._app.context.clock.now_ms()
                )
                self._app.context.deliver(effects)
                self.ends.append(info.last_offset)
            await asyncio.sleep(0)
        return self._partition.log.log_dir is not before


@pytest.mark.parametrize(
    ("size", "per_turn"), [pytest.param(400_000, 3, id="more than a piece"), pytest.param(10, 3, id="a little")]
)
def test_a_copy_catches_up_with_a_replica_that_is_written_to_in_every_turn(
    start: Any, tmp_path: Path, size: int, per_turn: int
) -> None:
    """A replica that had grown by as much as a piece, or at all, whenever its copy was looked at, was never moved."""
    client = (broker := start()).connect()
    client.create_topic("t")
    for _ in range(10):
        client.produce("t", batch(bytes(400_000), key=None))
    there = other_than(broker, "t", tmp_path)
    made: list[Load] = []

    async def load(app: Any) -> bool:
        assert app.context.log_dir_moves.ask({TopicPartition("t", 0): str(there)}) == {TopicPartition("t", 0): None}
        made.append(Load(app, "t", batch(bytes(size), key=None), per_turn=per_turn))
        return await made[0].run(most_turns=50)

    assert broker.run(load)
    assert made[0].ends == list(range(10, 10 + per_turn * made[0].turns))
    assert broker.call(lambda app: app.context.replicas.get("t", 0).log.log_end_offset) == made[0].ends[-1] + 1
    offset = 0
    while offset <= made[0].ends[-1]:
        for record in records_in(client.fetch("t", offset).records):
            assert (record.offset, len(record.value)) == (offset, 400_000 if offset < 10 else size)
            offset += 1
    assert client.produce("t", batch(b"after")).base_offset == offset


def test_a_replica_that_is_always_being_flushed_is_moved_and_every_flush_is_told(start: Any, tmp_path: Path) -> None:
    """It was waited for until none of its flushes was at work, which under flush.messages was never."""
    client = (broker := start()).connect()
    client.create_topic("t", flush_messages="1")
    there = other_than(broker, "t", tmp_path)

    async def load(app: Any) -> tuple[bool, int, int]:
        partition, flusher = app.context.replicas.get("t", 0), app.context.flusher
        before = partition.log.log_dir

        async def produce() -> int:
            for count in range(500):
                if partition.log.log_dir is not before:
                    return count
                data = bytearray(batch(b"x"))
                partition.append_as_leader(data, 0, len(data), required_acks=1, now_ms=app.context.clock.now_ms())
                await flusher.flushed(partition, partition.log.log_end_offset)
            return 500

        # In the midst of the flush of one the next is asked for.
        producers = [asyncio.ensure_future(produce()) for _ in range(4)]
        await asyncio.sleep(0)
        assert app.context.log_dir_moves.ask({TopicPartition("t", 0): str(there)}) == {TopicPartition("t", 0): None}
        counts = await asyncio.gather(*producers)
        return partition.log.log_dir is not before, sum(counts), partition.log.recovery_point

    is_moved, appended, recovery_point = broker.run(load)
    assert is_moved
    assert appended == recovery_point
    assert client.produce("t", batch(b"after")).base_offset == appended


def test_the_last_piece_is_copied_at_the_rate_too(start_broker: StartBroker, tmp_path: Path) -> None:
    """Many small replicas, each of which is but a last piece, would go all at once."""
    clock = ManualClock()
    overrides = {
        "log.dirs": f"{tmp_path / 'a'},{tmp_path / 'b'}",
        "replica.alter.log.dirs.io.max.bytes.per.second": "25000",
    }
    client = (broker := start_broker(overrides=overrides, clock=clock)).connect()
    client.create_topic("t", partitions=16)
    for partition in range(16):
        client.produce("t", batch(bytes(10_000)), partition=partition)
    there = str(tmp_path / "a")
    to_move = partitions_outside(broker, there, 16)
    assert len(to_move) == 8

    def moved(app: Any) -> int:
        return sum(app.context.replicas.get("t", n).log.log_dir.path == there for n in to_move)

    def is_counted(app: Any) -> bool:
        return bool(app.context.log_dir_moves.pace.quota.measured(clock.monotonic_ms()) > 25_000)

    ask(broker, to_move, there)
    # Two are copied at a time, and what one of them copies tells the other only when it is done.
    for most in (4, 8):
        broker.wait_for(is_counted)
        assert broker.call(moved) <= most
        clock.advance(seconds=60)
    broker.wait_for(lambda app: moved(app) == 8)


def partitions_outside(broker: Broker, directory: str, count: int) -> list[int]:
    return broker.call(
        lambda app: [n for n in range(count) if app.context.replicas.get("t", n).log.log_dir.path != directory]
    )


def ask(broker: Broker, partitions: list[int], directory: str) -> None:
    wishes = {TopicPartition("t", n): directory for n in partitions}
    assert broker.call(lambda app: app.context.log_dir_moves.ask(wishes)) == dict.fromkeys(wishes)


def test_as_many_replicas_are_copied_at_a_time_as_there_are_directories(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that were asked for were copied in turns: none was there before almost all were."""
    for name, value in (("PIECE", 1000), ("TAIL", 0), ("TURN_S", 0.0)):
        monkeypatch.setattr(replica_move, name, value)
    copied: list[int] = []

    def note(copy: Any, *args: Any, **kwargs: Any) -> int:
        copied.append(copy.topic_partition.partition)
        return append_some(copy, *args, **kwargs)

    monkeypatch.setattr(replica_move, "append_some", note)
    client = (broker := start()).connect()
    client.create_topic("t", partitions=8)
    for partition in range(8):
        for _ in range(10):
            client.produce("t", batch(bytes(1000)), partition=partition)
    there = str(tmp_path / "a")
    to_move = partitions_outside(broker, there, 8)
    ask(broker, to_move, there)
    broker.wait_for(lambda app: not app.context.replicas.logs.moves.futures)
    assert len(copied) == 10 * len(to_move)
    at_work = [{n for n in to_move if n in copied[: index + 1] and n in copied[index:]} for index in range(len(copied))]
    assert max(map(len, at_work)) == 2


def test_of_a_replica_that_has_to_wait_to_be_moved_each_byte_is_counted_once(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was left was counted at each attempt to take it over, and the rate was less than it might be."""
    client = (broker := start(replica_alter_log_dirs_io_max_bytes_per_second=str(1 << 50))).connect()
    client.create_topic("t")
    client.produce("t", batch(bytes(1000), key=None))
    there = other_than(broker, "t", tmp_path)
    counted: list[int] = []

    async def move_what_is_being_flushed(app: Any) -> bool:
        moves, logs = app.context.log_dir_moves, app.context.replicas.logs
        partition = app.context.replicas.get("t", 0)
        monkeypatch.setattr(replica_move, "RETRY_S", 0)
        monkeypatch.setattr(moves.pace.quota, "record", lambda size, monotonic_ms: counted.append(size))
        source = partition.log
        logs.flushing.add(source)
        moves.ask({TopicPartition("t", 0): str(there)})
        is_moved = await Load(app, "t", batch(bytes(1000), key=None), per_turn=1).run(most_turns=20)
        logs.flushing.remove(source)
        return is_moved

    assert not broker.run(move_what_is_being_flushed)
    broker.wait_for(lambda app: directory_of(app, "t") == str(there))
    assert broker.call(lambda app: app.context.replicas.get("t", 0).log.size_in_bytes) == sum(counted)


def test_a_replica_whose_records_are_deleted_while_its_tail_is_brought_in_is_moved(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was left to be brought in, and this was looked for over and over."""
    client = (broker := start()).connect()
    client.create_topic("t")
    client.produce("t", batch(b"a"))
    there = other_than(broker, "t", tmp_path)
    asked: list[bool] = []

    def is_cold_once(source: Any, copy: Any, **options: Any) -> int:
        asked.append("wait" in options)
        if asked.count(True) == 1 and asked[-1]:
            source.maybe_increment_log_start_offset(1)
            raise NotCachedError("not in the page cache")
        return bytes_behind(source, copy, **options)

    monkeypatch.setattr(replica_move, "bytes_behind", is_cold_once)
    ask(broker, [0], str(there))
    broker.wait_for(lambda app: directory_of(app, "t") == str(there))
    assert client.produce("t", batch(b"b")).base_offset == 1
    assert client.values("t", 1) == [b"b"]


@pytest.mark.parametrize("what", ["its topic is deleted", "it is cut", "it is wanted where it was", "it grows"])
def test_whatever_becomes_of_a_replica_while_its_copy_is_flushed_at_the_end(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    client = (broker := start()).connect()
    client.create_topic("t")
    for value in (b"a", b"b", b"c"):
        client.produce("t", batch(value, key=None))
    here = Path(broker.call(lambda app: directory_of(app, "t")))
    there = other_than(broker, "t", tmp_path)
    is_at_work, may_end = asyncio.Event(), asyncio.Event()
    flush = ReplicaMove._flush_all

    async def flush_slowly(self: ReplicaMove, copy: Any) -> None:
        is_at_work.set()
        await may_end.wait()
        await flush(self, copy)

    monkeypatch.setattr(ReplicaMove, "_flush_all", flush_slowly)
    # So that the copy has to be flushed, too.
    broker.call(lambda app: app.context.replicas.get("t", 0).log.flush(now_ms=app.context.clock.now_ms()))
    ask(broker, [0], str(there))
    broker.wait_for(lambda app: is_at_work.is_set())
    expected, values = there, [b"a", b"b", b"c"]
    if what == "its topic is deleted":
        client.ask(DeleteTopicsRequest(topic_names=["t"], timeout_ms=10_000), 4)
    elif what == "it is cut":
        broker.call(lambda app: app.context.replicas.get("t", 0).log.truncate_to(2, now_ms=app.context.clock.now_ms()))
        del values[2]
    elif what == "it is wanted where it was":
        ask(broker, [0], str(here))
        expected = here
    else:
        client.produce("t", batch(b"d", key=None))
        values.append(b"d")
    broker.call(lambda app: may_end.set())
    broker.wait_for(lambda app: not app.context.log_dir_moves._copying)
    assert broker.call(lambda app: app.context.replicas.logs.moves.futures) == {}
    assert broker.call(lambda app: app.context.replicas.logs.take_failed_dirs()) == {}
    assert "copying t-0" not in caplog.text
    if what == "its topic is deleted":
        assert not list(tmp_path.glob("?/t-0"))
        return
    assert broker.call(lambda app: directory_of(app, "t")) == str(expected)
    assert client.values("t") == values
    assert [path.parent for path in tmp_path.glob("?/t-0")] == [expected]


@pytest.mark.parametrize("end_offset", [0, 5])
def test_of_a_replica_without_records_the_topic_id_is_durable_before_it_is_moved(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end_offset: int
) -> None:
    """It was on the disk of the directory that is left, and a power loss might tear it in the other."""
    (broker := start()).connect().create_topic("t")
    there = other_than(broker, "t", tmp_path)
    broker.call(
        lambda app: app.context.replicas.get("t", 0).log.truncate_fully_and_start_at(
            end_offset, now_ms=app.context.clock.now_ms()
        )
    )
    complete = LogMoves.complete
    is_durable: list[bool] = []

    def look(moves: LogMoves, key: TopicPartition, now_ms: int) -> Any:
        is_durable.append(moves.futures[key].begin_prepare() is None)
        return complete(moves, key, now_ms)

    monkeypatch.setattr(LogMoves, "complete", look)
    ask(broker, [0], str(there))
    broker.wait_for(lambda app: directory_of(app, "t") == str(there))
    assert is_durable == [True]
