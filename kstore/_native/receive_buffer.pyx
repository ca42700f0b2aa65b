"""Memory that is received into again and again. See receive_buffer.pyi for what callers read."""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc


@cython.final
@cython.no_gc
cdef class ReceiveBuffer:
    def __cinit__(self, Py_ssize_t size):
        if size < 1:
            raise ValueError(f"a buffer of {size} bytes")
        self._data = <uint8_t *> malloc(<size_t> size)
        if self._data == NULL:
            raise MemoryError
        self.size = size

    def __dealloc__(self):
        free(self._data)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self._data, self.size, 0, flags)
        self._views += 1

    def __releasebuffer__(self, Py_buffer *view):
        self._views -= 1

    @property
    def has_views(self):
        return self._views > 0
