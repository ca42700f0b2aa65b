from libc.stdint cimport int64_t

cdef class FileHandle:
    cdef readonly int fd

cdef FileHandle open_handle(str path, int flags, bint wait=*)
cdef bytes read_bytes(FileHandle handle, str path, int64_t position, int64_t size, bint wait=*)
