"""Descriptors that live as long as somebody uses them. See file.pyi for what callers read."""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t
from posix.unistd cimport close

from kstore._native.libkstore cimport ks_file_open_cached, ks_file_read, ks_file_sync
from kstore._native.status cimport raise_status

cdef int READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


@cython.final
@cython.no_gc
cdef class FileHandle:
    """A descriptor that is closed when nobody holds it any longer."""

    def __cinit__(self):
        self.fd = -1

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)


cdef FileHandle open_handle(str path, int flags, bint wait=True):
    """Raises OSError; without `wait` NotCachedError where the disk would have to be asked for a name."""
    cdef FileHandle handle = FileHandle.__new__(FileHandle)
    cdef const char *name
    cdef int64_t fd
    if wait:
        handle.fd = os.open(path, flags, 0o644)
        return handle
    encoded = os.fsencode(path)
    name = encoded
    with nogil:
        fd = ks_file_open_cached(name, flags)
    raise_status(fd, path)
    handle.fd = <int> fd
    return handle


cdef bytes read_bytes(FileHandle handle, str path, int64_t position, int64_t size, bint wait=True):
    cdef bytes data = PyBytes_FromStringAndSize(NULL, size)
    cdef uint8_t *p = <uint8_t *> PyBytes_AS_STRING(data)
    cdef int64_t n
    with nogil:
        n = ks_file_read(handle.fd, p, size, position, wait)
    raise_status(n, path)
    return data if n == size else data[:n]


def modified_ns(path):
    """When the file was written to last, from memory: NotCachedError where the disk would have to be asked."""
    cdef FileHandle handle = open_handle(os.fspath(path), READ_FLAGS, False)
    return os.fstat(handle.fd).st_mtime_ns


def fsync_dir(path):
    """Makes the entries of a directory durable: files created, renamed or removed in it."""
    cdef FileHandle handle = open_handle(os.fspath(path), READ_FLAGS | os.O_DIRECTORY)
    cdef int64_t status
    with nogil:
        status = ks_file_sync(handle.fd)
    raise_status(status, path)
