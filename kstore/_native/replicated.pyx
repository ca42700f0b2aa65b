"""What a leader sent to its follower. See replicated.pyi for what callers read."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint32_t

from kstore._native.batch cimport RecordBatch, crc32c_of
from kstore._native.libkstore cimport (
    KS_BATCH_ATTRIBUTES,
    KS_BATCH_BASE_OFFSET,
    KS_BATCH_CRC,
    KS_BATCH_LEADER_EPOCH,
    KS_BATCH_MAX_TIMESTAMP,
    KS_BATCH_PRODUCER_ID,
    KS_ETRUNCATED,
    ks_batch_last_offset,
    ks_batch_size,
    ks_load32,
    ks_load64,
)


cdef RecordBatch batch_at(object records, Py_ssize_t position, Py_ssize_t limit):
    cdef RecordBatch batch = RecordBatch.__new__(RecordBatch)
    batch.bind(records, position, limit)
    return batch


@cython.final
cdef class ReplicatedBatches:
    def __init__(
        self,
        records,
        Py_ssize_t position=0,
        Py_ssize_t limit=-1,
        *,
        int64_t next_offset,
        int32_t max_leader_epoch,
    ):
        if self._view.buf != NULL:
            raise TypeError("batches are checked once")
        PyObject_GetBuffer(records, &self._view, PyBUF_SIMPLE)
        if limit < 0:
            limit = self._view.len
        if position < 0 or limit > self._view.len or position > limit:
            raise ValueError(f"[{position}, {limit}) is not within a buffer of {self._view.len} bytes")
        self._data = <const uint8_t *> self._view.buf + position
        self.position = position
        self.first_offset = self.max_timestamp = self.last_leader_epoch = -1
        self.epochs = []
        self.with_producer = []
        self.check(records, limit, next_offset, max_leader_epoch)

    def __dealloc__(self):
        PyBuffer_Release(&self._view)

    cdef int check(self, object records, Py_ssize_t limit, int64_t next_offset, int32_t max_leader_epoch) except -1:
        cdef Py_ssize_t start = self.position
        cdef const uint8_t *p
        cdef int64_t size, base_offset, last_offset
        cdef int32_t epoch
        while start < limit:
            p = <const uint8_t *> self._view.buf + start
            size = ks_batch_size(p, limit - start)
            if size == KS_ETRUNCATED:
                break
            if size < 0:
                batch_at(records, start, limit)  # says what is wrong
                raise AssertionError("what has no size was taken for a batch")
            epoch = ks_load32(p + KS_BATCH_LEADER_EPOCH)
            if epoch > max_leader_epoch:
                break
            if crc32c_of(p + KS_BATCH_ATTRIBUTES, size - KS_BATCH_ATTRIBUTES) != <uint32_t> ks_load32(p + KS_BATCH_CRC):
                batch_at(records, start, limit).ensure_valid()
            base_offset = ks_load64(p + KS_BATCH_BASE_OFFSET)
            last_offset = ks_batch_last_offset(p)
            if base_offset < next_offset or not base_offset <= last_offset < INT64_MAX:
                self.misplaced = batch_at(records, start, limit)
                break
            if self.size_in_bytes == 0:
                self.first_offset = base_offset
            if epoch >= 0 and (self.size_in_bytes == 0 or epoch != self.last_leader_epoch):
                self.epochs.append((epoch, base_offset))
            if ks_load64(p + KS_BATCH_PRODUCER_ID) >= 0:
                self.with_producer.append(batch_at(records, start, limit))
            self.last_leader_epoch = epoch
            self.max_timestamp = max(self.max_timestamp, ks_load64(p + KS_BATCH_MAX_TIMESTAMP))
            next_offset = last_offset + 1
            self.size_in_bytes += size
            start += size
        self.next_offset = next_offset
        return 0

    def index_points(
        self,
        int64_t file_position,
        int64_t since,
        int64_t interval,
        int64_t max_timestamp,
        int64_t max_timestamp_offset,
    ):
        cdef const uint8_t *p = self._data
        cdef Py_ssize_t left = self.size_in_bytes
        cdef int64_t size, timestamp
        points = []
        while left > 0:
            size = ks_batch_size(p, left)
            if size <= 0:
                raise AssertionError("batches that were checked have been changed")
            timestamp = ks_load64(p + KS_BATCH_MAX_TIMESTAMP)
            if timestamp > max_timestamp:
                max_timestamp = timestamp
                max_timestamp_offset = ks_batch_last_offset(p)
            if since > interval:
                points.append((ks_batch_last_offset(p), file_position, max_timestamp, max_timestamp_offset))
                since = 0
            since += size
            file_position += size
            left -= size
            p += size
        return points, since, max_timestamp, max_timestamp_offset
