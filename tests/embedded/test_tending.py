"""What a log in a program does beside appends and reads: flushes that show records, compaction when it is due."""

import asyncio
from pathlib import Path

import pytest

import kstore
from kstore.log.cleaner.cleaning import Cleaning

NOW = 1_700_000_000_000


def fill(log: kstore.Log, count: int = 200) -> None:
    for number in range(count):
        log.append(b"%d" % number, key=b"k%d" % (number % 3))


def test_what_an_append_has_made_durable_is_there_to_be_read(tmp_path: Path) -> None:
    """With flush_messages a record was seen when the next one came, and no append that expects an offset went well."""
    with kstore.Log.open(tmp_path, background=False, flush_messages=1) as log:
        for number in range(3):
            assert log.append(b"%d" % number, expected_offset=log.end_offset) == number
            assert (log.flushed_offset, log.end_offset) == (number + 1, number + 1)
        assert [record.value for record in log.read(0)] == [b"0", b"1", b"2"]
        assert [record.value for record in log.follow(0, timeout_s=0)] == [b"0", b"1", b"2"]


def test_a_store_shows_what_it_has_made_durable(tmp_path: Path) -> None:
    with kstore.LogStore.open(tmp_path, background=False) as store:
        store.create("t", flush_messages=2)
        log = store.log("t")
        log.append(b"0")
        assert log.end_offset == 1
        log.append(b"1")
        assert (log.flushed_offset, log.end_offset) == (2, 2)


def test_tasks_that_flush_as_others_end_come_to_their_end(tmp_path: Path) -> None:
    """One that came when a flush had just ended waited for it for ever, without a turn for anybody else."""

    async def one(log: kstore.AsyncLog, number: int) -> None:
        for _ in range(20):
            await log.append(b"%d" % number)
            await log.flush()

    async def main() -> None:
        async with await kstore.AsyncLog.open(tmp_path, background=False) as log:
            await asyncio.wait_for(asyncio.gather(*(one(log, number) for number in range(8))), 60)
            assert log.flushed_offset == log.end_offset == 160

    asyncio.run(main())


def test_opening_compacts_nothing(tmp_path: Path) -> None:
    """A log that was large and dirty was not there before all of it was clean."""
    with kstore.Log.open(tmp_path, background=False, cleanup_policy="compact", segment_bytes=1000) as log:
        fill(log)
        before = log.size_in_bytes
    with kstore.Log.open(tmp_path, background=False, cleanup_policy="compact", segment_bytes=1000) as log:
        assert log.size_in_bytes == before
        log.tend()
        assert log.size_in_bytes < before


def test_an_interrupt_ends_a_cleaning_and_not_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log stayed in the hands of a cleaning that was no more: nothing was compacted, nor deleted, from then on."""
    clock = kstore.ManualClock(NOW)
    with kstore.LogStore.open(tmp_path, clock=clock, background=False) as store:
        for name in ("a", "b"):
            store.create(name, cleanup_policy="compact", segment_bytes=1000)
            fill(store.log(name))
        logs = [store.log("a"), store.log("b")]
        store.flush()
        clock.advance(seconds=20)

        def interrupted(cleaning: Cleaning) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Cleaning, "next_slice", interrupted)
            with pytest.raises(KeyboardInterrupt):
                store.tend()
        before = [log.size_in_bytes for log in logs]
        clock.advance(seconds=20)
        store.tend()
        assert all(log.size_in_bytes < count for log, count in zip(logs, before, strict=True))
