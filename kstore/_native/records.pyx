"""Files of record batches, and slices of them on their way to a socket. See records.pyi for what callers
read."""

import os
import stat

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.errno cimport EOPNOTSUPP
from libc.stdint cimport INT32_MAX, int64_t, uint8_t

from kstore._native.batch cimport RecordBatch
from kstore._native.file cimport FileHandle, open_handle, read_bytes
from kstore._native.libkstore cimport (
    KS_BATCH_HEADER_SIZE,
    ks_file_append,
    ks_file_is_cached,
    ks_file_preallocate,
    ks_file_send,
    ks_file_sync,
    ks_file_truncate,
    ks_found,
    ks_walk,
    ks_walk_start,
    ks_walk_to_largest_timestamp,
    ks_walk_to_offset,
    ks_walk_to_timestamp,
)
from kstore._native.scan cimport CheckedHeaders, HeaderIterator, SegmentScan, read_batch, walk_error
from kstore._native.status cimport raise_status

cdef enum:
    DEFAULT_CHUNK_SIZE = 1 << 20
    WARM_STEP = 256 * 1024

cdef int READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
cdef int WRITE_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


cdef class FileRecords:
    def __init__(self, path, *, bint writable, bint create=False, int64_t preallocate=0):
        self.path = os.fspath(path)
        self.writable = writable
        self._preallocated = 0
        self._closed = False
        if create:
            if not writable:
                raise ValueError("a file is created to be written to")
            self._handle = open_handle(self.path, WRITE_FLAGS | os.O_CREAT)
            self.size_in_bytes = os.fstat(self._handle.fd).st_size
            if preallocate > self.size_in_bytes:
                raise_status(ks_file_preallocate(self._handle.fd, preallocate), self.path)
                self._preallocated = preallocate
        else:
            status = os.lstat(self.path)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(f"{self.path} is not a regular file")
            self.size_in_bytes = status.st_size

    cdef FileHandle handle(self, bint wait=True):
        if self._handle is None:
            if self._closed:
                raise ValueError(f"{self.path} is closed")
            self._handle = open_handle(self.path, WRITE_FLAGS if self.writable else READ_FLAGS, wait)
        return self._handle

    cdef int64_t append_bytes(self, const uint8_t *data, Py_ssize_t size) except -1:
        cdef FileHandle handle = self.handle()
        cdef int64_t position = self.size_in_bytes
        cdef int64_t written
        if not self.writable:
            raise ValueError(f"{self.path} is read-only")
        if position + size > INT32_MAX:
            raise ValueError(f"{size} bytes do not fit {self.path} at position {position}")
        with nogil:
            written = ks_file_append(handle.fd, data, size, position)
        if written < 0:
            raise_status(written, self.path)
        self.size_in_bytes = position + written
        return position

    cpdef int64_t append(self, object buffer, Py_ssize_t position=0, Py_ssize_t size=-1) except -1:
        cdef Py_buffer view
        PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
        try:
            if size < 0:
                size = view.len - position
            if position < 0 or size < 0 or size > view.len - position:
                raise ValueError(f"{size} bytes at {position} are not within a buffer of {view.len} bytes")
            return self.append_bytes(<const uint8_t *> view.buf + position, size)
        finally:
            PyBuffer_Release(&view)

    cpdef FileSlice slice(self, int64_t position, int64_t size):
        cdef FileSlice piece = FileSlice.__new__(FileSlice)
        self.check_range(position, size)
        piece._handle = self.handle()
        piece.path = self.path
        piece.position = position
        piece.size = min(size, self.size_in_bytes - position)
        return piece

    cdef int check_range(self, int64_t position, int64_t size) except -1:
        if position < 0 or size < 0 or position > self.size_in_bytes:
            raise ValueError(f"{size} bytes at {position} are outside of {self}")
        return 0

    def read(self, int64_t position, int64_t size):
        self.check_range(position, size)
        return read_bytes(self.handle(), self.path, position, min(size, self.size_in_bytes - position))

    cdef int start_walk(self, ks_walk *walk, FileHandle handle, int64_t start, int64_t end, bint wait) except -1:
        self.check_range(start, 0)
        if end < 0 or end > self.size_in_bytes:
            end = self.size_in_bytes
        ks_walk_start(walk, handle.fd, start, end, wait)
        return 0

    def search_for_offset(self, int64_t target, int64_t start_position=0, *, bint wait=True):
        cdef FileHandle handle = self.handle(wait)
        cdef ks_walk walk
        cdef ks_found found
        cdef int64_t status
        self.start_walk(&walk, handle, start_position, -1, wait)
        with nogil:
            status = ks_walk_to_offset(&walk, target, &found)
        if status < 0:
            raise walk_error(status, self.path, walk.next)
        if status == 0:
            return None
        return found.base_offset, found.last_offset, found.position, found.size

    def search_for_timestamp(
        self, int64_t timestamp, int64_t start_position=0, int64_t start_offset=0, *, bint wait=True
    ):
        cdef FileHandle handle = self.handle(wait)
        cdef RecordBatch batch
        cdef ks_walk walk
        cdef ks_found found
        cdef int64_t status
        self.start_walk(&walk, handle, start_position, -1, wait)
        while True:
            with nogil:
                status = ks_walk_to_timestamp(&walk, timestamp, &found)
            if status < 0:
                raise walk_error(status, self.path, walk.next)
            if status == 0:
                return None
            if found.last_offset < start_offset:
                continue
            batch = read_batch(handle, self.path, found.position, found.size, wait)
            batch.ensure_valid()
            for record in batch.records():
                if record.timestamp >= timestamp and record.offset >= start_offset:
                    epoch = found.leader_epoch
                    return record.timestamp, record.offset, None if epoch < 0 else epoch

    def largest_timestamp(self, int64_t start_position=0):
        cdef FileHandle handle = self.handle()
        cdef ks_walk walk
        cdef ks_found found
        cdef int64_t status
        self.start_walk(&walk, handle, start_position, -1, True)
        with nogil:
            status = ks_walk_to_largest_timestamp(&walk, &found)
        if status < 0:
            raise walk_error(status, self.path, walk.next)
        if status == 0 or found.max_timestamp < 0:
            return -1, -1
        return found.max_timestamp, found.last_offset

    def read_batch(self, int64_t position):
        """The whole batch that begins at `position`, in memory of its own."""
        for header in self.batch_headers(position):
            return read_batch(self.handle(), self.path, position, header.size_in_bytes, True)
        return None

    def batch_headers(self, int64_t start_position=0, int64_t end_position=-1, *, bint wait=True):
        cdef HeaderIterator iterator = HeaderIterator.__new__(HeaderIterator)
        iterator._handle = self.handle(wait)
        iterator._path = self.path
        self.start_walk(&iterator._walk, iterator._handle, start_position, end_position, wait)
        return iterator

    def scan(
        self, int64_t start_position=0, *, bint check_crc=True, Py_ssize_t chunk_size=DEFAULT_CHUNK_SIZE
    ):
        cdef SegmentScan scan = SegmentScan.__new__(SegmentScan)
        self.check_range(start_position, 0)
        scan._handle = self.handle()
        scan._path = self.path
        scan._check_crc = check_crc
        scan._end = self.size_in_bytes
        scan._chunk_size = max(chunk_size, <Py_ssize_t> KS_BATCH_HEADER_SIZE)
        scan._chunk_start = scan.valid_bytes = start_position
        return scan

    def check(self, int64_t start_position=0, *, Py_ssize_t chunk_size=DEFAULT_CHUNK_SIZE):
        cdef CheckedHeaders headers = CheckedHeaders.__new__(CheckedHeaders)
        self.check_range(start_position, 0)
        headers._handle = self.handle()
        headers._path = self.path
        headers._end = self.size_in_bytes
        headers._chunk_size = max(chunk_size, <Py_ssize_t> KS_BATCH_HEADER_SIZE)
        headers.valid_bytes = start_position
        return headers

    def truncate_to(self, int64_t size):
        cdef FileHandle handle = self.handle()
        cdef int64_t status
        if not self.writable:
            raise ValueError(f"{self.path} is read-only")
        if size < 0 or size > self.size_in_bytes:
            raise ValueError(f"{self.path} of {self.size_in_bytes} bytes cannot be cut to {size}")
        removed = self.size_in_bytes - size
        if removed or self._preallocated:
            with nogil:
                status = ks_file_truncate(handle.fd, size)
            raise_status(status, self.path)
            self._preallocated = 0
        self.size_in_bytes = size
        return removed

    def trim(self):
        """Gives preallocated blocks beyond the last batch back."""
        if self._preallocated > 0:
            self.truncate_to(self.size_in_bytes)

    def flush(self):
        cdef FileHandle handle = self.handle()
        cdef int64_t status
        with nogil:
            status = ks_file_sync(handle.fd)
        raise_status(status, self.path)

    def release(self):
        """Lets the descriptor go until it is needed again."""
        self._handle = None

    def close(self):
        if not self._closed:
            if self._handle is not None and self.writable:
                self.trim()
            self._closed = True
            self._handle = None

    @property
    def is_closed(self):
        return self._closed

    @property
    def is_open(self):
        return self._handle is not None

    def fileno(self):
        return self.handle().fd

    def rename(self, path):
        path = os.fspath(path)
        os.rename(self.path, path)
        self.path = path

    def delete(self):
        """Closes, and removes the file if it is there. Slices that are being sent stay readable."""
        self._closed = True
        self._handle = None
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return False
        return True

    def __repr__(self):
        return f"FileRecords({self.path!r}, size_in_bytes={self.size_in_bytes})"


@cython.final
@cython.no_gc
@cython.freelist(32)
cdef class FileSlice:
    def read(self):
        return read_bytes(self._handle, self.path, self.position, self.size)

    cpdef int64_t send_to(self, int socket_fd, int64_t already_sent, int64_t most=-1) except -1:
        cdef int64_t position = self.position + already_sent
        cdef int64_t left = self.size - already_sent
        cdef int64_t sent
        if already_sent < 0 or left < 0:
            raise ValueError(f"{already_sent} of {self.size} bytes")
        if 0 <= most < left:
            left = most
        with nogil:
            sent = ks_file_send(socket_fd, self._handle.fd, position, left)
        if sent < 0:
            raise_status(sent, self.path)
        return sent

    def is_cached(self):
        return self.is_warm(0, self.size)

    cpdef bint is_warm(self, int64_t already_sent, int64_t most) except -1:
        cdef int64_t cached
        cdef int64_t size = min(self.size - already_sent, most)
        if size <= 0:
            return True
        with nogil:
            cached = ks_file_is_cached(self._handle.fd, self.position + already_sent, size)
        if cached == -EOPNOTSUPP:
            return True
        raise_status(cached, self.path)
        return cached == 1

    def warm(self, int64_t already_sent, int64_t most):
        cdef int64_t position = self.position + already_sent
        cdef int64_t end = position + min(self.size - already_sent, most)
        while position < end:
            read_bytes(self._handle, self.path, position, min(end - position, WARM_STEP))
            position += WARM_STEP

    def batch_headers(self, *, bint wait=True):
        cdef HeaderIterator iterator = HeaderIterator.__new__(HeaderIterator)
        iterator._handle = self._handle
        iterator._path = self.path
        ks_walk_start(&iterator._walk, self._handle.fd, self.position, self.position + self.size, wait)
        return iterator

    def fileno(self):
        return self._handle.fd

    def __len__(self):
        return self.size

    def __repr__(self):
        return f"FileSlice({self.path!r}, position={self.position}, size={self.size})"
