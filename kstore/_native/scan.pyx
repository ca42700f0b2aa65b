"""Walking a file of batches, by headers or whole. See scan.pyi for what callers read."""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.ref cimport Py_REFCNT
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from kstore.errors import CorruptRecordError, UnsupportedForMessageFormatError

from kstore._native.batch cimport RecordBatch, crc32c_of
from kstore._native.file cimport FileHandle, read_bytes
from kstore._native.libkstore cimport (
    KS_BATCH_ATTRIBUTES,
    KS_BATCH_BASE_OFFSET,
    KS_BATCH_BASE_SEQUENCE,
    KS_BATCH_BASE_TIMESTAMP,
    KS_BATCH_COUNT,
    KS_BATCH_CRC,
    KS_BATCH_HEADER_SIZE,
    KS_BATCH_LEADER_EPOCH,
    KS_BATCH_MAX_TIMESTAMP,
    KS_BATCH_PRODUCER_EPOCH,
    KS_BATCH_PRODUCER_ID,
    KS_ECORRUPT,
    KS_EMAGIC,
    KS_ETRUNCATED,
    ks_batch_last_offset,
    ks_batch_size,
    ks_file_read,
    ks_load16,
    ks_load32,
    ks_load64,
    ks_scan,
    ks_scan_result,
    ks_walk_next,
)
from kstore._native.status cimport raise_status

cdef enum:
    EXTENTS = 512


cdef RecordBatch read_batch(FileHandle handle, str path, int64_t position, int64_t size, bint wait):
    cdef RecordBatch batch = RecordBatch.__new__(RecordBatch)
    batch.bind(read_bytes(handle, path, position, size, wait), 0, -1)
    batch.file_position = position
    return batch


cdef BatchHeader describe(const uint8_t *p, int64_t position, int64_t size):
    cdef BatchHeader header = BatchHeader.__new__(BatchHeader)
    header.position = position
    header.size_in_bytes = size
    header.base_offset = ks_load64(p + KS_BATCH_BASE_OFFSET)
    header.last_offset = ks_batch_last_offset(p)
    header.base_timestamp = ks_load64(p + KS_BATCH_BASE_TIMESTAMP)
    header.max_timestamp = ks_load64(p + KS_BATCH_MAX_TIMESTAMP)
    header.producer_id = ks_load64(p + KS_BATCH_PRODUCER_ID)
    header.partition_leader_epoch = ks_load32(p + KS_BATCH_LEADER_EPOCH)
    header.base_sequence = ks_load32(p + KS_BATCH_BASE_SEQUENCE)
    header.count = ks_load32(p + KS_BATCH_COUNT)
    header.attributes = ks_load16(p + KS_BATCH_ATTRIBUTES)
    header.producer_epoch = ks_load16(p + KS_BATCH_PRODUCER_EPOCH)
    return header


cdef object walk_error(int64_t status, str path, int64_t position):
    if status == KS_EMAGIC:
        why = f"batch of message format 0 or 1 at position {position} of {path}"
        error = UnsupportedForMessageFormatError(why)
    elif status == KS_ECORRUPT:
        error = CorruptRecordError(f"the bytes at position {position} of {path} are no batch")
    else:
        try:
            raise_status(status, path)
        except Exception as raised:
            return raised
    error.position = position
    return error


@cython.final
@cython.no_gc
@cython.freelist(32)
cdef class BatchHeader:
    @property
    def next_offset(self):
        return self.last_offset + 1

    def __repr__(self):
        return (
            f"BatchHeader(offsets {self.base_offset}..{self.last_offset}, count={self.count}, "
            f"position={self.position}, size_in_bytes={self.size_in_bytes})"
        )


@cython.final
cdef class HeaderIterator:
    def __iter__(self):
        return self

    def __next__(self):
        cdef const uint8_t *p
        cdef int64_t status
        with nogil:
            status = ks_walk_next(&self._walk, &p)
        if status < 0:
            raise walk_error(status, self._path, self._walk.next)
        if status == 0:
            raise StopIteration
        return describe(p, self._walk.position, self._walk.size)


@cython.final
cdef class CheckedHeaders:
    """Holds one chunk, whatever a batch says of its size: its CRC is continued from chunk to chunk."""

    def __iter__(self):
        return self

    def __next__(self):
        cdef uint8_t header[61]
        cdef int64_t start = self.valid_bytes
        cdef int64_t available = self._end - start
        cdef int64_t size
        if self._done or available <= 0:
            raise StopIteration
        if self.readable(start) < min(<int64_t> KS_BATCH_HEADER_SIZE, available):
            self.load(start)
            if self.readable(start) < min(<int64_t> KS_BATCH_HEADER_SIZE, available):
                self.stop(KS_ETRUNCATED)  # the file has become shorter
        size = ks_batch_size(self.at(start), available)
        if size < 0:
            self.stop(size)
        memcpy(header, self.at(start), KS_BATCH_HEADER_SIZE)
        self.check_crc(header, start, size)
        self.valid_bytes = start + size
        return describe(header, start, size)

    cdef int check_crc(self, const uint8_t *header, int64_t start, int64_t size) except -1:
        cdef uint32_t stored = <uint32_t> ks_load32(header + KS_BATCH_CRC)
        cdef uint32_t crc = 0
        cdef int64_t position = start + KS_BATCH_ATTRIBUTES
        cdef int64_t end = start + size
        cdef int64_t n
        while position < end:
            if self.readable(position) == 0:
                self.load(position)
                if self.readable(position) == 0:
                    self.stop(KS_ETRUNCATED)
            n = min(self.readable(position), end - position)
            crc = crc32c_of(self.at(position), n, crc)
            position += n
        if crc != stored:
            self._done = True
            self.error = CorruptRecordError(
                f"batch at offset {ks_load64(header + KS_BATCH_BASE_OFFSET)}, position {start}: "
                f"stored CRC {stored:#010x}, computed {crc:#010x}"
            )
            self.error.position = start
            raise StopIteration
        return 0

    cdef int64_t readable(self, int64_t position):
        """How many bytes from a position on are in the chunk."""
        return max(self._chunk_start + self._loaded - position, 0) if position >= self._chunk_start else 0

    cdef uint8_t *at(self, int64_t position):
        return <uint8_t *> PyByteArray_AS_STRING(self._chunk) + (position - self._chunk_start)

    cdef int load(self, int64_t position) except -1:
        cdef int64_t wanted = min(self._chunk_size, self._end - position)
        cdef int64_t n
        cdef uint8_t *p
        if self._chunk is None:
            self._chunk = bytearray(wanted)
        p = <uint8_t *> PyByteArray_AS_STRING(self._chunk)
        with nogil:
            n = ks_file_read(self._handle.fd, p, wanted, position, True)
        raise_status(n, self._path)
        self._chunk_start = position
        self._loaded = n
        return 0

    cdef int stop(self, int64_t status) except -1:
        """Ends the iteration; always raises."""
        self._done = True
        self.error = end_error(status, self._path, self.valid_bytes)
        if status == KS_EMAGIC:
            raise self.error
        raise StopIteration


cdef object end_error(int64_t status, str path, int64_t position):
    if status != KS_ETRUNCATED:
        return walk_error(status, path, position)
    error = CorruptRecordError(f"{path} ends inside the batch at position {position}")
    error.position = position
    return error


@cython.final
cdef class SegmentScan:
    """Reads chunk after chunk; the batches are views into the chunk, which is used again when nobody holds a
    view."""

    def __iter__(self):
        return self

    def __next__(self):
        cdef RecordBatch batch
        cdef ks_extent extent
        while self._extent_index >= self._extent_count:
            if self._done or not self.find_extents():
                self._done = True
                self._chunk = None
                raise StopIteration
        extent = self._extents[self._extent_index]
        batch = RecordBatch.__new__(RecordBatch)
        batch.bind(self._chunk, extent.position, extent.position + extent.size)
        batch.file_position = self._chunk_start + extent.position
        if self._check_crc and not batch.is_crc_valid():
            try:
                batch.ensure_valid()
            except CorruptRecordError as error:
                self.error = error
            self._done = True
            self._extent_count = 0
            raise StopIteration
        self._extent_index += 1
        self.valid_bytes = batch.file_position + extent.size
        return batch

    cdef bint find_extents(self) except -1:
        """Finds the next batches in the chunk, reading a new one when this has no whole batch left."""
        cdef ks_scan_result result
        cdef const uint8_t *p
        cdef size_t i
        while True:
            result.count = 0
            if self._chunk is not None and self._scanned < self._loaded:
                if len(self._chunk) < self._loaded:
                    raise BufferError("the buffer of a scan has been changed by somebody else")
                p = <const uint8_t *> PyByteArray_AS_STRING(self._chunk)
                ks_scan(p + self._scanned, p + self._loaded, self._extents, EXTENTS, &result)
                for i in range(result.count):
                    self._extents[i].position += <unsigned int> self._scanned
                self._scanned += result.consumed
                self._extent_index = 0
                self._extent_count = result.count
                if result.count > 0:
                    return True
                if result.status != KS_ETRUNCATED:
                    return self.stop(result.status)
            if not self.load():
                return False

    cdef bint load(self) except -1:
        """Reads the chunk that begins with the first batch not yet found; grows it when that batch is
        larger."""
        cdef int64_t position = self._chunk_start + self._scanned
        cdef int64_t remaining = self._end - position
        cdef int64_t wanted = self._chunk_size
        cdef int64_t size, n
        cdef uint8_t *p
        if remaining == 0:
            return False
        if self._chunk is not None and self._scanned == 0 and self._loaded > 0:
            # The batch is larger than the chunk: its length decides, as far as the file has so many bytes.
            size = ks_batch_size(<uint8_t *> PyByteArray_AS_STRING(self._chunk), remaining)
            if size < 0:
                return self.stop(size)
            if size <= self._loaded:
                return self.stop(KS_ETRUNCATED)
            wanted = size
        wanted = min(wanted, remaining)
        if self._chunk is None or len(self._chunk) < wanted or Py_REFCNT(self._chunk) > 1:
            self._chunk = bytearray(max(wanted, min(<int64_t> self._chunk_size, remaining)))
        p = <uint8_t *> PyByteArray_AS_STRING(self._chunk)
        with nogil:
            n = ks_file_read(self._handle.fd, p, wanted, position, True)
        raise_status(n, self._path)
        self._chunk_start = position
        self._scanned = 0
        self._loaded = n
        if n < wanted:  # the file has become shorter
            self._end = position + n
        return n > 0

    cdef bint stop(self, int64_t status) except -1:
        self._done = True
        self.error = end_error(status, self._path, self._chunk_start + self._scanned)
        if status == KS_EMAGIC:
            raise self.error
        return False
