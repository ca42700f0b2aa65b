"""Records as objects, and the walk that makes them. See record.pyi for what callers read."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t

from kstore.errors import CorruptRecordError, InvalidRecordError

from kstore._native.libkstore cimport (
    KS_SMALLEST_RECORD,
    KS_VARINT32_MAX,
    ks_add64,
    ks_header,
    ks_read_varint32,
    ks_record,
    ks_record_read,
    ks_record_read_header,
)

ABORT_MARKER, COMMIT_MARKER = range(2)


@cython.final
@cython.no_gc
@cython.freelist(512)
cdef class Record:
    def __init__(self, int64_t offset, int64_t timestamp, key, value, headers=()):
        self.offset = offset
        self.timestamp = timestamp
        self.key = key
        self.value = value
        self.headers = headers

    @property
    def timestamp_ms(self):
        return self.timestamp

    def _values(self):
        return (self.offset, self.timestamp, self.key, self.value, tuple(self.headers))

    def __eq__(self, other):
        if not isinstance(other, Record):
            return NotImplemented
        return self._values() == (<Record> other)._values()

    def __hash__(self):
        return hash(self._values())

    def __repr__(self):
        return (
            f"Record(offset={self.offset}, timestamp={self.timestamp}, "
            f"key={self.key!r}, value={self.value!r}, headers={self.headers!r})"
        )


cdef object placed(error, position, offset=None):
    error.position = position
    if offset is not None:
        error.offset = offset
    return error


cdef object bad_record(object batch, int32_t index, str why):
    error = InvalidRecordError(
        f"batch at offset {batch.base_offset}, position {batch._place()}, record {index}: {why}"
    )
    error.record_index = index
    return error


@cython.final
@cython.freelist(16)
cdef class RecordIterator:
    def __iter__(self):
        return self

    def __length_hint__(self):
        # Of what is there, not of what the header claims: list() would believe it.
        return min(self._count - self._index, (self._limit - self._p) // KS_SMALLEST_RECORD)

    def __next__(self):
        cdef ks_record raw
        cdef Record record
        if self._index >= self._count:
            while self._p == self._limit:
                if self._pieces is None:
                    raise StopIteration
                self.next_piece()
            raise self.fail("more bytes than records")
        if self._pieces is not None:
            self.complete_record()
        self._p = ks_record_read(self._p, self._limit, &raw)
        if self._p == NULL:
            raise self.fail("malformed, or missing")
        record = Record.__new__(Record)
        record.offset = ks_add64(self._base_offset, raw.offset_delta)
        if self._has_log_append_time:
            record.timestamp = self._log_append_time
        else:
            record.timestamp = ks_add64(self._base_timestamp, raw.timestamp_delta)
        record.key = bytes_or_none(raw.key, raw.key_size)
        record.value = bytes_or_none(raw.value, raw.value_size)
        record.headers = () if raw.header_count == 0 else self.headers_of(&raw)
        self._index += 1
        return record

    cdef object fail(self, str why):
        """The refusal of the record that is next; after it the iterator is over."""
        error = bad_record(self._owner, self._index, why)
        self._p = self._limit
        self._count = self._index
        self._pieces = None
        return error

    cdef int next_piece(self) except -1:
        """Goes on with the next piece of decompressed records, if there is one."""
        try:
            piece = next(self._pieces, None)
        except CorruptRecordError as error:
            raise placed(error, self._owner._place(), self._owner.base_offset)
        if piece is None:
            self._pieces = None
        else:
            self.go_on_with(piece)
        return 0

    cdef int go_on_with(self, bytes piece) except -1:
        self._bytes = piece
        self._p = <const uint8_t *> PyBytes_AS_STRING(piece)
        self._limit = self._p + PyBytes_GET_SIZE(piece)
        return 0

    cdef int complete_record(self) except -1:
        """Joins pieces until the next record lies whole in one, as far as there are pieces."""
        cdef const uint8_t *body
        cdef Py_ssize_t have, need
        cdef int32_t size
        while self._pieces is not None:
            have = need = self._limit - self._p
            body = ks_read_varint32(self._p, self._limit, &size)
            if body != NULL and size > self._limit - body:
                need = body - self._p + size
            elif body == NULL and have < KS_VARINT32_MAX:
                need = have + 1
            if need <= have:
                return 0
            parts = [PyBytes_FromStringAndSize(<char *> self._p, have)]
            while have < need and self._pieces is not None:
                self._p = self._limit
                self.next_piece()
                if self._pieces is not None:
                    parts.append(self._bytes)
                    have += self._limit - self._p
            self.go_on_with(b"".join(parts))
        return 0

    cdef tuple headers_of(self, const ks_record *record):
        cdef const uint8_t *p = record.headers
        cdef ks_header header
        headers = []
        for _ in range(record.header_count):
            p = ks_record_read_header(p, record.end, &header)
            if p == NULL:  # the buffer changed under us
                raise self.fail("malformed")
            try:
                key = PyUnicode_DecodeUTF8(<char *> header.key, header.key_size, NULL)
            except UnicodeDecodeError as error:
                raise self.fail("a header key that is no text") from error
            headers.append((key, bytes_or_none(header.value, header.value_size)))
        return tuple(headers)


cdef inline object bytes_or_none(const uint8_t *data, int32_t size):
    return None if size < 0 else PyBytes_FromStringAndSize(<char *> data, size)


def parse_control_record(record):
    """(type, coordinator epoch or -1) of a control record (ControlRecordType.java,
    EndTransactionMarker.java)."""
    key, value = record.key, record.value
    if key is None or len(key) < 4:
        raise InvalidRecordError(f"control record at offset {record.offset} has no type in its key")
    control_type = int.from_bytes(key[2:4], "big", signed=True)
    if control_type not in (ABORT_MARKER, COMMIT_MARKER):
        return control_type, -1
    if value is None or len(value) < 6:
        raise InvalidRecordError(f"transaction marker at offset {record.offset} has no coordinator epoch")
    return control_type, int.from_bytes(value[2:6], "big", signed=True)
