from libc.stdint cimport int32_t, int64_t, uint8_t


cdef class ReplicatedBatches:
    cdef Py_buffer _view
    cdef const uint8_t *_data  # the first batch
    cdef readonly Py_ssize_t position
    cdef readonly Py_ssize_t size_in_bytes
    cdef readonly int64_t first_offset
    cdef readonly int64_t next_offset
    cdef readonly int64_t max_timestamp
    cdef readonly int32_t last_leader_epoch
    cdef readonly list epochs
    cdef readonly list with_producer
    cdef readonly object misplaced

    cdef int check(self, object records, Py_ssize_t limit, int64_t next_offset, int32_t max_leader_epoch) except -1
