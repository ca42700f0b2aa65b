from libc.stdint cimport uint8_t


cdef class ReceiveBuffer:
    cdef uint8_t *_data
    cdef readonly Py_ssize_t size
    cdef Py_ssize_t _views
