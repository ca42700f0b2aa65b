from libc.stdint cimport int64_t, uint8_t

from kstore._native.file cimport FileHandle
from kstore._native.libkstore cimport ks_walk

cdef class FileRecords:
    cdef readonly str path
    cdef readonly bint writable
    cdef readonly int64_t size_in_bytes
    cdef int64_t _preallocated
    cdef FileHandle _handle
    cdef bint _closed

    cdef FileHandle handle(self, bint wait=*)
    cdef int check_range(self, int64_t position, int64_t size) except -1
    cdef int start_walk(self, ks_walk *walk, FileHandle handle, int64_t start, int64_t end, bint wait) except -1
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
