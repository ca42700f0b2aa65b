from libc.stdint cimport int32_t, int64_t, uint8_t

from kstore._native.libkstore cimport ks_record

cdef object placed(error, position, offset=*)
cdef object bad_record(object batch, int32_t index, str why)

cdef class Record:
    cdef readonly int64_t offset
    cdef readonly int64_t timestamp
    cdef readonly object key
    cdef readonly object value
    cdef readonly object headers

cdef class RecordIterator:
    cdef object _owner  # the RecordBatch, which keeps the bytes alive
    cdef bytes _bytes  # the decompressed records that are being read, None when they lie in the batch
    cdef object _pieces  # the decompressed records that follow, None when there are none
    cdef const uint8_t *_p
    cdef const uint8_t *_limit
    cdef int32_t _index
    cdef int32_t _count
    cdef int64_t _base_offset
    cdef int64_t _base_timestamp
    cdef int64_t _log_append_time
    cdef bint _has_log_append_time

    cdef object fail(self, str why)
    cdef int next_piece(self) except -1
    cdef int go_on_with(self, bytes piece) except -1
    cdef int complete_record(self) except -1
    cdef tuple headers_of(self, const ks_record *record)
