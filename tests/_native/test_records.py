"""FileRecords and FileSlice: what is written is there, what fails leaves no trace, what is sent stays."""

import errno
import os
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from kstore._native.batch import RecordBatch
from kstore._native.builder import BatchBuilder
from kstore._native.file import fsync_dir
from kstore._native.records import FileRecords, FileSlice
from kstore.errors import CorruptRecordError, UnsupportedForMessageFormatError
from tests._native.batches import make_batch


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "00000000000000000000.log"


def open_new(path: Path, *batches: bytes) -> FileRecords:
    log = FileRecords(path, writable=True, create=True)
    for batch in batches:
        log.append(batch)
    return log


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Makes writes beyond `size` fail half-way, as a full disk does (EFBIG; Python ignores SIGXFSZ)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_batch_larger_than_any_file_may_be_is_none(path: Path) -> None:
    """Its size would not fit 31 bits."""
    data = make_batch()
    path.write_bytes(data[:8] + (2**31 - 1).to_bytes(4, "big") + data[12:])
    os.truncate(path, 2**31 + 4096)  # takes no blocks
    with pytest.raises(CorruptRecordError):
        next(FileRecords(path, writable=False).batch_headers())


def test_a_damaged_batch_is_not_searched_for_a_timestamp(path: Path) -> None:
    first, second = make_batch(), make_batch()
    log = open_new(path, first, second)
    with open(path, "r+b") as file:
        file.seek(len(first) - 1)
        file.write(bytes([first[-1] ^ 1]))
    with pytest.raises(CorruptRecordError, match="position 0"):
        log.search_for_timestamp(0)


# Appending


def test_append_returns_the_position_and_grows_the_file(path: Path) -> None:
    log = open_new(path)
    data = make_batch()
    assert [log.append(data), log.append(data)] == [0, len(data)]
    assert log.size_in_bytes == path.stat().st_size == 2 * len(data)
    assert path.read_bytes() == bytes(data) * 2


def test_append_takes_a_part_of_a_buffer(path: Path) -> None:
    log = open_new(path)
    log.append(b"0123456789", 2, 3)
    log.append(memoryview(b"0123456789"), 8)
    assert path.read_bytes() == b"23489"
    for position, size in [(-1, 2), (3, 8), (11, 0), (0, 11)]:
        with pytest.raises(ValueError, match="not within"):
            log.append(b"0123456789", position, size)


def test_a_write_that_fails_half_way_is_cut_back(path: Path) -> None:
    log = open_new(path, make_batch())
    before = path.read_bytes()
    with files_limited_to(len(before) + 100), pytest.raises(OSError) as refusal:  # noqa: PT011
        log.append(b"x" * 5000)
    assert refusal.value.errno == errno.EFBIG
    assert refusal.value.filename == str(path)
    assert path.read_bytes() == before
    assert log.size_in_bytes == len(before)
    log.append(make_batch(base_offset=3))
    assert [batch.base_offset for batch in log.scan()] == [0, 3]


def test_existing_files_are_continued(path: Path) -> None:
    open_new(path, make_batch()).close()
    log = FileRecords(path, writable=True)
    log.append(make_batch(base_offset=3))
    assert [header.base_offset for header in log.batch_headers()] == [0, 3]


def test_read_only_files_are_not_written_to(path: Path) -> None:
    open_new(path, make_batch()).close()
    log = FileRecords(path, writable=False)
    with pytest.raises(ValueError, match="read-only"):
        log.append(b"x")
    with pytest.raises(ValueError, match="read-only"):
        log.truncate_to(0)


def test_a_segment_never_passes_two_gigabytes(path: Path) -> None:
    log = open_new(path)
    os.truncate(path, 2**31 - 10)
    log = FileRecords(path, writable=True)
    with pytest.raises(ValueError, match="do not fit"):
        log.append(b"x" * 100)


def test_symbolic_links_are_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"x")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="not a regular file"):
        FileRecords(path, writable=False)
    with pytest.raises(OSError) as refusal:  # noqa: PT011
        FileRecords(path, writable=True, create=True)
    assert refusal.value.errno == errno.ELOOP


def test_missing_files_are_reported(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileRecords(path, writable=True)


# Descriptors


def test_a_file_is_opened_when_it_is_first_used(path: Path) -> None:
    open_new(path, make_batch()).close()
    log = FileRecords(path, writable=False)
    assert not log.is_open
    log.read(0, 1)
    assert log.is_open
    log.release()
    assert not log.is_open
    assert len(log.read(0, 10)) == 10


def test_a_closed_file_is_not_opened_again(path: Path) -> None:
    log = open_new(path, make_batch())
    log.close()
    log.close()
    with pytest.raises(ValueError, match="is closed"):
        log.read(0, 1)
    with pytest.raises(ValueError, match="is closed"):
        log.slice(0, 1)


def test_descriptors_go_with_their_last_user(path: Path) -> None:
    log = open_new(path, make_batch())
    fd = log.fileno()
    piece = log.slice(0, 10)
    log.close()
    assert os.fstat(fd).st_size > 0
    del piece
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_descriptors_are_not_inherited(path: Path) -> None:
    assert not os.get_inheritable(open_new(path).fileno())


def test_renamed_files_are_found_under_their_new_name(path: Path, tmp_path: Path) -> None:
    log = open_new(path, make_batch())
    log.release()
    log.rename(tmp_path / "new")
    assert log.path == str(tmp_path / "new")
    assert not path.exists()
    assert log.search_for_offset(0) is not None


def test_delete_tells_whether_the_file_was_there(path: Path) -> None:
    log = open_new(path)
    assert log.delete()
    assert not path.exists()
    assert not log.delete()


def test_preallocated_blocks_are_given_back(path: Path) -> None:
    log = FileRecords(path, writable=True, create=True, preallocate=1 << 20)
    assert path.stat().st_size == 0
    assert path.stat().st_blocks * 512 >= 1 << 20
    log.append(make_batch())
    log.close()
    assert path.stat().st_size == len(make_batch())
    assert path.stat().st_blocks * 512 < 1 << 20


def test_truncation_tells_how_much_went(path: Path) -> None:
    log = open_new(path, b"x" * 100)
    assert log.truncate_to(100) == 0
    assert log.truncate_to(40) == 60
    assert (log.size_in_bytes, path.stat().st_size) == (40, 40)
    for size in (-1, 41):
        with pytest.raises(ValueError, match="cannot be cut"):
            log.truncate_to(size)


def test_flush_reaches_the_disk_and_reports_failure(path: Path) -> None:
    log = open_new(path, make_batch())
    log.flush()
    fsync_dir(path.parent)
    with pytest.raises(NotADirectoryError):
        fsync_dir(path)
    reading, writing = os.pipe()
    os.dup2(writing, log.fileno())  # a pipe cannot be synced
    os.close(reading)
    os.close(writing)
    with pytest.raises(OSError, match="Invalid argument"):
        log.flush()


# Reading


def test_reads_end_where_the_file_ends(path: Path) -> None:
    log = open_new(path, b"0123456789")
    assert log.read(8, 100) == b"89"
    assert log.read(10, 1) == b""
    assert log.slice(4, 1000).size == 6
    for position, size in [(-1, 1), (11, 1), (0, -1)]:
        with pytest.raises(ValueError, match="outside"):
            log.read(position, size)
        with pytest.raises(ValueError, match="outside"):
            log.slice(position, size)


def test_offset_search_steps_over_large_batches(path: Path) -> None:
    batches = [make_batch(3, size=size, base_offset=3 * i) for i, size in enumerate([1, 9000, 1, 1, 5000, 1])]
    log = open_new(path, *batches)
    position = 0
    for i, batch in enumerate(batches):
        for offset in range(3 * i, 3 * i + 3):
            assert log.search_for_offset(offset) == (3 * i, 3 * i + 2, position, len(batch))
        position += len(batch)
    assert log.search_for_offset(18) is None


def test_searches_end_at_a_torn_tail(path: Path) -> None:
    log = open_new(path, make_batch(), make_batch(base_offset=3)[:-1])
    assert log.search_for_offset(3) is None
    assert log.largest_timestamp() == (1002, 2)
    assert len(list(log.batch_headers())) == 1


def test_searches_name_the_place_of_damage(path: Path) -> None:
    good = make_batch()
    log = open_new(path, good, bytes(100), good)
    for search in (
        lambda: log.search_for_offset(5),
        lambda: log.search_for_timestamp(10**6),
        lambda: log.largest_timestamp(),
        lambda: list(log.batch_headers()),
    ):
        with pytest.raises(CorruptRecordError) as refusal:
            search()
        assert refusal.value.position == len(good)
        assert str(path) in str(refusal.value)


def test_headers_tell_what_the_batch_tells(path: Path) -> None:
    data = make_batch(
        4,
        base_offset=7,
        producer_id=5,
        producer_epoch=6,
        base_sequence=8,
        partition_leader_epoch=9,
        is_transactional=True,
    )
    log = open_new(path, make_batch(2000), data)
    header = list(log.batch_headers())[1]
    batch = RecordBatch(data)
    assert header.position == len(make_batch(2000))
    for name in (
        "size_in_bytes",
        "base_offset",
        "last_offset",
        "next_offset",
        "base_timestamp",
        "max_timestamp",
        "producer_id",
        "producer_epoch",
        "base_sequence",
        "partition_leader_epoch",
        "attributes",
        "count",
    ):
        assert getattr(header, name) == getattr(batch, name), name


def test_headers_are_read_within_a_range(path: Path) -> None:
    data = make_batch()
    log = open_new(path, data, data, data)
    assert [header.position for header in log.batch_headers(len(data), 2 * len(data))] == [len(data)]
    assert list(log.batch_headers(len(data), 2 * len(data) - 1)) == []


@pytest.mark.parametrize("left", [0, 16, 17, 30, 60])
def test_searches_end_where_a_file_has_become_shorter(path: Path, left: int) -> None:
    data = make_batch()
    log = open_new(path, data, data)
    os.truncate(path, len(data) + left)
    assert [header.position for header in log.batch_headers()] == [0]
    assert log.search_for_offset(3) is None


def test_a_batch_is_read_at_its_position(path: Path) -> None:
    first, second = make_batch(), make_batch(base_offset=3)
    log = open_new(path, first, second)
    batch = log.read_batch(len(first))
    assert batch is not None
    assert batch.to_bytes() == bytes(second)
    assert batch.file_position == len(first)
    assert log.read_batch(len(first) + len(second)) is None


def test_timestamp_search_looks_into_compressed_batches(path: Path) -> None:
    log = open_new(path)
    for base_offset in (0, 100):
        log.append(
            make_batch(100, base_offset=base_offset, timestamp=base_offset, compression=4, partition_leader_epoch=2)
        )
    assert log.search_for_timestamp(137) == (137, 137, 2)
    assert log.search_for_timestamp(5, start_offset=60) == (60, 60, 2)
    assert log.search_for_timestamp(200) is None


# Scanning


@pytest.mark.parametrize("chunk_size", [1, 61, 200, 1 << 20])
def test_scan_reads_all_batches_whatever_the_chunk(path: Path, chunk_size: int) -> None:
    batches = [make_batch(size=size, base_offset=3 * i) for i, size in enumerate([1, 500, 0, 70, 3000])]
    log = open_new(path, *batches)
    scan = log.scan(chunk_size=chunk_size)
    assert [batch.to_bytes() for batch in scan] == [bytes(batch) for batch in batches]
    assert scan.valid_bytes == log.size_in_bytes
    assert scan.error is None


def test_scan_begins_anywhere(path: Path) -> None:
    data = make_batch()
    log = open_new(path, data, make_batch(base_offset=3))
    scan = log.scan(len(data))
    assert [(batch.base_offset, batch.file_position) for batch in scan] == [(3, len(data))]
    assert list(log.scan(log.size_in_bytes)) == []


def test_batches_of_a_scan_stay_good_when_they_are_kept(path: Path) -> None:
    batches = [make_batch(base_offset=3 * i, size=50) for i in range(200)]
    log = open_new(path, *batches)
    assert [batch.to_bytes() for batch in list(log.scan(chunk_size=500))] == [bytes(batch) for batch in batches]


@pytest.mark.parametrize("lost", [1, 50, 100])
def test_scan_ends_before_a_torn_tail(path: Path, lost: int) -> None:
    data = make_batch(size=100)
    log = open_new(path, data, data, data[:-lost])
    scan = log.scan()
    assert len(list(scan)) == 2
    assert scan.valid_bytes == 2 * len(data)
    assert isinstance(scan.error, CorruptRecordError)
    assert scan.error.position == 2 * len(data)


@pytest.mark.parametrize("tail", [bytes(5), bytes(4096), b"\xff" * 100, b"\x01" * 100])
def test_scan_ends_before_what_is_no_batch(path: Path, tail: bytes) -> None:
    data = make_batch()
    log = open_new(path, data, tail)
    scan = log.scan()
    assert len(list(scan)) == 1
    assert scan.valid_bytes == len(data)
    assert scan.error is not None


def test_scan_ends_before_a_wrong_checksum(path: Path) -> None:
    data, bad = make_batch(), make_batch()
    bad[-1] ^= 1
    log = open_new(path, data, bad, data)
    scan = log.scan()
    assert len(list(scan)) == 1
    assert scan.valid_bytes == len(data)
    assert scan.error is not None
    assert scan.error.position == len(data)
    assert next(scan, None) is None
    assert len(list(log.scan(check_crc=False))) == 3


def test_scan_refuses_old_formats(path: Path) -> None:
    old = make_batch()
    old[16] = 1
    log = open_new(path, make_batch(), old)
    with pytest.raises(UnsupportedForMessageFormatError) as refusal:
        list(log.scan())
    assert refusal.value.position == len(make_batch())


def test_scan_of_a_file_that_shrinks_ends(path: Path) -> None:
    data = make_batch()
    log = open_new(path, *[data] * 10)
    os.truncate(path, 5 * len(data) + 10)
    scan = log.scan(chunk_size=len(data))
    assert len(list(scan)) == 5
    assert scan.error is not None


def test_a_length_that_lies_costs_no_memory(path: Path) -> None:
    data = make_batch()
    data[8:12] = (2**31 - 1).to_bytes(4, "big")
    scan = open_new(path, data).scan()
    assert list(scan) == []
    assert scan.valid_bytes == 0


def test_files_are_scanned_by_several_threads_at_once(tmp_path: Path) -> None:
    logs = [
        open_new(tmp_path / f"{i}.log", *[make_batch(100, base_offset=100 * j) for j in range(50)]) for i in range(6)
    ]
    with ThreadPoolExecutor(4) as threads:
        counts = list(threads.map(lambda log: sum(batch.count for batch in log.scan(chunk_size=10_000)), logs))
    assert counts == [5000] * 6


# Sending


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def send_all(piece: FileSlice, ours: socket.socket, theirs: socket.socket) -> bytes:
    received = bytearray()
    sent = 0
    while sent < piece.size:
        sent += piece.send_to(ours.fileno(), sent)
        while len(received) < sent:
            received += theirs.recv(1 << 20)
    return bytes(received)


def test_slices_arrive_whole(path: Path, sockets: tuple[socket.socket, socket.socket]) -> None:
    data = os.urandom(3 << 20)
    log = open_new(path, data)
    assert send_all(log.slice(10, 2 << 20), *sockets) == data[10 : 10 + (2 << 20)]
    assert log.slice(10, 100).read() == data[10:110]


def test_a_full_socket_takes_nothing(path: Path, sockets: tuple[socket.socket, socket.socket]) -> None:
    piece = open_new(path, bytes(8 << 20)).slice(0, 8 << 20)
    sent = piece.send_to(sockets[0].fileno(), 0)
    assert 0 < sent < piece.size
    assert piece.send_to(sockets[0].fileno(), sent) == 0


def test_slices_outlive_their_segment(path: Path, sockets: tuple[socket.socket, socket.socket]) -> None:
    data = os.urandom(1000)
    log = open_new(path, data)
    piece = log.slice(0, 1000)
    log.delete()
    assert send_all(piece, *sockets) == data


def test_a_closed_peer_is_reported(path: Path, sockets: tuple[socket.socket, socket.socket]) -> None:
    piece = open_new(path, b"x" * 1000).slice(0, 1000)
    sockets[1].close()
    with pytest.raises(BrokenPipeError):
        piece.send_to(sockets[0].fileno(), 0)


def test_a_file_that_shrank_is_reported(path: Path, sockets: tuple[socket.socket, socket.socket]) -> None:
    piece = open_new(path, b"x" * 1000).slice(0, 1000)
    os.truncate(path, 500)
    assert piece.send_to(sockets[0].fileno(), 0) == 500
    with pytest.raises(CorruptRecordError):
        piece.send_to(sockets[0].fileno(), 500)


def test_sent_bytes_beyond_the_slice_are_the_callers_mistake(path: Path) -> None:
    piece = open_new(path, b"x" * 10).slice(0, 10)
    for already_sent in (-1, 11):
        with pytest.raises(ValueError, match="of 10 bytes"):
            piece.send_to(0, already_sent)


def test_what_was_just_written_is_cached(path: Path) -> None:
    log = open_new(path, bytes(1 << 20))
    assert log.slice(0, 1 << 20).is_cached()
    assert log.slice(5, 0).is_cached()


def test_built_batches_are_appended_without_a_copy_in_between(path: Path) -> None:
    builder = BatchBuilder(base_offset=3)
    builder.append(1, b"k", b"v")
    log = open_new(path)
    log.append(builder.build())
    assert [record.offset for batch in log.scan() for record in batch.records()] == [3]


# Checking


@pytest.mark.parametrize("chunk_size", [1, 61, 200, 1 << 20])
def test_check_tells_the_headers_whatever_the_chunk(path: Path, chunk_size: int) -> None:
    batches = [make_batch(size=size, base_offset=3 * i) for i, size in enumerate([1, 500, 0, 70, 3000])]
    log = open_new(path, *batches)
    checked = log.check(chunk_size=chunk_size)
    assert [str(header) for header in checked] == [str(header) for header in log.batch_headers()]
    assert checked.valid_bytes == log.size_in_bytes
    assert checked.error is None
    assert next(checked, None) is None


def test_check_begins_anywhere(path: Path) -> None:
    data = make_batch()
    log = open_new(path, data, make_batch(base_offset=3))
    assert [(header.base_offset, header.position) for header in log.check(len(data))] == [(3, len(data))]
    assert list(log.check(log.size_in_bytes)) == []


@pytest.mark.parametrize("chunk_size", [61, 1 << 20])
@pytest.mark.parametrize("tail", [bytes(5), bytes(4096), b"\xff" * 100, make_batch(size=100)[:-1], make_batch()[:40]])
def test_check_ends_before_what_is_no_batch(path: Path, tail: bytes, chunk_size: int) -> None:
    data = make_batch()
    log = open_new(path, data, tail)
    checked = log.check(chunk_size=chunk_size)
    assert len(list(checked)) == 1
    assert checked.valid_bytes == len(data)
    assert isinstance(checked.error, CorruptRecordError)
    assert checked.error.position == len(data)


@pytest.mark.parametrize("chunk_size", [61, 1 << 20])
def test_check_ends_before_a_wrong_checksum(path: Path, chunk_size: int) -> None:
    data, bad = make_batch(), make_batch(size=300)
    bad[-1] ^= 1
    log = open_new(path, data, bad, data)
    checked = log.check(chunk_size=chunk_size)
    assert len(list(checked)) == 1
    assert checked.valid_bytes == len(data)
    assert checked.error is not None
    assert checked.error.position == len(data)


def test_check_refuses_old_messages(path: Path) -> None:
    old = make_batch()
    old[16] = 1
    checked = open_new(path, make_batch(), old).check()
    with pytest.raises(UnsupportedForMessageFormatError):
        list(checked)
    assert checked.valid_bytes == len(old)


def test_check_ends_where_the_file_has_become_shorter(path: Path) -> None:
    data = make_batch(size=5000)
    log = open_new(path, data, data)
    checked = log.check(chunk_size=1000)
    os.truncate(path, len(data) + 2000)
    assert len(list(checked)) == 1
    assert checked.error is not None
