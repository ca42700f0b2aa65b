"""Calls of Linux that Python's os module lacks, on file descriptors. All raise OSError and release the GIL.

Nothing on the way of a produce or a fetch is here, so that a broker starts without loading cffi.
"""

import os

from cffi import FFI

from kstore._native._os_lib import ffi, lib

_ffi: FFI = ffi

PAGE_SIZE: int = os.sysconf("SC_PAGESIZE")


def _check(result: int) -> int:
    if result < 0:
        raise OSError(_ffi.errno, os.strerror(_ffi.errno))
    return result


def preallocate(fd: int, position: int, size: int) -> None:
    """Reserves blocks; the file keeps its length."""
    _check(lib.fallocate(fd, lib.FALLOC_FL_KEEP_SIZE, position, size))


def punch_hole(fd: int, position: int, size: int) -> None:
    """Gives the blocks of a range back; it reads as zeros and the file keeps its length."""
    _check(lib.fallocate(fd, lib.FALLOC_FL_KEEP_SIZE | lib.FALLOC_FL_PUNCH_HOLE, position, size))


def start_writeback(fd: int, position: int, size: int) -> None:
    """Lets the kernel begin to write dirty pages of a range (size 0: to the end), so that a later fsync finds
    little to do. Makes nothing durable by itself."""
    _check(lib.sync_file_range(fd, position, size, lib.SYNC_FILE_RANGE_WRITE))


def wait_for_writeback(fd: int, position: int, size: int) -> None:
    """Writes dirty pages of a range and waits for them. Writes no metadata, so it is no fsync."""
    flags = lib.SYNC_FILE_RANGE_WAIT_BEFORE | lib.SYNC_FILE_RANGE_WRITE | lib.SYNC_FILE_RANGE_WAIT_AFTER
    _check(lib.sync_file_range(fd, position, size, flags))


def read_ahead(fd: int, position: int, size: int) -> None:
    """Reads a range into the page cache; may wait for the disk."""
    _check(lib.readahead(fd, position, size))


def drop_cached(fd: int, position: int, size: int) -> None:
    """Lets clean pages of a range leave the page cache."""
    os.posix_fadvise(fd, position, size, os.POSIX_FADV_DONTNEED)


def cached_pages(fd: int, position: int, size: int) -> int:
    """How many pages that hold bytes of the range are in the page cache."""
    if size <= 0:
        return 0
    start = position // PAGE_SIZE * PAGE_SIZE
    return _check(lib.kstore_cached_pages(fd, start, position + size - start))
