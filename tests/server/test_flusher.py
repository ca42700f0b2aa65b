"""Flushes that answers wait for: each is told when it is over, whoever comes meanwhile."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kstore.log.partition_log import PartitionLog
from kstore.replica.log_copy import append_some
from kstore.server.app import App
from tests.fix_broker import StartBroker, batch, produce_request


def test_who_comes_when_a_flush_has_just_ended_has_one_of_its_own(
    start_broker: StartBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited for the one that was over, which is no wait, and the loop never came to anything else: a few producers
    under flush.messages stopped the whole broker."""
    broker = start_broker()
    broker.connect().create_topic("t")
    complete = PartitionLog.complete_flush
    others: list[asyncio.Task[None]] = []

    async def run(app: App) -> list[int]:
        partition = app.context.replicas.get("t", 0)

        def append() -> int:
            records = bytearray(batch(b"x"))
            partition.append_as_leader(records, 0, len(records), required_acks=1, now_ms=app.clock.now_ms())
            return partition.log.log_end_offset

        def complete_and_let_another_in(log: PartitionLog, *arguments: Any, **options: Any) -> None:
            complete(log, *arguments, **options)
            if len(others) < 5:
                others.append(asyncio.ensure_future(app.context.flusher.flushed(partition, append())))

        monkeypatch.setattr(PartitionLog, "complete_flush", complete_and_let_another_in)
        await app.context.flusher.flushed(partition, append())
        points = [partition.log.recovery_point]
        for other in others:
            await other
            points.append(partition.log.recovery_point)
        assert not app.context.flusher._running
        return points

    assert broker.run(run) == [1, 2, 3, 4, 5, 6]


def test_many_producers_that_wait_for_the_disk_are_all_answered(start_broker: StartBroker) -> None:
    broker = start_broker()
    clients = [broker.connect() for _ in range(4)]
    clients[0].create_topic("t", flush_messages="1")
    for _ in range(100):
        for client in clients:
            client.send(produce_request({("t", 0): batch(b"x")}), 9)
        for client in clients:
            assert client.receive().responses[0].partition_responses[0].error_code == 0
    assert broker.call(lambda app: app.context.replicas.get("t", 0).log.recovery_point) == 400


def test_what_a_follower_holds_is_durable_when_its_flush_is_over(start_broker: StartBroker) -> None:
    broker = start_broker()
    broker.connect().create_topic("t")

    async def run(app: App) -> tuple[int, int]:
        partition = app.context.replicas.get("t", 0)
        records = bytearray(batch(b"x"))
        partition.append_as_leader(records, 0, len(records), required_acks=1, now_ms=app.clock.now_ms())
        partition.become_follower(leader_id=9, epoch=partition.leader_epoch + 1)
        before = partition.log.recovery_point
        await app.context.flusher.follower_flushed(partition)
        return before, partition.log.recovery_point

    assert broker.run(run) == (0, 1)


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_flush_that_is_held_back_begins_afterwards_and_where_the_replica_moved_to(
    start_broker: StartBroker, tmp_path: Path, role: str
) -> None:
    broker = start_broker(overrides={"log.dirs": f"{tmp_path / 'a'},{tmp_path / 'b'}"})
    broker.connect().create_topic("t")

    async def run(app: App) -> tuple[list[int], list[int]]:
        partition, logs, flusher = app.context.replicas.get("t", 0), app.context.replicas.logs, app.context.flusher
        key, source, now_ms = partition.topic_partition, partition.log, app.clock.now_ms()
        records = bytearray(batch(b"x"))
        partition.append_as_leader(records, 0, len(records), required_acks=1, now_ms=now_ms)
        if role == "follower":
            partition.become_follower(leader_id=9, epoch=partition.leader_epoch + 1)
        async with flusher.held(source):
            waits = asyncio.ensure_future(
                flusher.flushed(partition, 1) if role == "leader" else flusher.follower_flushed(partition)
            )
            for _ in range(5):
                await asyncio.sleep(0)
            assert not flusher._running
            there = next(each.path for each in logs.dirs if each is not source.log_dir)
            copy = logs.moves.begin(key, there, now_ms)
            assert copy is not None
            append_some(copy, memoryview(records), most=len(records), high_watermark=0, now_ms=now_ms)
            partition.move_to(logs.moves.complete(key, now_ms))
            before = [source.recovery_point, partition.log.recovery_point]
        await waits
        return before, [source.recovery_point, partition.log.recovery_point]

    assert broker.run(run) == ([0, 0], [0, 1])
