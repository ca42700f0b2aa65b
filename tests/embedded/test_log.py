"""A log in a directory of its own: what is appended is read, by whom, from where, and what outlives what."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import kstore
from kstore._native.batch import RecordBatch, iter_batches
from kstore.log.flush import FlushJob
from tests.embedded.programs import run_program

NOW = 1_700_000_000_000


@pytest.fixture
def log(tmp_path: Path) -> Iterator[kstore.Log]:
    with kstore.Log.open(tmp_path / "events", background=False) as log:
        yield log


def values(log: kstore.Log, *where: int) -> list[bytes | None]:
    return [record.value for record in log.read(*where)]


# --- append and read ---


def test_a_record_is_read_as_it_was_appended(log: kstore.Log) -> None:
    offset = log.append(b"value", key=b"k", headers=[("trace", b"1"), ("trace", None)], timestamp_ms=NOW)
    (record,) = log.read(offset)
    assert (record.offset, record.timestamp_ms, record.key, record.value) == (0, NOW, b"k", b"value")
    assert list(record.headers) == [("trace", b"1"), ("trace", None)]


def test_headers_may_be_a_mapping_and_keep_its_order(log: kstore.Log) -> None:
    log.append(b"", headers={"b": b"1", "a": b"2"})
    assert list(next(log.read()).headers) == [("b", b"1"), ("a", b"2")]


def test_offsets_count_from_zero_and_the_end_is_the_next_one(log: kstore.Log) -> None:
    assert [log.append(b"%d" % i) for i in range(3)] == [0, 1, 2]
    assert (log.start_offset, log.end_offset) == (0, 3)


def test_a_record_gets_the_time_of_the_clock(tmp_path: Path) -> None:
    clock = kstore.ManualClock(NOW)
    with kstore.Log.open(tmp_path, clock=clock, background=False) as log:
        log.append(b"a")
        clock.advance(5)
        log.append(b"b")
        assert [record.timestamp_ms for record in log.read()] == [NOW, NOW + 5]


def test_null_keys_and_values_are_not_empty_ones(log: kstore.Log) -> None:
    log.append(None, key=b"")
    log.append(b"", key=None)
    assert [(record.key, record.value) for record in log.read()] == [(b"", None), (None, b"")]


def test_text_is_refused_for_it_has_no_bytes_of_its_own(log: kstore.Log) -> None:
    with pytest.raises(TypeError, match="bytes, not str"):
        log.append("text")  # type: ignore[arg-type]
    assert log.end_offset == 0


def test_any_buffer_is_a_value(log: kstore.Log) -> None:
    log.append(memoryview(b"-view-")[1:-1], key=bytearray(b"key"))
    (record,) = log.read()
    assert (record.key, record.value) == (b"key", b"view")


def test_reading_begins_within_a_batch_and_ends_within_one(log: kstore.Log) -> None:
    log.extend([b"0", b"1", b"2"])
    log.extend([b"3", b"4", b"5"])
    assert values(log, 1, 5) == [b"1", b"2", b"3", b"4"]


def test_reading_ends_where_the_log_ended_when_it_began(log: kstore.Log) -> None:
    log.append(b"first")
    seen = []
    for record in log.read():
        seen.append(record.value)
        log.append(b"another")
    assert seen == [b"first"]


def test_offsets_that_are_not_there_are_refused_at_once(log: kstore.Log) -> None:
    log.append(b"only")
    for offset in (-1, 2):
        with pytest.raises(kstore.OffsetOutOfRangeError, match=rf"offset {offset} is not in \[0, 1\]"):
            log.read(offset)
    assert values(log, 1) == []


def test_more_than_one_piece_is_read_to_the_end(log: kstore.Log) -> None:
    sizes = [(i * 7919) % 50_000 for i in range(200)]
    for size in sizes:
        log.append(bytes(size))
    assert [len(record.value or b"") for record in log.read()] == sizes


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_each_codec_gives_back_what_it_took(tmp_path: Path, compression: str) -> None:
    with kstore.Log.open(tmp_path, compression=compression, background=False) as log:
        log.extend(b"value" * 100 for _ in range(100))
        assert values(log) == [b"value" * 100] * 100
        assert (log.size_in_bytes < 20_000) == (compression != "none")


def test_a_codec_that_is_none_is_named_beside_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(kstore.InvalidConfigError, match="'brotli' is not one of none, gzip, snappy, lz4, zstd"):
        kstore.Log.open(tmp_path, compression="brotli")


# --- several at once, and the expected offset ---


def test_extend_writes_one_batch_and_tells_the_offsets(log: kstore.Log) -> None:
    log.append(b"0")
    assert log.extend([b"1", kstore.Message(b"2", key=b"k", headers={"h": b"v"}, timestamp_ms=NOW)]) == range(1, 3)
    assert [batch.count for batch in log.read_batches()] == [1, 2]
    last = list(log.read())[-1]
    assert (last.key, last.value, last.timestamp_ms, list(last.headers)) == (b"k", b"2", NOW, [("h", b"v")])


def test_records_of_another_log_can_be_taken_over(log: kstore.Log, tmp_path: Path) -> None:
    log.extend([kstore.Message(b"a", key=b"k", headers=[("h", None)], timestamp_ms=NOW), b"b"])
    with kstore.Log.open(tmp_path / "copy", background=False) as copy:
        copy.extend(log.read())
        assert list(copy.read()) == list(log.read())


def test_extend_by_nothing_changes_nothing(log: kstore.Log) -> None:
    log.append(b"0")
    assert log.extend([]) == range(1, 1)
    assert log.end_offset == 1


def test_a_batch_with_a_bad_record_leaves_nothing(log: kstore.Log) -> None:
    with pytest.raises(TypeError):
        log.extend([b"good", "bad"])  # type: ignore[list-item]
    assert log.end_offset == 0


def test_who_comes_second_to_an_expected_offset_is_told_so(log: kstore.Log) -> None:
    assert log.append(b"first", expected_offset=0) == 0
    with pytest.raises(kstore.OffsetConflictError, match="goes on at offset 1, not at 0") as caught:
        log.append(b"second", expected_offset=0)
    assert (caught.value.expected, caught.value.actual) == (0, 1)
    assert values(log) == [b"first"]


def test_a_record_that_is_too_large_is_refused_and_the_next_is_not(tmp_path: Path) -> None:
    with kstore.Log.open(tmp_path, background=False, max_message_bytes=1000) as log:
        with pytest.raises(kstore.MessageTooLargeError):
            log.append(bytes(1000))
        log.append(b"small")
        assert values(log) == [b"small"]


# --- batches ---


def test_batches_are_views_of_what_lies_in_the_file(log: kstore.Log) -> None:
    log.extend([b"0", b"1"])
    log.append(b"2")
    log.flush()
    seen = b"".join(memoryview(batch) for batch in log.read_batches())
    assert seen == next(Path(log.path).glob("*.log")).read_bytes()
    assert all(memoryview(batch).readonly for batch in log.read_batches())


def test_a_batch_is_read_without_its_records(log: kstore.Log) -> None:
    log.extend([b"0", b"1"])
    (batch,) = log.read_batches(1)
    assert (batch.base_offset, batch.last_offset, batch.count) == (0, 1, 2)
    assert RecordBatch(memoryview(batch)).crc == batch.crc


def test_damage_is_told_and_never_served(log: kstore.Log) -> None:
    log.append(b"good")
    log.append(b"value")
    (segment,) = Path(log.path).glob("*.log")
    content = bytearray(segment.read_bytes())
    content[-2] ^= 1
    segment.write_bytes(content)
    reading = log.read()
    assert next(reading).value == b"good"
    with pytest.raises(kstore.CorruptRecordError):
        next(reading)


# --- time ---


def test_a_time_leads_to_the_first_record_that_is_not_older(log: kstore.Log) -> None:
    for i in range(10):
        log.append(b"%d" % i, timestamp_ms=NOW + 10 * i)
    assert log.offset_for_timestamp(NOW + 35) == 4
    assert log.offset_for_timestamp(0) == 0
    assert log.offset_for_timestamp(NOW + 91) is None
    with pytest.raises(ValueError, match="before 1970"):
        log.offset_for_timestamp(-1)


# --- letting go ---


def test_what_lies_before_an_offset_can_be_let_go(log: kstore.Log) -> None:
    log.extend([b"0", b"1", b"2"])
    assert log.delete_before(2) == 2
    assert values(log) == [b"2"]
    with pytest.raises(kstore.OffsetOutOfRangeError):
        log.read(1)
    with pytest.raises(kstore.OffsetOutOfRangeError):
        log.delete_before(4)


def test_the_end_can_be_cut_off(log: kstore.Log) -> None:
    for i in range(4):
        log.append(b"%d" % i)
    assert log.truncate_to(2) == 2
    assert values(log) == [b"0", b"1"]
    assert log.append(b"new") == 2


def test_a_batch_that_is_cut_goes_whole_and_stays_gone(tmp_path: Path) -> None:
    with kstore.Log.open(tmp_path) as log:
        log.append(b"0")
        log.extend([b"1", b"2", b"3"])
        assert log.truncate_to(3) == 1
        for offset in (-1, 2):
            with pytest.raises(kstore.OffsetOutOfRangeError):
                log.truncate_to(offset)
    with kstore.Log.open(tmp_path) as log:
        assert log.end_offset == 1
        log.extend([b"a", b"b"])
        log.delete_before(2)
        assert log.truncate_to(2) == 2
        assert log.append(b"c") == 2


def test_nothing_is_deleted_unless_the_options_say_so(tmp_path: Path) -> None:
    clock = kstore.ManualClock(NOW)
    for options, kept in (({}, 3), ({"retention_ms": 1000}, 0)):
        with kstore.Log.open(tmp_path / str(kept), clock=clock, background=False, **options) as log:  # type: ignore[arg-type]
            log.extend([b"0", b"1", b"2"])
            clock.advance(365 * 86_400_000)
            log.tend()
            assert len(list(log.read())) == kept


def test_retention_needs_no_server(tmp_path: Path) -> None:
    clock = kstore.ManualClock(NOW)
    with kstore.Log.open(tmp_path, clock=clock, background=False, segment_bytes=2000, retention_bytes=5000) as log:
        for _ in range(100):
            log.append(bytes(500))
        clock.advance(300_001)
        log.tend()
        assert 5000 <= log.size_in_bytes < 9000
        assert log.start_offset == log.end_offset - len(list(log.read()))


def test_compaction_needs_no_server(tmp_path: Path) -> None:
    clock = kstore.ManualClock(NOW)
    with kstore.Log.open(tmp_path, clock=clock, background=False, cleanup_policy="compact", segment_bytes=2000) as log:
        for i in range(200):
            log.append(b"%d" % i, key=b"%d" % (i % 3))
        clock.advance(hours=1)
        log.tend()
        left = list(log.read())
        assert len(left) < 40
        assert {record.key: record.value for record in left} == {b"0": b"198", b"1": b"199", b"2": b"197"}


def test_an_option_that_is_none_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(kstore.InvalidConfigError, match=r"retention_mms: .* did you mean retention_ms\?"):
        kstore.Log.open(tmp_path, retention_mms=1)  # type: ignore[call-arg]
    with pytest.raises(kstore.InvalidConfigError, match=r"segment\.bytes: '1' is not an int, 14 or more"):
        kstore.Log.open(tmp_path, segment_bytes=1)


# --- closing, opening again ---


def test_what_was_appended_is_there_after_close_and_open(tmp_path: Path) -> None:
    with kstore.Log.open(tmp_path) as log:
        log.append(b"value")
    with kstore.Log.open(tmp_path) as log:
        assert values(log) == [b"value"]
        assert log.append(b"next") == 1


def test_the_start_that_was_moved_stays_moved(tmp_path: Path) -> None:
    with kstore.Log.open(tmp_path) as log:
        log.extend([b"0", b"1", b"2"])
        log.delete_before(2)
    with kstore.Log.open(tmp_path) as log:
        assert values(log) == [b"2"]


def test_a_closed_log_raises_whatever_is_asked(tmp_path: Path) -> None:
    log = kstore.Log.open(tmp_path)
    log.append(b"value")
    reading = log.read()
    log.close()
    log.close()
    for use in (lambda: log.append(b""), log.flush, log.read, lambda: log.end_offset, log.tend, lambda: next(reading)):
        with pytest.raises(kstore.ClosedError, match="is closed"):
            use()
    with pytest.raises(kstore.ClosedError), log:
        pass


def test_a_log_that_is_forgotten_warns_and_lets_go_of_its_directory(tmp_path: Path) -> None:
    with pytest.warns(ResourceWarning, match="was not closed"):
        kstore.Log.open(tmp_path).append(b"value")
    with kstore.Log.open(tmp_path) as log:
        assert values(log) == [b"value"]


def test_a_log_that_outlives_the_program_says_no_word_about_imports(tmp_path: Path) -> None:
    ended = run_program(
        "import builtins, kstore, sys\nbuiltins.kept = kstore.Log.open(sys.argv[1])\nkept.append(b'value')", tmp_path
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_log_in_memory_leaves_nothing(tmp_path: Path) -> None:
    with kstore.Log.open(None) as log:
        directory = Path(log.path).parent
        log.append(b"value")
        log.flush()
        assert values(log) == [b"value"]
        assert directory.is_dir()
    assert not directory.exists()


def test_what_a_killed_process_left_in_memory_is_swept(tmp_path: Path) -> None:
    left = run_program(
        "import kstore, os, signal\n"
        "log = kstore.Log.open(None)\n"
        "print(os.path.dirname(log.path), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    directory = Path(left.stdout.strip())
    assert left.returncode == -signal.SIGKILL
    assert directory.is_dir()
    with kstore.Log.open(None) as other:
        assert not directory.exists()
        with kstore.Log.open(None):
            other.append(b"still here")


def test_a_killed_process_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    run_program(
        "import kstore, os, signal, sys\n"
        "log = kstore.Log.open(sys.argv[1])\n"
        "for i in range(1000): log.append(b'%d' % i)\n"
        "os.kill(os.getpid(), signal.SIGKILL)",
        tmp_path,
    )
    with kstore.Log.open(tmp_path) as log:
        assert values(log) == [b"%d" % i for i in range(1000)]


# --- who has it ---


def test_a_log_that_is_open_elsewhere_says_by_whom(tmp_path: Path) -> None:
    program = "import kstore, sys; log = kstore.Log.open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(kstore.DirectoryInUseError, match=rf"process {holder.pid} \(\w+") as caught:
            kstore.Log.open(tmp_path)
        assert caught.value.pid == holder.pid
        holder.communicate()


def test_a_log_that_this_process_has_open_says_so(tmp_path: Path) -> None:
    with kstore.Log.open(tmp_path) as log:
        with pytest.raises(kstore.DirectoryInUseError, match="this process uses") as caught:
            kstore.Log.open(tmp_path)
        assert caught.value.pid == os.getpid()
        log.append(b"and goes on")


def test_directories_that_are_no_single_log_are_refused(tmp_path: Path) -> None:
    with kstore.Log.open(tmp_path / "one") as log:
        path = log.path
    with pytest.raises(kstore.ConfigError, match="is a partition of the log directory"):
        kstore.Log.open(path)
    (tmp_path / "two" / "a-0").mkdir(parents=True)
    (tmp_path / "two" / "b-0").mkdir()
    with pytest.raises(kstore.ConfigError, match="holds 2 logs"):
        kstore.Log.open(tmp_path / "two")


def test_a_forked_child_is_refused_and_the_parent_is_not_disturbed(tmp_path: Path) -> None:
    done = run_program(
        """
import os, sys, kstore
log = kstore.Log.open(sys.argv[1], background=False)
log.append(b"parent")
child = os.fork()
if not child:
    try:
        log.append(b"child")
    except kstore.ForkedError as error:
        print(f"child: {error}", flush=True)
    try:
        kstore.Log.open(sys.argv[1])
    except kstore.DirectoryInUseError as error:
        print(error.pid == os.getppid(), flush=True)
    log.close()
    os._exit(0)
os.waitpid(child, 0)
log.append(b"parent again")
log.close()
with kstore.Log.open(sys.argv[1]) as log:
    print([record.value for record in log.read()])
""",
        tmp_path,
    )
    told, holder, found = done.stdout.splitlines()
    assert "from which this one" in told
    assert holder == "True"
    assert found == "[b'parent', b'parent again']"


# --- threads ---


def test_threads_share_a_log(tmp_path: Path) -> None:
    with kstore.Log.open(tmp_path, segment_bytes=20_000) as log:
        offsets: list[list[int]] = [[] for _ in range(4)]

        def work(number: int) -> None:
            for i in range(300):
                offsets[number].append(log.append(b"%d-%d" % (number, i)))
                if i % 100 == 0:
                    log.flush()
                    list(log.read())

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(offset for own in offsets for offset in own) == list(range(1200))
        found = {record.offset: record.value for record in log.read()}
        for number, own in enumerate(offsets):
            assert [found[offset] for offset in own] == [b"%d-%d" % (number, i) for i in range(300)]


def test_threads_that_flush_together_share_an_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, release = threading.Event(), threading.Event()
    runs = []
    run = FlushJob.run

    def slow(job: FlushJob) -> None:
        runs.append(job.offset)
        entered.set()
        assert release.wait(30)
        run(job)

    with kstore.Log.open(tmp_path, background=False) as log:
        log.append(b"0")
        log.flush()
        monkeypatch.setattr(FlushJob, "run", slow)
        log.append(b"1")
        threads = [threading.Thread(target=log.flush)]
        threads[0].start()
        assert entered.wait(30)
        for i in range(5):
            log.append(b"%d" % i)
            threads.append(threading.Thread(target=log.flush))
            threads[-1].start()
        assert values(log, 5, 6) == [b"3"]  # nobody waits for the disk but those who flush
        release.set()
        for thread in threads:
            thread.join()
        assert runs[0] == 2
        assert runs[-1] == 7
        assert len(runs) <= 3
        assert log.flushed_offset == 7
        monkeypatch.undo()


def test_flush_messages_makes_each_append_durable(tmp_path: Path) -> None:
    with kstore.Log.open(tmp_path, background=False, flush_messages=1) as log:
        log.append(b"value")
        assert log.flushed_offset == 1


def test_flush_ms_is_kept_by_the_background_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kstore.embedded.host.TEND_SECONDS", 0.01)
    with kstore.Log.open(tmp_path, flush_ms=1) as log:
        log.append(b"value")
        deadline = time.monotonic() + 30
        while log.flushed_offset < 1:
            assert time.monotonic() < deadline


# --- follow ---


def test_follow_gives_what_is_there_and_what_comes(log: kstore.Log) -> None:
    log.append(b"0")
    following = log.follow(0)
    assert next(following).value == b"0"
    threading.Timer(0.01, lambda: log.extend([b"1", b"2"])).start()
    assert [next(following).value, next(following).value] == [b"1", b"2"]


def test_follow_begins_at_the_end_and_ends_when_nothing_comes(log: kstore.Log) -> None:
    log.append(b"before")
    following = log.follow(timeout_s=0.01)
    log.append(b"after")
    assert [record.value for record in following] == [b"after"]


def test_who_follows_a_log_that_is_closed_is_told(tmp_path: Path) -> None:
    log = kstore.Log.open(tmp_path)
    threading.Timer(0.01, log.close).start()
    with pytest.raises(kstore.ClosedError):
        next(log.follow())


def test_what_waits_for_the_disk_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited was called for records that could not be read yet, and spun until they were on the disk."""
    entered, release = threading.Event(), threading.Event()
    run = FlushJob.run

    def slow(job: FlushJob) -> None:
        entered.set()
        assert release.wait(30)
        run(job)

    with kstore.Log.open(tmp_path, background=False, flush_messages=1) as log:
        told: list[bool] = []
        log._host.watch(log._partition, 0, lambda: told.append(True))
        monkeypatch.setattr(FlushJob, "run", slow)
        appending = threading.Thread(target=log.append, args=(b"value",))
        appending.start()
        assert entered.wait(30)
        assert log.end_offset == 0
        assert not log._wait(0, 0.01)
        assert told == []
        release.set()
        appending.join()
        assert told == [True]
        assert log._wait(0, 0.01)
        assert log.end_offset == 1
        monkeypatch.undo()


def test_a_log_that_ends_behind_its_last_record_is_followed_in_peace(tmp_path: Path) -> None:
    """Compaction had taken the last records: a follower found nothing, did not move, and looked again at once."""
    clock = kstore.ManualClock(NOW)
    with kstore.Log.open(
        tmp_path,
        clock=clock,
        background=False,
        cleanup_policy="compact",
        segment_bytes=200,
        min_cleanable_dirty_ratio=0.0,
        delete_retention_ms=0,
    ) as log:
        log.append(b"kept", key=b"a")
        while len(log._partition.log.segments) < 3:
            log.append(None, key=b"z")
        log.truncate_to(log._partition.log.segments.active.base_offset)
        for _ in range(6):
            log.flush()
            clock.advance(hours=1)
            log.tend()
            log._partition.log.first_dirty_offset = -1
        assert [record.offset for record in log.read()] == [0]
        assert log.end_offset > 1
        looks: list[int] = []
        fetch = log._fetch
        log._fetch = lambda *where: looks.append(1) or fetch(*where)  # type: ignore[method-assign, func-returns-value]
        assert [record.value for record in log.follow(0, timeout_s=0.05)] == [b"kept"]
        assert len(looks) < 10
        log.append(b"next", key=b"b")
        assert next(log.follow(1)).value == b"next"

        async def main() -> None:
            following = kstore.AsyncLog(log).follow(0)
            assert [(await anext(following)).value for _ in range(2)] == [b"kept", b"next"]
            coming = asyncio.ensure_future(anext(following))
            await asyncio.sleep(0.01)
            log.append(b"last", key=b"c")
            assert (await coming).value == b"last"

        asyncio.run(asyncio.wait_for(main(), 30))


# --- import ---


def test_importing_kstore_loads_none_of_it() -> None:
    done = run_program("import sys; before = set(sys.modules); import kstore; print(sorted(set(sys.modules) - before))")
    assert done.stdout == "['kstore']\n"


def test_a_log_loads_no_server() -> None:
    done = run_program(
        "import sys, kstore\n"
        "with kstore.Log.open(None) as log: log.append(b''); list(log.read())\n"
        "heavy = ('asyncio', 'uvloop', 'ssl', 'lz4', 'zstandard', 'kazoo', 'kstore.server')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert done.stdout == "[]\n"


def test_every_name_that_kstore_offers_is_there() -> None:
    for name in kstore.__all__:
        assert getattr(kstore, name).__name__ == name
    assert set(kstore.__all__) <= set(dir(kstore))
    with pytest.raises(AttributeError, match="has no attribute 'Blog'"):
        kstore.Blog  # type: ignore[attr-defined]  # noqa: B018


def test_slices_of_a_log_are_batches_too(log: kstore.Log) -> None:
    log.extend([b"0", b"1"])
    assert [batch.count for batch in iter_batches(b"".join(map(bytes, log.read_batches())))] == [2]
