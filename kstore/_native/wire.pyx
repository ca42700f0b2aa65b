from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE, PyList_New, PyList_SET_ITEM
from cpython.long cimport PyLong_Check
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from kstore._native.buffer cimport (
    INT_COST, LIST_COST, TEXT_COST, bytes_ptr, charge, cursor_init, decode_text, expect_end, load_u16,
    load_u32, load_u64, need, read_count, read_int8, read_int16, read_int32, read_int64, read_size,
    read_uvarint, refuse, refuse_short, store_u32, uuid_bytes, write_count, write_int8, write_int16,
    write_int32, write_int64, write_raw, write_uvarint, writer_bytes, writer_free, writer_init,
)

from kstore.errors import UnsupportedVersionError

cdef extern from "structmember.h":
    ctypedef struct PyMemberDef:
        Py_ssize_t offset

cdef extern from "Python.h":
    ctypedef struct PyMemberDescrObject:
        PyMemberDef* d_member
    Py_ssize_t PY_SSIZE_T_MAX
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

KINDS = {
    "bool": BOOL, "int8": INT8, "int16": INT16, "uint16": UINT16, "int32": INT32, "uint32": UINT32,
    "int64": INT64, "float64": FLOAT64, "uuid": UUID, "string": STRING, "bytes": BYTES, "records": BYTES,
    "array": ARRAY, "struct": STRUCT,
}

# An unknown tagged field that is kept: two tuples, an int and the header of a bytes, and its place while sorting.
cdef enum:
    TAG_COST = 400

cdef tuple no_arguments = ()
cdef object member_descriptor = type(type("_Slotted", (), {"__slots__": ("a",)}).a)


# --- values in slots: read and written at their offsets, as the slot descriptors themselves do

cdef inline PyObject* slot_get(object made, Py_ssize_t offset) noexcept:
    return (<PyObject**>(<char*><PyObject*>made + offset))[0]


cdef inline object slot_value(object made, Op* op):
    cdef PyObject* value = slot_get(made, op.offset)
    if value == NULL:
        raise AttributeError(f"{type(made).__qualname__} has no {op.path.decode()}: it was deleted")
    return <object>value


cdef inline void slot_set(object made, Py_ssize_t offset, object value) noexcept:
    cdef PyObject** slot = <PyObject**>(<char*><PyObject*>made + offset)
    cdef PyObject* old = slot[0]
    Py_INCREF(value)
    slot[0] = <PyObject*>value
    Py_XDECREF(old)


cdef inline object new_of(object cls):
    return (<PyTypeObject*>cls).tp_new(<type>cls, <PyObject*>no_arguments, NULL)


cdef class Struct:
    def __init__(self, **fields):
        cdef Layout layout = type(self)._layout
        cdef Py_ssize_t i
        cdef Py_ssize_t given = 0
        for i in range(layout.count):
            name = layout.names[i]
            if name in fields:
                given += 1
                slot_set(self, layout.offsets[i], fields[name])
            else:
                slot_set(self, layout.offsets[i], layout.fresh(i))
        if "unknown_tags" in fields:
            given += 1
            self.unknown_tags = fields["unknown_tags"]
        if given != len(fields):
            unknown = ", ".join(sorted(set(fields) - set(layout.names)))
            raise TypeError(f"{type(self).__qualname__} has no field {unknown}")

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        cdef Layout layout = type(self)._layout
        for name in layout.names:
            if getattr(self, name) != getattr(other, name):
                return False
        return self.unknown_tags == (<Struct>other).unknown_tags

    __hash__ = None

    def __repr__(self):
        cdef Layout layout = type(self)._layout
        values = [f"{name}={getattr(self, name, '?')!r}" for name in layout.names]
        if self.unknown_tags:
            values.append(f"unknown_tags={self.unknown_tags!r}")
        return f"{type(self).__qualname__}({', '.join(values)})"


cdef class Layout:
    def __cinit__(self, cls, tuple names, tuple defaults):
        self.cls = cls
        self.names = names
        self.defaults = defaults
        self.count = len(names)
        self.offsets = <Py_ssize_t*>PyMem_Calloc(self.count + 1, sizeof(Py_ssize_t))
        self.fallbacks = <Fallback*>PyMem_Calloc(self.count + 1, sizeof(Fallback))
        if self.offsets == NULL or self.fallbacks == NULL:
            raise MemoryError
        cdef Py_ssize_t i
        for i in range(self.count):
            slot = cls.__dict__[names[i]]
            if type(slot) is not member_descriptor or not issubclass(cls, Struct):
                raise TypeError(f"{cls.__qualname__}.{names[i]} is not a slot")
            self.offsets[i] = (<PyMemberDescrObject*><PyObject*>slot).d_member.offset
            if defaults[i] is list:
                self.fallbacks[i] = NEW_LIST
            elif isinstance(defaults[i], type):
                self.fallbacks[i] = NEW_STRUCT
            else:
                self.fallbacks[i] = SHARED

    def __dealloc__(self):
        PyMem_Free(self.offsets)
        PyMem_Free(self.fallbacks)

    cdef object fresh(self, Py_ssize_t index):
        if self.fallbacks[index] == SHARED:
            return self.defaults[index]
        if self.fallbacks[index] == NEW_LIST:
            return []
        return self.defaults[index]()


cdef Py_ssize_t smallest(Kind kind, bint flexible, bint nullable, Program program) except -1:
    """The fewest bytes that a value can take."""
    if kind in (BOOL, INT8):
        return 1
    if kind in (INT16, UINT16):
        return 2
    if kind in (INT32, UINT32):
        return 4
    if kind in (INT64, FLOAT64):
        return 8
    if kind == UUID:
        return 16
    if kind == STRUCT:
        return 1 if nullable else program.min_size
    if flexible:
        return 1
    return 2 if kind == STRING else 4


cdef class Program:
    def __cinit__(self, Layout layout, str message, int version, bint flexible, str path, list fields):
        cdef Py_ssize_t i
        cdef Op* op
        self.layout = layout
        self.message = message.encode()
        self.tags_path = f"{path} tagged fields".lstrip().encode()
        self.version = version
        self.flexible = flexible
        self.kept = []
        self.ops = <Op*>PyMem_Calloc(len(fields) + 1, sizeof(Op))
        self.tags = <Op*>PyMem_Calloc(len(fields) + 1, sizeof(Op))
        self.absent = <Op*>PyMem_Calloc(len(fields) + 1, sizeof(Op))
        if self.ops == NULL or self.tags == NULL or self.absent == NULL:
            raise MemoryError
        self.min_size = 1 if flexible else 0
        self.cost = (<PyTypeObject*>layout.cls).tp_basicsize + 32
        for i in range(len(fields)):
            present, kind, element, nullable, tag, ignorable, path, program = fields[i]
            if not present:
                op = &self.absent[self.absent_count]
                self.absent_count += 1
            elif tag >= 0:
                op = &self.tags[self.tag_count]
                self.tag_count += 1
            else:
                op = &self.ops[self.count]
                self.count += 1
            encoded_path = path.encode()
            self.kept.append(encoded_path)
            self.kept.append(program)
            op.kind = kind
            op.element = element
            op.nullable = nullable
            op.checked = not ignorable
            op.tag = tag
            op.offset = layout.offsets[i]
            op.fallback = layout.fallbacks[i]
            op.default = <void*>layout.defaults[i]
            op.program = <void*>program
            op.path = encoded_path
            if kind == ARRAY:
                op.element_min_size = max(1, smallest(element, flexible, False, program))
            if not present or tag >= 0:
                self.cost += {SHARED: 0, NEW_LIST: LIST_COST, NEW_STRUCT: 160}[op.fallback]
            else:
                self.min_size += smallest(kind, flexible, nullable, program)

    def __dealloc__(self):
        PyMem_Free(self.ops)
        PyMem_Free(self.tags)
        PyMem_Free(self.absent)

    # --- reading

    cdef object read(self, Cursor* c):
        cdef Py_ssize_t i
        cdef Op* op
        charge(c, self.cost)
        made = new_of(self.layout.cls)
        for i in range(self.count):
            op = &self.ops[i]
            c.field = op.path
            slot_set(made, op.offset, read_value(op, op.kind, self.flexible, c))
        for i in range(self.absent_count):
            slot_set(made, self.absent[i].offset, fallback(&self.absent[i]))
        if self.flexible:
            self.read_tags(c, made)
        return made

    cdef int read_tags(self, Cursor* c, object made) except -1:
        cdef int64_t tag, size
        cdef Py_ssize_t i
        cdef Op* op
        cdef bytes_ptr outer_end
        cdef list unknown = None
        c.field = self.tags_path
        cdef int64_t count = read_uvarint(c)
        if count > (c.end - c.p) // 2:
            refuse(c, f"{count} tagged fields of at least 2 bytes cannot be in the {c.end - c.p} bytes left")
        for i in range(self.tag_count):
            slot_set(made, self.tags[i].offset, fallback(&self.tags[i]))
        while count > 0:
            count -= 1
            c.field = self.tags_path
            tag = read_uvarint(c)
            size = read_uvarint(c)
            if size > c.end - c.p:
                refuse_short(c, size)
            op = NULL
            for i in range(self.tag_count):
                if self.tags[i].tag == tag:
                    op = &self.tags[i]
            if op == NULL:
                charge(c, TAG_COST + size)
                if unknown is None:
                    unknown = []
                unknown.append((tag, PyBytes_FromStringAndSize(<const char*>c.p, size)))
                c.p += size
                continue
            outer_end = c.end
            c.end = c.p + size
            c.field = op.path
            slot_set(made, op.offset, read_value(op, op.kind, True, c))
            if c.p != c.end:
                c.field = op.path
                refuse(c, f"{c.end - c.p} bytes after the value of tag {tag}")
            c.end = outer_end
        # The sender should have sorted them and sent none twice (KIP-482). Kafka takes others too, the last one wins.
        (<Struct>made).unknown_tags = None if unknown is None else sorted(dict(unknown).items())
        return 0

    # --- writing

    cdef int write(self, object value, Writer* w) except -1:
        cdef Py_ssize_t i
        cdef Op* op
        if type(value) is not self.layout.cls:
            raise TypeError(f"{self.layout.cls.__qualname__} wanted, not {value!r:.200}")
        for i in range(self.count):
            op = &self.ops[i]
            try:
                write_value(op, op.kind, self.flexible, slot_value(value, op), w)
            except (TypeError, OverflowError, ValueError) as error:
                if not getattr(error, "__notes__", None):
                    error.add_note(f"in {self.place(i)}")
                raise
        for i in range(self.absent_count):
            op = &self.absent[i]
            if op.checked and not is_default(op, slot_value(value, op)):
                raise UnsupportedVersionError(
                    f"{self.message.decode()} v{self.version} has no {op.path.decode()}, "
                    f"so it cannot be {slot_value(value, op)!r:.200}"
                )
        if self.flexible:
            self.write_tags(value, w)
        return 0

    def place(self, Py_ssize_t index):
        return f"{self.message.decode()} v{self.version}: {self.ops[index].path.decode()}"

    cdef int write_tags(self, object value, Writer* w) except -1:
        cdef Py_ssize_t i
        cdef Op* op
        unknown = (<Struct>value).unknown_tags
        cdef list fields = None
        cdef bytes data
        for i in range(self.tag_count):
            op = &self.tags[i]
            field = slot_value(value, op)
            if not is_default(op, field):
                if fields is None:
                    fields = []
                fields.append((op.tag, tagged_bytes(op, field)))
        if unknown:
            fields = (fields or []) + list(unknown)
        if fields is None:
            return write_int8(w, 0)
        fields.sort()
        if len(dict(fields)) != len(fields):
            raise ValueError(f"{self.message.decode()} v{self.version}: a tag twice in {fields!r:.200}")
        write_uvarint(w, <uint32_t>len(fields))
        for tag, data in fields:
            write_uvarint(w, tag)
            write_uvarint(w, <uint32_t>len(data))
            write_raw(w, <const char*>data, len(data))
        return 0


cdef object fallback(Op* op):
    if op.fallback == SHARED:
        return <object>op.default
    if op.fallback == NEW_LIST:
        return []
    return (<object>op.default)()


cdef bint is_default(Op* op, object value) except -1:
    if op.fallback == SHARED:
        return value == <object>op.default
    if op.fallback == NEW_LIST:
        return value is not None and len(value) == 0
    return value is not None and value == (<object>op.default)()


cdef inline object boxed(Cursor* c, int64_t value):
    if not -6 < value < 257:
        charge(c, INT_COST)
    return value


cdef object read_value(Op* op, Kind kind, bint flexible, Cursor* c):
    cdef Py_ssize_t size
    cdef uint64_t bits
    cdef double number
    if kind == INT32:
        return boxed(c, read_int32(c))
    if kind == STRING:
        size = read_size(c, flexible, True)
        if size < 0:
            return null_of(op, c)
        charge(c, TEXT_COST + size)
        text = decode_text(c, c.p, size)
        if not text.isascii():
            charge(c, 4 * len(text))
        c.p += size
        return text
    if kind == INT16:
        return boxed(c, read_int16(c))
    if kind == INT64:
        return boxed(c, read_int64(c))
    if kind == ARRAY:
        return read_array(op, flexible, c)
    if kind == STRUCT:
        if op.nullable and op.kind == STRUCT and read_int8(c) < 0:
            return None
        return (<Program>op.program).read(c)
    if kind == BYTES:
        size = read_size(c, flexible, False)
        if size < 0:
            return null_of(op, c)
        charge(c, TEXT_COST + size)
        c.p += size
        return PyBytes_FromStringAndSize(<const char*>(c.p - size), size)
    if kind == BOOL:
        return read_int8(c) != 0
    if kind == INT8:
        return boxed(c, read_int8(c))
    if kind == UUID:
        need(c, 16)
        charge(c, TEXT_COST)
        c.p += 16
        return uuid_bytes(c.p - 16)
    if kind == UINT16:
        need(c, 2)
        c.p += 2
        return boxed(c, load_u16(c.p - 2))
    if kind == UINT32:
        need(c, 4)
        c.p += 4
        return boxed(c, load_u32(c.p - 4))
    need(c, 8)
    charge(c, INT_COST)
    c.p += 8
    bits = load_u64(c.p - 8)
    memcpy(&number, &bits, 8)
    return number


cdef object null_of(Op* op, Cursor* c):
    if not op.nullable or op.kind == ARRAY:
        refuse(c, "null where none is allowed")
    return None


cdef object read_array(Op* op, bint flexible, Cursor* c):
    cdef Py_ssize_t count = read_count(c, flexible, op.element_min_size)
    cdef Py_ssize_t i
    if count < 0:
        if not op.nullable:
            refuse(c, "null where none is allowed")
        return None
    charge(c, LIST_COST + 8 * count)
    cdef list values = PyList_New(count)
    for i in range(count):
        c.field = op.path
        value = read_value(op, op.element, flexible, c)
        Py_INCREF(value)
        PyList_SET_ITEM(values, i, value)
    return values


cdef bytes tagged_bytes(Op* op, object value):
    cdef Writer w
    cdef unsigned char scratch[256]
    writer_init(&w, scratch, sizeof(scratch))
    try:
        write_value(op, op.kind, True, value, &w)
        return writer_bytes(&w)
    finally:
        writer_free(&w)


cdef int64_t ranged(object value, int64_t low, int64_t high) except? -1:
    if not PyLong_Check(value):
        raise TypeError(f"an int wanted, not {value!r:.200}")
    cdef int64_t number = value
    if not low <= number <= high:
        raise OverflowError(f"{value} is not in [{low}, {high}]")
    return number


cdef int write_null(Op* op, bint flexible, Kind kind, Writer* w) except -1:
    if not op.nullable or kind != op.kind:
        raise ValueError("None where no null is allowed")
    if kind == STRUCT:
        return write_int8(w, -1)
    if flexible:
        return write_int8(w, 0)
    return write_int16(w, -1) if kind == STRING else write_int32(w, -1)


cdef int write_value(Op* op, Kind kind, bint flexible, object value, Writer* w) except -1:
    cdef double number
    cdef uint64_t bits
    if value is None:
        return write_null(op, flexible, kind, w)
    if kind == INT32:
        return write_int32(w, <int32_t>ranged(value, -0x80000000LL, 0x7FFFFFFFLL))
    if kind == STRING:
        return write_text(flexible, value, w)
    if kind == INT16:
        return write_int16(w, <int>ranged(value, -0x8000, 0x7FFF))
    if kind == INT64:
        return write_int64(w, ranged(value, INT64_MIN, 0x7FFFFFFFFFFFFFFF))
    if kind == ARRAY:
        return write_array(op, flexible, value, w)
    if kind == STRUCT:
        if op.nullable and op.kind == STRUCT:
            write_int8(w, 1)
        return (<Program>op.program).write(value, w)
    if kind == BYTES:
        return write_buffer(flexible, value, w)
    if kind == BOOL:
        return write_int8(w, 1 if value else 0)
    if kind == INT8:
        return write_int8(w, <int>ranged(value, -0x80, 0x7F))
    if kind == UUID:
        if type(value) is not bytes or len(<bytes>value) != 16:
            raise ValueError(f"an id of 16 bytes wanted, not {value!r:.200}")
        return write_raw(w, <const char*><bytes>value, 16)
    if kind == UINT16:
        return write_int16(w, <int>ranged(value, 0, 0xFFFF))
    if kind == UINT32:
        return write_int32(w, <int32_t>ranged(value, 0, 0xFFFFFFFFLL))
    number = value
    memcpy(&bits, &number, 8)
    return write_int64(w, <int64_t>bits)


cdef int write_text(bint flexible, object value, Writer* w) except -1:
    cdef Py_ssize_t size
    if not PyUnicode_Check(value):
        raise TypeError(f"a str wanted, not {value!r:.200}")
    cdef const char* text = PyUnicode_AsUTF8AndSize(value, &size)
    if size > 0x7FFF:
        raise OverflowError(f"a string of {size} bytes is longer than 32767")
    if flexible:
        write_uvarint(w, <uint32_t>(size + 1))
    else:
        write_int16(w, <int>size)
    return write_raw(w, text, size)


cdef int write_buffer(bint flexible, object value, Writer* w) except -1:
    cdef Py_buffer view
    PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
    try:
        write_count(w, flexible, view.len)
        write_raw(w, view.buf, view.len)
    finally:
        PyBuffer_Release(&view)
    return 0


cdef int write_array(Op* op, bint flexible, object value, Writer* w) except -1:
    cdef list values = value if type(value) is list else list(value)
    cdef Py_ssize_t count = PyList_GET_SIZE(values)
    cdef Py_ssize_t i
    write_count(w, flexible, count)
    for i in range(count):
        if PyList_GET_SIZE(values) != count:
            raise RuntimeError("a list changed while it was encoded")
        write_value(op, op.element, flexible, <object>PyList_GET_ITEM(values, i), w)
    return 0


def decode(Program program not None, buffer, Py_ssize_t position, Py_ssize_t limit, bint trusted=False):
    cdef Cursor c
    cdef Py_buffer view
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    try:
        if not 0 <= position <= limit <= view.len:
            raise ValueError(f"[{position}, {limit}) is not within a buffer of {view.len} bytes")
        cursor_init(&c, <bytes_ptr>view.buf, position, limit, program.message, program.version)
        if trusted:
            c.allowance = PY_SSIZE_T_MAX
        made = program.read(&c)
        # Kafka reads a request to its last field and no further, and librdkafka 2.16 sends Metadata with bytes beyond.
        if trusted:
            expect_end(&c)
        return made
    finally:
        PyBuffer_Release(&view)


def encode(Program program not None, message, bytes header=None):
    cdef Writer w
    cdef unsigned char scratch[1024]
    writer_init(&w, scratch, sizeof(scratch))
    try:
        if header is not None:
            write_int32(&w, 0)
            write_raw(&w, <const char*>header, len(header))
        program.write(message, &w)
        if header is not None:
            if w.size - 4 > 0x7FFFFFFF:
                raise OverflowError(f"a frame of {w.size - 4} bytes does not fit the wire")
            store_u32(w.data, <uint32_t>(w.size - 4))
        return writer_bytes(&w)
    finally:
        writer_free(&w)
