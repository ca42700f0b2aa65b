from libc.stdint cimport int32_t, int64_t, uint8_t

from kstore._native.libkstore cimport ks_extent, ks_walk

cdef class FileHandle:
    cdef readonly int fd

cdef FileHandle open_handle(str path, int flags)

cdef class FileRecords:
    cdef readonly str path
    cdef readonly bint writable
    cdef readonly int64_t size_in_bytes
    cdef int64_t _preallocated
    cdef FileHandle _handle
    cdef bint _closed

    cdef FileHandle handle(self)
    cdef int check_range(self, int64_t position, int64_t size) except -1
    cdef int start_walk(self, ks_walk *walk, FileHandle handle, int64_t start, int64_t end) except -1
    cdef int64_t append_bytes(self, const uint8_t *data, Py_ssize_t size) except -1
    cpdef int64_t append(self, object buffer, Py_ssize_t position=*, Py_ssize_t size=*) except -1
    cpdef FileSlice slice(self, int64_t position, int64_t size)

cdef class FileSlice:
    cdef FileHandle _handle
    cdef readonly str path
    cdef readonly int64_t position
    cdef readonly int64_t size

    cpdef int64_t send_to(self, int socket_fd, int64_t already_sent, int64_t most=*) except -1
    cpdef bint is_warm(self, int64_t already_sent, int64_t most) except -1

cdef class BatchHeader:
    cdef readonly int64_t position
    cdef readonly int64_t size_in_bytes
    cdef readonly int64_t base_offset
    cdef readonly int64_t last_offset
    cdef readonly int64_t base_timestamp
    cdef readonly int64_t max_timestamp
    cdef readonly int64_t producer_id
    cdef readonly int32_t partition_leader_epoch
    cdef readonly int32_t base_sequence
    cdef readonly int32_t count
    cdef readonly int attributes
    cdef readonly int producer_epoch

cdef class HeaderIterator:
    cdef FileHandle _handle
    cdef str _path
    cdef ks_walk _walk

cdef class SegmentScan:
    cdef FileHandle _handle
    cdef str _path
    cdef bint _check_crc
    cdef int64_t _end
    cdef readonly int64_t valid_bytes
    cdef readonly object error
    cdef Py_ssize_t _chunk_size
    cdef bytearray _chunk
    cdef int64_t _chunk_start
    cdef ks_extent _extents[512]
    cdef size_t _extent_count
    cdef size_t _extent_index
    cdef Py_ssize_t _scanned
    cdef Py_ssize_t _loaded
    cdef bint _done

    cdef bint find_extents(self) except -1
    cdef bint load(self) except -1
    cdef bint stop(self, int64_t status) except -1
