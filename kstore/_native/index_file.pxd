from libc.stdint cimport int64_t, uint8_t

from kstore._native.libkstore cimport ks_index_field
from kstore._native.file cimport FileHandle

cdef class Index:
    cdef readonly str path
    cdef readonly int64_t base_offset
    cdef readonly int64_t max_bytes
    cdef readonly bint writable
    cdef size_t _entry_size
    cdef FileHandle _handle
    cdef bint _loaded
    cdef bint _closed
    cdef int64_t _file_size
    cdef size_t _written  # entries that are in the file
    cdef uint8_t *_tail  # the last entries
    cdef size_t _tail_first  # a multiple of BLOCK
    cdef size_t _tail_count
    cdef size_t _tail_capacity
    cdef int64_t *_fences  # the key of each block's first entry, for the blocks before the tail
    cdef size_t _fence_count
    cdef size_t _fence_capacity

    cdef ks_index_field key_field(self)
    cdef ks_index_field offset_field(self)
    cdef int after_change(self) except -1
    cdef void forget(self)
    cdef bint has_room(self, size_t more)
    cdef int check_size(self) except -1
    cdef FileHandle opened(self, bint wait=*)
    cdef int load(self, bint wait=*) except -1
    cdef int read_entries(self, size_t first, size_t count, uint8_t *into, bint wait) except -1
    cdef int load_tail(self, size_t entries, bint wait) except -1
    cdef bint is_zero(self, size_t n, bint wait) except -1
    cdef size_t without_trailing_zeros(self, size_t entries, bint wait) except? 0
    cdef int add_fence(self, int64_t key) except -1
    cdef int build_fences(self, bint wait) except -1
    cdef int reserve(self, size_t count) except -1
    cdef uint8_t *next_entry(self) except NULL
    cdef int write_pending(self) except -1
    cdef int make_room(self) except -1
    cdef size_t upper_bound(self, ks_index_field field, int64_t target, uint8_t *floor, bint wait) except? 0
    cdef int copy_entry(self, size_t n, uint8_t *into, bint wait) except -1
    cdef int truncate_to_entries(self, size_t entries) except -1
    cdef int64_t relative(self, int64_t offset) except -1
