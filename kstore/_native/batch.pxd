from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from kstore._native.libkstore cimport ks_records_walk

cdef uint32_t crc32c_of(const uint8_t *data, Py_ssize_t size, uint32_t before=*) except? 0

cdef class RecordsSummary:
    cdef readonly int32_t count
    cdef readonly int64_t min_timestamp
    cdef readonly int64_t max_timestamp
    cdef readonly int64_t offset_of_max_timestamp
    cdef readonly bint has_null_key
    cdef readonly Py_ssize_t size_in_bytes

cdef class RecordBatch:
    cdef Py_buffer _view
    cdef uint8_t *data  # the header; all of size_in_bytes is readable
    cdef readonly object buffer
    cdef readonly Py_ssize_t position
    cdef readonly int64_t file_position
    cdef readonly int32_t size_in_bytes

    cdef int bind(self, object buffer, Py_ssize_t position, Py_ssize_t limit) except -1
    cdef int require_writable(self) except -1
    cdef uint32_t compute_crc(self) except? 0
    cdef object packed(self)
    cdef int check_compressed(self, ks_records_walk *walk, object max_bytes) except -1
    cpdef bint is_crc_valid(self) except -1
    cpdef int ensure_valid(self) except -1
    cpdef int stamp(self, int64_t base_offset, int32_t leader_epoch) except -1
    cpdef int set_timestamps(self, int timestamp_type, int64_t max_timestamp) except -1
    cpdef RecordsSummary check_records(self, object max_bytes, bint consecutive=*)

cdef class BatchIterator:
    cdef object _buffer
    cdef Py_ssize_t _position
    cdef Py_ssize_t _limit
    cdef bint _allow_partial_tail
