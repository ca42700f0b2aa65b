"""The inner loops of compaction. See compaction.pyi for what callers read."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_Resize
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy

import os

from kstore.errors import CorruptRecordError, InvalidRecordError, MessageTooLargeError

from kstore._native.batch cimport RecordBatch, crc32c_of
from kstore._native.libkstore cimport (
    KS_BATCH_ATTRIBUTES,
    KS_BATCH_COUNT,
    KS_BATCH_CRC,
    KS_BATCH_HEADER_SIZE,
    KS_CODEC_MASK,
    KS_COMPACT_END,
    KS_COMPACT_FULL,
    KS_COMPACT_OTHER,
    KS_DROP,
    KS_EMPTY,
    KS_HASH_KEY_SIZE,
    KS_OPEN_TRANSACTIONS,
    KS_WHOLE,
    ks_batch_size,
    ks_compact_batch,
    ks_compact_batches,
    ks_copy_kept,
    ks_index_batches,
    ks_index_records,
    ks_judge,
    ks_judgement,
    ks_kept,
    ks_last_batch,
    ks_load16,
    ks_load32,
    ks_load64,
    ks_note_kept,
    ks_offset_entry,
    ks_offset_map_get,
    ks_offset_map_put,
    ks_offset_map_start,
    ks_siphash128,
    ks_store32,
    ks_transactions,
    ks_write_kept_header,
)
from kstore._native.record cimport placed
from kstore._native.status cimport raise_status

END = KS_COMPACT_END
OTHER = KS_COMPACT_OTHER
FULL = KS_COMPACT_FULL

ENTRY_SIZE = 24

cdef enum:
    KEPT_ROOM = 1024


def siphash128(bytes key, bytes data):
    """SipHash-2-4 with 16 bytes of output, for a test against the ones of others."""
    cdef uint64_t out[2]
    if len(key) != KS_HASH_KEY_SIZE:
        raise ValueError("the key has 16 bytes")
    ks_siphash128(key, data, len(data), out)
    return int(out[0]).to_bytes(8, "little") + int(out[1]).to_bytes(8, "little")


@cython.final
@cython.no_gc
cdef class Chunk:
    """A buffer that is held while C reads it."""

    cdef Py_buffer view

    def __cinit__(self, data):
        PyObject_GetBuffer(data, &self.view, PyBUF_SIMPLE)

    def __dealloc__(self):
        PyBuffer_Release(&self.view)


@cython.final
@cython.no_gc
cdef class OpenTransactions:
    def __init__(self):
        self._open.count = 0
        self._open.known_until = 0

    def begin(self, int64_t producer_id, bint is_aborted, int64_t known_until):
        cdef int32_t i = 0
        while i < self._open.count and self._open.producer_id[i] != producer_id:
            i += 1
        self._open.known_until = known_until
        if i == KS_OPEN_TRANSACTIONS:
            return
        self._open.producer_id[i] = producer_id
        self._open.is_aborted[i] = is_aborted
        self._open.count = max(self._open.count, i + 1)

    def end(self, int64_t producer_id, int64_t known_until):
        cdef int32_t i, last = self._open.count - 1
        self._open.known_until = known_until
        for i in range(self._open.count):
            if self._open.producer_id[i] == producer_id:
                self._open.producer_id[i] = self._open.producer_id[last]
                self._open.is_aborted[i] = self._open.is_aborted[last]
                self._open.count = last
                return


@cython.final
@cython.no_gc
cdef class OffsetMap:
    def __cinit__(self, int64_t slots, *, double load_factor=0.9):
        cdef bytes key = os.urandom(KS_HASH_KEY_SIZE)
        if slots < 2:
            raise ValueError("an offset map has two slots or more")
        # Zeros from calloc are pages that nobody has touched yet.
        cdef ks_offset_entry *entries = <ks_offset_entry *> calloc(slots, sizeof(ks_offset_entry))
        if entries == NULL:
            raise MemoryError
        ks_offset_map_start(&self._map, entries, slots, <uint64_t> max(1.0, slots * load_factor), key)

    def __dealloc__(self):
        free(self._map.entries)

    @property
    def slots(self):
        return self._map.slots

    @property
    def limit(self):
        return self._map.limit

    def __len__(self):
        return self._map.size

    @property
    def latest_offset(self):
        return self._map.latest_offset

    @latest_offset.setter
    def latest_offset(self, int64_t offset):
        self._map.latest_offset = offset

    def put(self, bytes key, int64_t offset):
        return ks_offset_map_put(&self._map, key, len(key), offset) != 0

    def get(self, bytes key):
        return ks_offset_map_get(&self._map, key, len(key))

    def index_chunk(
        self, data, Py_ssize_t position, int64_t start_offset, OpenTransactions transactions=None
    ):
        cdef Chunk chunk = Chunk(data)
        cdef const uint8_t *p = <const uint8_t *> chunk.view.buf
        cdef const uint8_t *limit = p + chunk.view.len
        cdef const uint8_t *stopped = p + position
        cdef const ks_transactions *known = NULL if transactions is None else &transactions._open
        cdef int64_t status
        if not 0 <= position <= chunk.view.len:
            raise ValueError(f"position {position} is not within {chunk.view.len} bytes")
        with nogil:
            status = ks_index_batches(&self._map, known, p + position, limit, start_offset, &stopped)
        if status < 0:
            raise refusal(status, stopped, limit)
        return stopped - p, status

    def index_batch(self, RecordBatch batch not None, int64_t start_offset, object max_bytes):
        cdef Chunk chunk
        cdef const uint8_t *header = batch.data
        cdef const uint8_t *p
        cdef const uint8_t *limit
        cdef int64_t status
        if ks_load16(header + KS_BATCH_ATTRIBUTES) & KS_CODEC_MASK:
            chunk = Chunk(decompressed(batch, max_bytes))
            p = <const uint8_t *> chunk.view.buf
            limit = p + chunk.view.len
        else:
            p = header + KS_BATCH_HEADER_SIZE
            limit = header + batch.size_in_bytes
        with nogil:
            status = ks_index_records(&self._map, header, p, limit, start_offset)
        if status < 0:
            raise bad_batch(batch)
        return status == KS_COMPACT_END


def check_chunk(data, Py_ssize_t position):
    """Checks the CRC of all batches that lie whole in `data` from `position` on; returns how many bytes they are."""
    cdef Chunk chunk = Chunk(data)
    cdef const uint8_t *start = <const uint8_t *> chunk.view.buf
    cdef const uint8_t *p = start + position
    cdef const uint8_t *limit = start + chunk.view.len
    cdef int64_t size
    if not 0 <= position <= chunk.view.len:
        raise ValueError(f"position {position} is not within {chunk.view.len} bytes")
    while True:
        size = ks_batch_size(p, limit - p)
        if size < 0:
            return (p - start) - position
        crc = crc32c_of(p + KS_BATCH_ATTRIBUTES, size - KS_BATCH_ATTRIBUTES)
        if crc != <unsigned int> ks_load32(p + KS_BATCH_CRC):
            error = CorruptRecordError(f"the batch at offset {ks_load64(p)} does not have the CRC that it says")
            raise placed(error, p - start, ks_load64(p))
        p += size


cdef object refusal(int64_t status, const uint8_t *p, const uint8_t *limit):
    """Why a walk over batches ended at `p`."""
    offset = ks_load64(p) if limit - p >= 8 else -1
    try:
        raise_status(status, f"the batch at offset {offset}")
    except Exception as error:
        return error


cdef object bad_batch(RecordBatch batch):
    return InvalidRecordError(f"the batch at offset {batch.base_offset} has records that are malformed, or missing")


cdef object decompressed(RecordBatch batch, object max_bytes):
    from kstore._native.compression import decompress

    return decompress(batch.compression, batch.packed(), max_bytes)


@cython.final
@cython.no_gc
cdef class Compactor:
    def __cinit__(
        self,
        OffsetMap offset_map not None,
        *,
        int64_t now_ms,
        int64_t delete_retention_ms,
        last_batches=(),
        OpenTransactions transactions=None,
        Py_ssize_t room=256 * 1024,
    ):
        self.map = offset_map
        self._transactions = transactions
        self._c.transactions = NULL if transactions is None else &transactions._open
        self._c.map = &offset_map._map
        self._c.now_ms = now_ms
        self._c.delete_retention_ms = delete_retention_ms
        self.set_last_batches(sorted(last_batches))
        self._kept = <ks_kept *> calloc(KEPT_ROOM, sizeof(ks_kept))
        if self._kept == NULL:
            raise MemoryError
        self._c.kept = self._kept
        self._c.kept_room = KEPT_ROOM
        self._out = bytearray()
        self.make_room(room, 8192)

    def __dealloc__(self):
        free(self._last)
        free(self._kept)
        free(self._c.keep)

    def set_last_batches(self, list last_batches):
        cdef Py_ssize_t i
        free(self._last)
        self._last = <ks_last_batch *> calloc(len(last_batches) + 1, sizeof(ks_last_batch))
        if self._last == NULL:
            raise MemoryError
        for i, (producer_id, last_offset, producer_epoch) in enumerate(last_batches):
            self._last[i].producer_id = producer_id
            self._last[i].last_offset = last_offset
            self._last[i].producer_epoch = producer_epoch
        self._c.last = self._last
        self._c.last_count = len(last_batches)

    cdef int make_room(self, int64_t more, int64_t records) except -1:
        """Room for `more` bytes behind what is there, and for the verdicts over so many records."""
        cdef size_t wanted = self._c.out_size + more
        cdef void *keep
        if more > INT32_MAX:
            raise MessageTooLargeError(f"a batch of {more} bytes")
        if wanted > self._c.out_room:
            PyByteArray_Resize(self._out, wanted)
            self._c.out = <uint8_t *> PyByteArray_AS_STRING(self._out)
            self._c.out_room = wanted
        wanted = (records + 7) // 8
        if wanted > self._c.keep_size:
            keep = realloc(self._c.keep, wanted)
            if keep == NULL:
                raise MemoryError
            self._c.keep = <uint8_t *> keep
            self._c.keep_size = wanted
        return 0

    @property
    def records_read(self):
        return self._c.records_read

    @property
    def records_kept(self):
        return self._c.records_kept

    @property
    def records_without_key(self):
        return self._c.records_without_key

    @property
    def size(self):
        return self._c.out_size

    def compact_chunk(self, data, Py_ssize_t position):
        cdef Chunk chunk = Chunk(data)
        cdef const uint8_t *p = <const uint8_t *> chunk.view.buf
        cdef const uint8_t *limit = p + chunk.view.len
        cdef const uint8_t *stopped = p + position
        cdef int64_t status
        if not 0 <= position <= chunk.view.len:
            raise ValueError(f"position {position} is not within {chunk.view.len} bytes")
        with nogil:
            status = ks_compact_batches(&self._c, p + position, limit, &stopped)
        if status < 0:
            raise refusal(status, stopped, limit)
        return stopped - p, status

    def compact_batch(
        self, RecordBatch batch not None, *, bint discard=False, bint marker_is_free=False, object max_bytes
    ):
        cdef const uint8_t *header = batch.data
        cdef int64_t status
        if self._c.kept_count == self._c.kept_room:
            return False
        if self._c.out_size > 0 and self._c.out_room - self._c.out_size < <size_t> 4 * batch.size_in_bytes:
            return False
        if ks_load16(header + KS_BATCH_ATTRIBUTES) & KS_CODEC_MASK:
            self.compact_compressed(batch, discard, marker_is_free, max_bytes)
            return True
        # A record of 7 bytes may become one of 20: no batch becomes four times its size.
        self.make_room(4 * <int64_t> batch.size_in_bytes + 512, max(0, ks_load32(header + KS_BATCH_COUNT)))
        with nogil:
            status = ks_compact_batch(&self._c, header, batch.size_in_bytes, discard, marker_is_free)
        if status != 0:
            raise bad_batch(batch)
        return True

    cdef int compact_compressed(
        self, RecordBatch batch, bint discard, bint marker_is_free, object max_bytes
    ) except -1:
        from kstore._native.compression import compress

        cdef Chunk chunk = Chunk(decompressed(batch, max_bytes))
        cdef const uint8_t *header = batch.data
        cdef const uint8_t *p = <const uint8_t *> chunk.view.buf
        cdef const uint8_t *limit = p + chunk.view.len
        cdef ks_judgement judgement
        cdef int64_t status
        cdef Py_ssize_t size
        cdef uint8_t *end
        cdef uint8_t *data
        count = ks_load32(header + KS_BATCH_COUNT)
        if count < 0 or count > chunk.view.len:
            raise bad_batch(batch)
        self.make_room(0, count)
        with nogil:
            status = ks_judge(&self._c, header, p, limit, discard, marker_is_free, &judgement)
        if status != 0:
            raise bad_batch(batch)
        if judgement.verdict == KS_DROP:
            return 0
        if judgement.verdict == KS_WHOLE:
            self.make_room(batch.size_in_bytes, 0)
            memcpy(self._c.out + self._c.out_size, header, batch.size_in_bytes)
            ks_note_kept(&self._c, batch.size_in_bytes, False)
            return 0
        packed = b""
        if judgement.verdict != KS_EMPTY:
            records = bytearray(judgement.most)
            data = <uint8_t *> PyByteArray_AS_STRING(records)
            with nogil:
                end = ks_copy_kept(&self._c, header, p, limit, &judgement, data)
            packed = compress(batch.compression, memoryview(records)[: end - data])
        size = KS_BATCH_HEADER_SIZE + len(packed)
        self.make_room(size, 0)
        if packed:
            data = self._c.out + self._c.out_size + KS_BATCH_HEADER_SIZE
            memcpy(data, <const uint8_t *> (<bytes> packed), len(packed))
        ks_write_kept_header(self._c.out + self._c.out_size, <int32_t> size, header, &judgement)
        ks_note_kept(&self._c, size, True)
        return 0

    def finish(self):
        """Gives each new batch its CRC; the output is then whole."""
        cdef size_t i
        cdef uint8_t *p
        for i in range(self._c.kept_count):
            if self._kept[i].is_new:
                p = self._c.out + self._kept[i].position
                crc = crc32c_of(p + KS_BATCH_ATTRIBUTES, self._kept[i].size - KS_BATCH_ATTRIBUTES)
                ks_store32(p + KS_BATCH_CRC, <int32_t> crc)
                self._kept[i].is_new = False
        return self._out

    def index_points(
        self, int64_t position, int64_t since, int64_t interval, int64_t max_timestamp, int64_t max_timestamp_offset
    ):
        cdef size_t i
        points = []
        for i in range(self._c.kept_count):
            if self._kept[i].max_timestamp > max_timestamp:
                max_timestamp = self._kept[i].max_timestamp
                max_timestamp_offset = self._kept[i].last_offset
            if since > interval:
                points.append(
                    (self._kept[i].last_offset, position + self._kept[i].position, max_timestamp, max_timestamp_offset)
                )
                since = 0
            since += self._kept[i].size
        return points, since, max_timestamp, max_timestamp_offset

    def clear(self):
        self._c.out_size = 0
        self._c.kept_count = 0
