from libc.stdint cimport int32_t, int64_t, uint8_t

from kstore._native.batch cimport RecordBatch
from kstore._native.file cimport FileHandle
from kstore._native.libkstore cimport ks_extent, ks_walk

cdef RecordBatch read_batch(FileHandle handle, str path, int64_t position, int64_t size, bint wait)
cdef object walk_error(int64_t status, str path, int64_t position)

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

cdef class CheckedHeaders:
    cdef FileHandle _handle
    cdef str _path
    cdef int64_t _end
    cdef readonly int64_t valid_bytes
    cdef readonly object error
    cdef int64_t _chunk_size
    cdef bytearray _chunk
    cdef int64_t _chunk_start
    cdef int64_t _loaded
    cdef bint _done

    cdef int check_crc(self, const uint8_t *header, int64_t start, int64_t size) except -1
    cdef int64_t readable(self, int64_t position)
    cdef uint8_t *at(self, int64_t position)
    cdef int load(self, int64_t position) except -1
    cdef int stop(self, int64_t status) except -1

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
