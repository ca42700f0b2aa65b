"""AlterReplicaLogDirs on a live broker: a replica moves while it is written to and read from."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kstore.clock import ManualClock
from kstore.protocol.messages.alter_replica_log_dirs import AlterReplicaLogDirsRequest
from kstore.protocol.messages.describe_log_dirs import DescribeLogDirsRequest
from kstore.server import log_dir_moves
from kstore.server.log_dir_moves import LogDirMoves
from tests.fix_broker import Broker, Client, StartBroker, batch

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


def test_a_replica_that_ends_in_a_gap_leaves_the_loop_to_others_and_moves_with_its_next_record(
    start: Any, tmp_path: Path
) -> None:
    """Nothing could be read at the copy's end, and the loop did nothing else any more."""
    client = (broker := start()).connect()
    client.create_topic("t")
    client.produce("t", batch(b"a"))
    there = other_than(broker, "t", tmp_path)

    def leave_a_gap(app: Any) -> None:
        log = app.context.replicas.get("t", 0).log
        log.log_end_offset = 5
        log.roll(now_ms=app.context.clock.now_ms())
        log.update_high_watermark(5)

    broker.call(leave_a_gap)
    assert move(client, "t", there) == NONE
    broker.wait_for(lambda app: any(log.log_end_offset for log in app.context.replicas.logs.moves.futures.values()))
    assert client.produce("t", batch(b"b")).base_offset == 5
    broker.wait_for(lambda app: directory_of(app, "t") == str(there))
    assert client.values("t", 5) == [b"b"]


@pytest.mark.parametrize("step_ms", [-3_600_000, 3_600_000])
def test_a_clock_that_is_set_makes_copying_no_slower_and_no_faster(
    monkeypatch: pytest.MonkeyPatch, step_ms: int
) -> None:
    monkeypatch.setattr(log_dir_moves, "RETRY_S", 0)
    clock = ManualClock()
    config = SimpleNamespace(
        alter_log_dirs_replication_quota_window_num=11,
        alter_log_dirs_replication_quota_window_size_seconds=1,
        replica_alter_log_dirs_io_max_bytes_per_second=1000,
    )
    context: Any = SimpleNamespace(clock=clock, config=config)

    async def copy() -> None:
        waits = asyncio.ensure_future(LogDirMoves(context)._keep_to_rate(10_000))
        for step in (0, step_ms):
            clock.step_wall(step)
            for _ in range(5):
                await asyncio.sleep(0)
            assert not waits.done()
        clock.advance(seconds=10)
        await asyncio.wait_for(waits, 30)

    asyncio.run(copy())
