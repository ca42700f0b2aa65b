from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t

cdef class BatchBuilder:
    cdef bytearray _bytes  # header and records; None when built
    cdef uint8_t *_data
    cdef Py_ssize_t _size
    cdef Py_ssize_t _capacity
    cdef int64_t _base_offset
    cdef int64_t _base_timestamp
    cdef int64_t _max_timestamp
    cdef int64_t _log_append_time
    cdef int64_t _producer_id
    cdef int32_t _base_sequence
    cdef int32_t _leader_epoch
    cdef int32_t _last_offset_delta
    cdef int32_t _count
    cdef int16_t _attributes
    cdef int16_t _producer_epoch
    cdef bint _has_base_timestamp
    cdef object _level

    cdef int reserve(self, Py_ssize_t more) except -1
    cdef int add(
        self, int64_t offset_delta, int64_t timestamp, object key, object value, object headers
    ) except -1
    cpdef append(self, int64_t timestamp, object key, object value, object headers=*)
    cpdef append_with_offset(
        self, int64_t offset, int64_t timestamp, object key, object value, object headers=*
    )
    cpdef bytearray build(self)
    cdef bytearray compressed(self)
