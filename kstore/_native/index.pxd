from libc.stdint cimport int64_t, uint8_t

from kstore._native.index_file cimport Index

cdef class OffsetIndex(Index):
    cdef int64_t _last_offset

    cpdef int append(self, int64_t offset, int64_t position) except -1
    cdef tuple pair(self, const uint8_t *entry)
    cpdef tuple lookup(self, int64_t target, bint wait=*)

cdef class TimeIndex(Index):
    cdef int64_t _last_timestamp
    cdef int64_t _last_offset

    cpdef bint maybe_append(self, int64_t timestamp, int64_t offset, bint skip_full_check=*) except -1
    cdef tuple pair(self, const uint8_t *entry)
    cpdef tuple lookup(self, int64_t target, bint wait=*)
