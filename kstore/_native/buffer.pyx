from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp

from kstore.errors import InvalidRequestError
from kstore.model import ZERO_UUID

cdef bytes zero_uuid = ZERO_UUID


cdef int refuse(Cursor* c, str problem) except -1:
    message = c.message.decode("utf-8")
    field = c.field.decode("utf-8")
    where = f"{message} v{c.version}" if c.version >= 0 else message
    raise InvalidRequestError(f"{where}: {field} at byte {c.p - c.start}: {problem}")


cdef int refuse_short(Cursor* c, Py_ssize_t need) except -1:
    refuse(c, f"{need} bytes wanted, {c.end - c.p} left")


cdef int refuse_allowance(Cursor* c) except -1:
    refuse(c, f"{c.end - c.start} bytes that would grow beyond the memory allowed for them")


cdef str decode_text(Cursor* c, bytes_ptr p, Py_ssize_t size):
    try:
        return PyUnicode_DecodeUTF8(<char*>p, size, NULL)
    except UnicodeDecodeError as error:
        refuse(c, f"not UTF-8: {error.object[:64]!r}")


cdef int skip_tags(Cursor* c) except -1:
    """Steps over a tagged-field section whose fields nobody asked for; nothing is made for them."""
    cdef int64_t count = read_uvarint(c)
    cdef int64_t size
    if count > (c.end - c.p) // 2:
        refuse(c, f"{count} tagged fields of at least 2 bytes cannot be in the {c.end - c.p} bytes left")
    while count > 0:
        read_uvarint(c)
        size = read_uvarint(c)
        if size > c.end - c.p:
            refuse_short(c, size)
        c.p += size
        count -= 1
    return 0


cdef int expect_end(Cursor* c) except -1:
    if c.p != c.end:
        c.field = b"(end)"
        refuse(c, f"{c.end - c.p} bytes after the last field")
    return 0


cdef object uuid_bytes(bytes_ptr p):
    if memcmp(p, <const char*>zero_uuid, 16) == 0:
        return zero_uuid
    return PyBytes_FromStringAndSize(<const char*>p, 16)


cdef int writer_grow(Writer* w, Py_ssize_t size) except -1:
    cdef Py_ssize_t capacity = max(w.capacity * 2, w.size + size, 256)
    cdef unsigned char* data
    if w.is_heap:
        data = <unsigned char*>realloc(w.data, <size_t>capacity)
    else:
        data = <unsigned char*>malloc(<size_t>capacity)
    if data == NULL:
        raise MemoryError
    if not w.is_heap and w.size:
        memcpy(data, w.data, <size_t>w.size)
    w.data = data
    w.capacity = capacity
    w.is_heap = True
    return 0


cdef void writer_free(Writer* w) noexcept:
    if w.is_heap:
        free(w.data)
    w.data = NULL
    w.size = w.capacity = 0
    w.is_heap = False


cdef bytes writer_bytes(Writer* w):
    return PyBytes_FromStringAndSize(<const char*>w.data, w.size)


cdef class ReadBuffer:
    def __cinit__(self, buffer, Py_ssize_t position=0, Py_ssize_t limit=-1, *, str what="buffer"):
        self.has_view = False
        PyObject_GetBuffer(buffer, &self.view, PyBUF_SIMPLE)
        self.has_view = True
        self.buffer = buffer
        self.what = what.encode()
        if limit < 0:
            limit = self.view.len
        if not 0 <= position <= limit <= self.view.len:
            raise ValueError(f"[{position}, {limit}) is not within a buffer of {self.view.len} bytes")
        cursor_init(&self.c, <bytes_ptr>self.view.buf, position, limit, self.what, -1)
        self.c.field = b"value"

    def __dealloc__(self):
        if self.has_view:
            PyBuffer_Release(&self.view)

    @property
    def position(self):
        return self.c.p - self.c.start

    @property
    def remaining(self):
        return self.c.end - self.c.p

    def int8(self):
        return read_int8(&self.c)

    def int16(self):
        return read_int16(&self.c)

    def int32(self):
        return read_int32(&self.c)

    def int64(self):
        return read_int64(&self.c)

    def uuid(self):
        need(&self.c, 16)
        self.c.p += 16
        return uuid_bytes(self.c.p - 16)

    def uvarint(self):
        return read_uvarint(&self.c)

    def count(self, Py_ssize_t min_size, *, bint compact=False):
        if min_size < 1:
            raise ValueError(f"min_size {min_size} is not positive")
        cdef Py_ssize_t count = read_count(&self.c, compact, min_size)
        return None if count < 0 else count

    def string(self, *, bint compact=False):
        cdef Py_ssize_t size = read_size(&self.c, compact, True)
        if size < 0:
            return None
        text = decode_text(&self.c, self.c.p, size)
        self.c.p += size
        return text

    def bytes(self, *, bint compact=False):
        cdef Py_ssize_t size = read_size(&self.c, compact, False)
        if size < 0:
            return None
        self.c.p += size
        return PyBytes_FromStringAndSize(<const char*>(self.c.p - size), size)

    def skip_tags(self):
        skip_tags(&self.c)

    def expect_end(self):
        expect_end(&self.c)


cdef class WriteBuffer:
    def __cinit__(self):
        writer_init(&self.w, NULL, 0)

    def __dealloc__(self):
        writer_free(&self.w)

    def __len__(self):
        return self.w.size

    def int8(self, int value):
        if not -0x80 <= value <= 0x7F:
            raise OverflowError(f"{value} is not an int8")
        write_int8(&self.w, value)

    def int16(self, int value):
        if not -0x8000 <= value <= 0x7FFF:
            raise OverflowError(f"{value} is not an int16")
        write_int16(&self.w, value)

    def int32(self, int32_t value):
        write_int32(&self.w, value)

    def int64(self, int64_t value):
        write_int64(&self.w, value)

    def uvarint(self, uint32_t value):
        write_uvarint(&self.w, value)

    def raw(self, const unsigned char[::1] data not None):
        if data.shape[0]:
            write_raw(&self.w, &data[0], data.shape[0])

    def count(self, count, *, bint compact=False):
        write_count(&self.w, compact, -1 if count is None else count)

    def string(self, str text, *, bint compact=False):
        if text is None:
            if compact:
                write_uvarint(&self.w, 0)
            else:
                write_int16(&self.w, -1)
            return
        data = text.encode()
        if len(data) > 0x7FFF:
            raise OverflowError(f"a string of {len(data)} bytes is longer than 32767")
        if compact:
            write_uvarint(&self.w, <uint32_t>(len(data) + 1))
        else:
            write_int16(&self.w, <int>len(data))
        write_raw(&self.w, <const char*>data, len(data))

    def bytes(self, data, *, bint compact=False):
        if data is None:
            write_count(&self.w, compact, -1)
            return
        cdef const unsigned char[::1] view = data
        write_count(&self.w, compact, view.shape[0])
        if view.shape[0]:
            write_raw(&self.w, &view[0], view.shape[0])

    def to_bytes(self):
        return writer_bytes(&self.w)
