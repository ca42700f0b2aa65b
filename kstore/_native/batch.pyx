"""Record batches as views into a buffer, and the records in them. See batch.pyi for what callers read."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t

from kstore._native.checksum import crc32c as _crc32c
from kstore._native.record import parse_control_record
from kstore.errors import CorruptRecordError, InvalidRecordError, UnsupportedForMessageFormatError

from kstore._native.libkstore cimport (
    KS_BATCH_ATTRIBUTES,
    KS_BATCH_BASE_OFFSET,
    KS_BATCH_BASE_SEQUENCE,
    KS_BATCH_BASE_TIMESTAMP,
    KS_BATCH_COUNT,
    KS_BATCH_CRC,
    KS_BATCH_HEADER_SIZE,
    KS_BATCH_LAST_OFFSET_DELTA,
    KS_BATCH_LEADER_EPOCH,
    KS_BATCH_MAGIC,
    KS_BATCH_MAX_TIMESTAMP,
    KS_BATCH_PRODUCER_EPOCH,
    KS_BATCH_PRODUCER_ID,
    KS_CODEC_MASK,
    KS_CONTROL,
    KS_DELETE_HORIZON,
    KS_EMAGIC,
    KS_ETRUNCATED,
    KS_LOG_APPEND_TIME,
    KS_LOG_OVERHEAD,
    KS_RECORD_OFFSET,
    KS_RECORD_TRAILING_BYTES,
    KS_TRANSACTIONAL,
    ks_add64,
    ks_batch_last_offset,
    ks_batch_size,
    ks_batch_stamp,
    ks_load16,
    ks_load32,
    ks_load64,
    ks_records_feed,
    ks_records_finish,
    ks_records_promise,
    ks_records_start,
    ks_records_walk,
    ks_sequence_add,
    ks_store16,
    ks_store32,
    ks_store64,
)
from kstore._native.record cimport RecordIterator, bad_record, placed

HEADER_SIZE = KS_BATCH_HEADER_SIZE
LOG_OVERHEAD = KS_LOG_OVERHEAD
NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
COMPRESSION_NAMES = ("none", "gzip", "snappy", "lz4", "zstd")
CREATE_TIME, LOG_APPEND_TIME = range(2)

# What records are decompressed to at most where the caller has no limit of its own.
DEFAULT_MAX_BYTES = 1 << 30

# Below this a walk is over sooner than another thread could use the GIL.
cdef enum:
    GIL_RELEASE_SIZE = 8 * 1024

# What a RecordBatch shows that was never bound to bytes (made by __new__ alone).
cdef uint8_t NOTHING[61]


@cython.final
@cython.no_gc
@cython.freelist(8)
cdef class _Window:
    """Lends bytes to the crc32c package: half the price of a memoryview."""

    cdef const uint8_t *data
    cdef Py_ssize_t size

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, <void *> self.data, self.size, 1, flags)


cdef uint32_t crc32c_of(const uint8_t *data, Py_ssize_t size, uint32_t before=0) except? 0:
    """The CRC of bytes that follow others with the CRC `before`."""
    cdef _Window window = _Window.__new__(_Window)
    window.data = data
    window.size = size
    return _crc32c(window, before) if before else _crc32c(window)


@cython.final
@cython.no_gc
@cython.freelist(16)
cdef class RecordsSummary:
    def __repr__(self):
        return (
            f"RecordsSummary(count={self.count}, min_timestamp={self.min_timestamp}, "
            f"max_timestamp={self.max_timestamp}, offset_of_max_timestamp={self.offset_of_max_timestamp}, "
            f"has_null_key={self.has_null_key}, size_in_bytes={self.size_in_bytes})"
        )


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class RecordBatch:
    def __cinit__(self):
        self.data = NOTHING
        self.file_position = -1

    def __init__(self, buffer, Py_ssize_t position=0, Py_ssize_t limit=-1):
        if self._view.buf != NULL:
            raise TypeError("a RecordBatch is bound once")
        self.bind(buffer, position, limit)

    def __dealloc__(self):
        PyBuffer_Release(&self._view)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, <void *> self.data, self.size_in_bytes, 1, flags)

    cdef int bind(self, object buffer, Py_ssize_t position, Py_ssize_t limit) except -1:
        cdef int64_t size
        PyObject_GetBuffer(buffer, &self._view, PyBUF_SIMPLE)
        if limit < 0:
            limit = self._view.len
        if position < 0 or limit > self._view.len or position > limit:
            raise ValueError(f"[{position}, {limit}) is not within a buffer of {self._view.len} bytes")
        size = ks_batch_size(<uint8_t *> self._view.buf + position, limit - position)
        if size < 0:
            raise header_error(size, <uint8_t *> self._view.buf + position, limit - position, position)
        self.data = <uint8_t *> self._view.buf + position
        self.buffer = buffer
        self.position = position
        self.size_in_bytes = <int32_t> size
        return 0

    @property
    def base_offset(self):
        return ks_load64(self.data + KS_BATCH_BASE_OFFSET)

    @property
    def last_offset(self):
        return ks_batch_last_offset(self.data)

    @property
    def next_offset(self):
        return ks_add64(ks_batch_last_offset(self.data), 1)

    @property
    def partition_leader_epoch(self):
        return ks_load32(self.data + KS_BATCH_LEADER_EPOCH)

    @property
    def magic(self):
        return self.data[KS_BATCH_MAGIC]

    @property
    def crc(self):
        return <uint32_t> ks_load32(self.data + KS_BATCH_CRC)

    @property
    def attributes(self):
        return ks_load16(self.data + KS_BATCH_ATTRIBUTES)

    @property
    def compression(self):
        return ks_load16(self.data + KS_BATCH_ATTRIBUTES) & KS_CODEC_MASK

    @property
    def timestamp_type(self):
        return 1 if ks_load16(self.data + KS_BATCH_ATTRIBUTES) & KS_LOG_APPEND_TIME else 0

    @property
    def is_transactional(self):
        return (ks_load16(self.data + KS_BATCH_ATTRIBUTES) & KS_TRANSACTIONAL) != 0

    @property
    def is_control(self):
        return (ks_load16(self.data + KS_BATCH_ATTRIBUTES) & KS_CONTROL) != 0

    @property
    def has_delete_horizon(self):
        return (ks_load16(self.data + KS_BATCH_ATTRIBUTES) & KS_DELETE_HORIZON) != 0

    @property
    def last_offset_delta(self):
        return ks_load32(self.data + KS_BATCH_LAST_OFFSET_DELTA)

    @property
    def base_timestamp(self):
        return ks_load64(self.data + KS_BATCH_BASE_TIMESTAMP)

    @property
    def max_timestamp(self):
        return ks_load64(self.data + KS_BATCH_MAX_TIMESTAMP)

    @property
    def producer_id(self):
        return ks_load64(self.data + KS_BATCH_PRODUCER_ID)

    @property
    def producer_epoch(self):
        return ks_load16(self.data + KS_BATCH_PRODUCER_EPOCH)

    @property
    def base_sequence(self):
        return ks_load32(self.data + KS_BATCH_BASE_SEQUENCE)

    @property
    def last_sequence(self):
        cdef int32_t base = ks_load32(self.data + KS_BATCH_BASE_SEQUENCE)
        if base < 0:
            return -1
        return ks_sequence_add(base, ks_load32(self.data + KS_BATCH_LAST_OFFSET_DELTA))

    @property
    def count(self):
        return ks_load32(self.data + KS_BATCH_COUNT)

    cdef uint32_t compute_crc(self) except? 0:
        return crc32c_of(self.data + KS_BATCH_ATTRIBUTES, self.size_in_bytes - KS_BATCH_ATTRIBUTES)

    cpdef bint is_crc_valid(self) except -1:
        return self.compute_crc() == <uint32_t> ks_load32(self.data + KS_BATCH_CRC)

    cpdef int ensure_valid(self) except -1:
        cdef uint32_t computed = self.compute_crc()
        if computed != <uint32_t> ks_load32(self.data + KS_BATCH_CRC):
            raise placed(
                CorruptRecordError(
                    f"batch at offset {self.base_offset}, position {self._place()}: "
                    f"stored CRC {self.crc:#010x}, computed {computed:#010x}"
                ),
                self._place(),
                self.base_offset,
            )
        return 0

    def _place(self):
        return self.position if self.file_position < 0 else self.file_position

    cdef int require_writable(self) except -1:
        if self._view.readonly or self._view.buf == NULL:
            raise TypeError("the buffer of this batch is read-only")
        return 0

    cpdef int stamp(self, int64_t base_offset, int32_t leader_epoch) except -1:
        self.require_writable()
        ks_batch_stamp(self.data, base_offset, leader_epoch)
        return 0

    cpdef int set_timestamps(self, int timestamp_type, int64_t max_timestamp) except -1:
        cdef int16_t attributes = ks_load16(self.data + KS_BATCH_ATTRIBUTES)
        cdef int16_t wanted = attributes & ~KS_LOG_APPEND_TIME
        if timestamp_type == 1:
            wanted |= KS_LOG_APPEND_TIME
        if wanted == attributes and ks_load64(self.data + KS_BATCH_MAX_TIMESTAMP) == max_timestamp:
            return 0
        self.require_writable()
        ks_store16(self.data + KS_BATCH_ATTRIBUTES, wanted)
        ks_store64(self.data + KS_BATCH_MAX_TIMESTAMP, max_timestamp)
        ks_store32(self.data + KS_BATCH_CRC, <int32_t> self.compute_crc())
        return 0

    cdef object packed(self):
        """The records as they lie in the batch."""
        return self.memoryview()[KS_BATCH_HEADER_SIZE:]

    cpdef RecordsSummary check_records(self, object max_bytes, bint consecutive=True):
        cdef ks_records_walk walk
        start_check(self, &walk, consecutive)
        if ks_load16(self.data + KS_BATCH_ATTRIBUTES) & KS_CODEC_MASK == 0:
            feed(self, &walk, self.data + KS_BATCH_HEADER_SIZE, self.size_in_bytes - KS_BATCH_HEADER_SIZE)
        else:
            self.check_compressed(&walk, max_bytes)
        if ks_records_finish(&walk) < 0:
            raise record_error(self, &walk)
        return summary_of(self, &walk)

    cdef int check_compressed(self, ks_records_walk *walk, object max_bytes) except -1:
        """Piece by piece: a batch that promises gigabytes gets no more memory than a piece takes."""
        from kstore._native.compression import decompress_pieces

        cdef Py_buffer view
        try:
            for piece in decompress_pieces(self.compression, self.packed(), max_bytes):
                PyObject_GetBuffer(piece, &view, PyBUF_SIMPLE)
                try:
                    feed(self, walk, <const uint8_t *> view.buf, view.len)
                finally:
                    PyBuffer_Release(&view)
        except CorruptRecordError as error:
            raise placed(error, self._place(), self.base_offset)
        return 0

    def records(self, max_bytes=DEFAULT_MAX_BYTES):
        cdef RecordIterator iterator = RecordIterator.__new__(RecordIterator)
        iterator._owner = self
        iterator._count = ks_load32(self.data + KS_BATCH_COUNT)
        if iterator._count < 0:
            raise InvalidRecordError(f"batch at offset {self.base_offset} claims {iterator._count} records")
        iterator._base_offset = ks_load64(self.data + KS_BATCH_BASE_OFFSET)
        iterator._base_timestamp = ks_load64(self.data + KS_BATCH_BASE_TIMESTAMP)
        iterator._log_append_time = ks_load64(self.data + KS_BATCH_MAX_TIMESTAMP)
        iterator._has_log_append_time = self.timestamp_type == 1
        if ks_load16(self.data + KS_BATCH_ATTRIBUTES) & KS_CODEC_MASK == 0:
            iterator._p = self.data + KS_BATCH_HEADER_SIZE
            iterator._limit = self.data + self.size_in_bytes
        else:
            from kstore._native.compression import decompress_pieces

            iterator._pieces = decompress_pieces(self.compression, self.packed(), max_bytes)
        return iterator

    def control_record(self):
        if not self.is_control:
            raise ValueError(f"batch at offset {self.base_offset} is not a control batch")
        for record in self.records():
            return parse_control_record(record)
        return None

    def memoryview(self):
        if self._view.buf == NULL:
            return memoryview(b"")
        return memoryview(self.buffer).cast("B")[self.position : self.position + self.size_in_bytes]

    def to_bytes(self):
        return PyBytes_FromStringAndSize(<char *> self.data, self.size_in_bytes)

    def __len__(self):
        return self.size_in_bytes

    def __repr__(self):
        return (
            f"RecordBatch(offsets {self.base_offset}..{self.last_offset}, count={self.count}, "
            f"position={self._place()}, size_in_bytes={self.size_in_bytes})"
        )


cdef object header_error(int64_t status, const uint8_t *p, Py_ssize_t available, object position):
    """What is wrong with the bytes at `p`, that are no batch."""
    if status == KS_EMAGIC:
        why = f"batch at position {position} has message format {p[KS_BATCH_MAGIC]}"
        return placed(UnsupportedForMessageFormatError(why), position)
    if available < KS_LOG_OVERHEAD:
        return placed(CorruptRecordError(f"{available} bytes at position {position} are no batch"), position)
    length = ks_load32(p + 8)
    if status == KS_ETRUNCATED:
        why = f"batch at position {position} has length {length}, but only {available} bytes are there"
    elif available > KS_BATCH_MAGIC and p[KS_BATCH_MAGIC] > 2:
        why = f"batch at position {position} has the unknown magic {p[KS_BATCH_MAGIC]}"
    else:
        why = f"batch at position {position} has length {length}, less than a batch can have"
    return placed(CorruptRecordError(why), position, ks_load64(p))


cdef int start_check(RecordBatch batch, ks_records_walk *walk, bint consecutive) except -1:
    cdef ks_records_promise promise
    promise.count = ks_load32(batch.data + KS_BATCH_COUNT)
    promise.last_offset_delta = ks_load32(batch.data + KS_BATCH_LAST_OFFSET_DELTA)
    promise.base_timestamp = ks_load64(batch.data + KS_BATCH_BASE_TIMESTAMP)
    promise.consecutive = consecutive
    if promise.count < 0 or (consecutive and ks_add64(promise.last_offset_delta, 1) != promise.count):
        raise InvalidRecordError(
            f"batch at offset {batch.base_offset} claims {promise.count} records and offsets 0 to "
            f"{promise.last_offset_delta}"
        )
    ks_records_start(walk, &promise)
    return 0


cdef int feed(RecordBatch batch, ks_records_walk *walk, const uint8_t *p, Py_ssize_t size) except -1:
    cdef int64_t status
    if size < GIL_RELEASE_SIZE:
        status = ks_records_feed(walk, p, p + size)
    else:
        with nogil:
            status = ks_records_feed(walk, p, p + size)
    if status < 0:
        raise record_error(batch, walk)
    return 0


cdef RecordsSummary summary_of(RecordBatch batch, const ks_records_walk *walk):
    cdef RecordsSummary summary = RecordsSummary.__new__(RecordsSummary)
    summary.count = walk.index
    summary.size_in_bytes = walk.size
    summary.has_null_key = walk.null_keys != 0
    if walk.index == 0 or ks_load16(batch.data + KS_BATCH_ATTRIBUTES) & KS_LOG_APPEND_TIME:
        summary.min_timestamp = summary.max_timestamp = ks_load64(batch.data + KS_BATCH_MAX_TIMESTAMP)
        summary.offset_of_max_timestamp = ks_batch_last_offset(batch.data)
    else:
        summary.min_timestamp = walk.min_timestamp
        summary.max_timestamp = walk.max_timestamp
        summary.offset_of_max_timestamp = ks_add64(
            ks_load64(batch.data + KS_BATCH_BASE_OFFSET), walk.max_timestamp_offset_delta
        )
    return summary


cdef object record_error(RecordBatch batch, const ks_records_walk *walk):
    if walk.fault == KS_RECORD_TRAILING_BYTES:
        return bad_record(batch, walk.index, "more bytes than records")
    if walk.fault == KS_RECORD_OFFSET:
        return bad_record(batch, walk.index, "an offset out of order")
    return bad_record(batch, walk.index, "malformed, or missing")


@cython.final
cdef class BatchIterator:
    def __iter__(self):
        return self

    def __next__(self):
        cdef RecordBatch batch
        if self._position >= self._limit:
            raise StopIteration
        batch = RecordBatch.__new__(RecordBatch)
        try:
            batch.bind(self._buffer, self._position, self._limit)
        except CorruptRecordError:
            if self._allow_partial_tail and is_partial(self._buffer, self._position, self._limit):
                self._position = self._limit
                raise StopIteration from None
            raise
        self._position += batch.size_in_bytes
        return batch


cdef bint is_partial(object buffer, Py_ssize_t position, Py_ssize_t limit) except -1:
    cdef Py_buffer view
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    try:
        return ks_batch_size(<uint8_t *> view.buf + position, limit - position) == KS_ETRUNCATED
    finally:
        PyBuffer_Release(&view)


def iter_batches(buffer, Py_ssize_t position=0, Py_ssize_t limit=-1, *, bint allow_partial_tail=False):
    cdef BatchIterator iterator = BatchIterator.__new__(BatchIterator)
    cdef Py_buffer view
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    cdef Py_ssize_t size = view.len
    PyBuffer_Release(&view)
    if limit < 0:
        limit = size
    if position < 0 or limit > size or position > limit:
        raise ValueError(f"[{position}, {limit}) is not within a buffer of {size} bytes")
    iterator._buffer = buffer
    iterator._position = position
    iterator._limit = limit
    iterator._allow_partial_tail = allow_partial_tail
    return iterator
