from kstore._native.buffer cimport Cursor, Writer


cdef enum Kind:
    BOOL, INT8, INT16, UINT16, INT32, UINT32, INT64, FLOAT64, UUID, STRING, BYTES, ARRAY, STRUCT


# Where the value of a field comes from when the bytes do not hold it.
cdef enum Fallback:
    SHARED, NEW_LIST, NEW_STRUCT


cdef struct Op:
    Kind kind
    Kind element
    bint nullable
    bint checked  # absent from this version: only the default may be written
    int tag
    Py_ssize_t offset
    Py_ssize_t element_min_size
    Fallback fallback
    void* default
    void* program
    const char* path


cdef class Struct:
    cdef public object unknown_tags


cdef class Layout:
    cdef readonly object cls
    cdef readonly tuple names
    cdef readonly tuple defaults
    cdef Py_ssize_t count
    cdef Py_ssize_t* offsets
    cdef Fallback* fallbacks

    cdef object fresh(self, Py_ssize_t index)


cdef class Program:
    cdef readonly Layout layout
    cdef readonly Py_ssize_t min_size
    cdef readonly int version
    cdef readonly bint flexible
    cdef bytes message
    cdef bytes tags_path
    cdef list kept
    cdef Py_ssize_t cost
    cdef Py_ssize_t count
    cdef Py_ssize_t tag_count
    cdef Py_ssize_t absent_count
    cdef Op* ops
    cdef Op* tags
    cdef Op* absent

    cdef object read(self, Cursor* c)
    cdef int write(self, object value, Writer* w) except -1
    cdef int read_tags(self, Cursor* c, object made) except -1
    cdef int write_tags(self, object value, Writer* w) except -1
