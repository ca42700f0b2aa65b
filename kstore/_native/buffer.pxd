"""Cursors over bytes from the wire: every read is checked against the bytes that came, every fault is named.

A Cursor carries the message, version and field that are being read, so that a refusal can say where it
happened. Numbers are big-endian; an unsigned varint has seven bits a byte, the lowest first (KIP-482;
ByteUtils.java).
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

ctypedef const unsigned char* bytes_ptr

# What a reader returns when it has raised. Rare in real data, so `except?` seldom has to look twice.
cdef enum:
    FAILED = -1159983647

# A message may make Python objects of four times its size and 32 MiB more; only millions of tiny elements get
# there (the smallest struct takes 2 bytes on the wire and some 72 as an object).
cdef enum:
    ALLOWANCE_FACTOR = 4
    ALLOWANCE_BASE = 33554432
    LIST_COST = 72  # what CPython spends on an empty list with its GC header
    INT_COST = 32   # an int beyond the small ones
    TEXT_COST = 64  # the header of a str or bytes, rounded up by the allocator

cdef struct Cursor:
    bytes_ptr start
    bytes_ptr p
    bytes_ptr end
    Py_ssize_t allowance  # bytes of Python objects that this message may still make
    const char* message
    int version
    const char* field

cdef struct Writer:
    unsigned char* data
    Py_ssize_t size
    Py_ssize_t capacity
    bint is_heap


# --- faults: cold, and all InvalidRequestError

cdef int refuse(Cursor* c, str problem) except -1
cdef int refuse_short(Cursor* c, Py_ssize_t need) except -1
cdef int refuse_allowance(Cursor* c) except -1
cdef str decode_text(Cursor* c, bytes_ptr p, Py_ssize_t size)
cdef int skip_tags(Cursor* c) except -1
cdef int expect_end(Cursor* c) except -1
cdef object uuid_bytes(bytes_ptr p)


cdef inline void cursor_init(
    Cursor* c, bytes_ptr start, Py_ssize_t position, Py_ssize_t limit, const char* message, int version
) noexcept nogil:
    c.start = start
    c.p = start + position
    c.end = start + limit
    c.allowance = ALLOWANCE_FACTOR * (limit - position) + ALLOWANCE_BASE
    c.message = message
    c.version = version
    c.field = b"(start)"


# --- loads and stores; compilers make one instruction of each

cdef inline uint16_t load_u16(bytes_ptr p) noexcept nogil:
    return <uint16_t>((<uint32_t>p[0] << 8) | p[1])


cdef inline uint32_t load_u32(bytes_ptr p) noexcept nogil:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]


cdef inline uint64_t load_u64(bytes_ptr p) noexcept nogil:
    return (<uint64_t>load_u32(p) << 32) | load_u32(p + 4)


cdef inline void store_u16(unsigned char* p, uint16_t value) noexcept nogil:
    p[0] = <unsigned char>(value >> 8)
    p[1] = <unsigned char>value


cdef inline void store_u32(unsigned char* p, uint32_t value) noexcept nogil:
    p[0] = <unsigned char>(value >> 24)
    p[1] = <unsigned char>(value >> 16)
    p[2] = <unsigned char>(value >> 8)
    p[3] = <unsigned char>value


cdef inline void store_u64(unsigned char* p, uint64_t value) noexcept nogil:
    store_u32(p, <uint32_t>(value >> 32))
    store_u32(p + 4, <uint32_t>value)


# --- checked reads

cdef inline int need(Cursor* c, Py_ssize_t size) except -1:
    if c.end - c.p < size:
        refuse_short(c, size)
    return 0


cdef inline int charge(Cursor* c, Py_ssize_t size) except -1:
    c.allowance -= size
    if c.allowance < 0:
        refuse_allowance(c)
    return 0


cdef inline int read_int8(Cursor* c) except? -99:
    need(c, 1)
    c.p += 1
    return <signed char>(c.p - 1)[0]


cdef inline int read_int16(Cursor* c) except? FAILED:
    need(c, 2)
    c.p += 2
    return <int16_t>load_u16(c.p - 2)


cdef inline int32_t read_int32(Cursor* c) except? FAILED:
    need(c, 4)
    c.p += 4
    return <int32_t>load_u32(c.p - 4)


cdef inline int64_t read_int64(Cursor* c) except? FAILED:
    need(c, 8)
    c.p += 8
    return <int64_t>load_u64(c.p - 8)


cdef inline int64_t read_uvarint(Cursor* c) except -1:
    """At most five bytes and 32 bits; longer forms than needed are taken, as Kafka takes them."""
    cdef uint64_t value = 0
    cdef int shift = 0
    cdef unsigned char byte
    while True:
        if c.p >= c.end:
            refuse_short(c, 1)
        byte = c.p[0]
        c.p += 1
        value |= <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 28:
            refuse(c, "a varint of more than 5 bytes")
    if value > 0xFFFFFFFF:
        refuse(c, "a varint of more than 32 bits")
    return <int64_t>value


cdef inline Py_ssize_t read_count(Cursor* c, bint compact, Py_ssize_t min_size) except? FAILED:
    """The count of an array whose elements take at least `min_size` bytes each, or -1 for null.

    A count that the bytes left cannot hold is refused here, before anything is made for it.
    """
    cdef Py_ssize_t count
    if compact:
        count = <Py_ssize_t>read_uvarint(c) - 1
    else:
        count = read_int32(c)
    if count < -1:
        refuse(c, f"count {count} is negative")
    if count > (c.end - c.p) // min_size:
        refuse(c, f"{count} elements of at least {min_size} bytes cannot be in the {c.end - c.p} bytes left")
    return count


cdef inline Py_ssize_t read_size(Cursor* c, bint compact, bint is_text) except? FAILED:
    """The size of a string (16 bits) or of bytes (32 bits), or -1 for null; those bytes are there."""
    cdef Py_ssize_t size
    if compact:
        size = <Py_ssize_t>read_uvarint(c) - 1
    elif is_text:
        size = read_int16(c)
    else:
        size = read_int32(c)
    if size < -1:
        refuse(c, f"size {size} is negative")
    if is_text and size > 0x7FFF:
        refuse(c, f"a string of {size} bytes is longer than 32767")
    if c.end - c.p < size:
        refuse_short(c, size)
    return size


# --- growing output

cdef int writer_grow(Writer* w, Py_ssize_t size) except -1
cdef void writer_free(Writer* w) noexcept
cdef bytes writer_bytes(Writer* w)


cdef inline void writer_init(Writer* w, unsigned char* scratch, Py_ssize_t capacity) noexcept nogil:
    w.data = scratch
    w.size = 0
    w.capacity = capacity
    w.is_heap = False


cdef inline int reserve(Writer* w, Py_ssize_t size) except -1:
    if w.capacity - w.size < size:
        writer_grow(w, size)
    return 0


cdef inline int write_int8(Writer* w, int value) except -1:
    reserve(w, 1)
    w.data[w.size] = <unsigned char>value
    w.size += 1
    return 0


cdef inline int write_int16(Writer* w, int value) except -1:
    reserve(w, 2)
    store_u16(w.data + w.size, <uint16_t>value)
    w.size += 2
    return 0


cdef inline int write_int32(Writer* w, int32_t value) except -1:
    reserve(w, 4)
    store_u32(w.data + w.size, <uint32_t>value)
    w.size += 4
    return 0


cdef inline int write_int64(Writer* w, int64_t value) except -1:
    reserve(w, 8)
    store_u64(w.data + w.size, <uint64_t>value)
    w.size += 8
    return 0


cdef inline int write_uvarint(Writer* w, uint32_t value) except -1:
    reserve(w, 5)
    while value >= 0x80:
        w.data[w.size] = <unsigned char>(value | 0x80)
        w.size += 1
        value >>= 7
    w.data[w.size] = <unsigned char>value
    w.size += 1
    return 0


cdef inline int write_raw(Writer* w, const void* data, Py_ssize_t size) except -1:
    if size:  # an empty buffer may have no address, and memcpy wants one
        reserve(w, size)
        memcpy(w.data + w.size, data, <size_t>size)
        w.size += size
    return 0


cdef inline int write_count(Writer* w, bint compact, Py_ssize_t count) except -1:
    """The count of an array or the size of bytes; -1 for null."""
    if count > 0x7FFFFFFE:
        raise OverflowError(f"{count} elements or bytes do not fit the wire")
    if compact:
        return write_uvarint(w, <uint32_t>(count + 1))
    return write_int32(w, <int32_t>count)


cdef class ReadBuffer:
    cdef Cursor c
    cdef object buffer
    cdef Py_buffer view
    cdef bint has_view
    cdef bytes what


cdef class WriteBuffer:
    cdef Writer w
