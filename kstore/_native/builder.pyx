"""Builds record batches from records. See builder.pyi for what callers read."""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.stdint cimport INT32_MAX, int16_t, int32_t, int64_t, uint8_t

from kstore.errors import MessageTooLargeError

from kstore._native.batch cimport crc32c_of
from kstore._native.libkstore cimport (
    KS_BATCH_ATTRIBUTES,
    KS_BATCH_CRC,
    KS_BATCH_HEADER_SIZE,
    KS_CODEC_MASK,
    KS_CONTROL,
    KS_DELETE_HORIZON,
    KS_LOG_APPEND_TIME,
    KS_TRANSACTIONAL,
    KS_VARINT32_MAX,
    ks_batch_header,
    ks_batch_write_header,
    ks_record_body_size,
    ks_record_write,
    ks_size_sized,
    ks_store32,
    ks_sub64,
    ks_write_sized,
)
from kstore._native.record cimport Record

cdef enum:
    FIRST_CAPACITY = 512


cdef struct span:
    const uint8_t *data
    Py_ssize_t size  # -1 for null


cdef int16_t attributes_of(
    int compression, int timestamp_type, bint is_transactional, bint is_control, bint has_horizon
) except -1:
    if not 0 <= compression <= 4:
        raise ValueError(f"no compression has the id {compression}")
    if not 0 <= timestamp_type <= 1:
        raise ValueError(f"no timestamp type has the id {timestamp_type}")
    return (
        compression
        | (KS_LOG_APPEND_TIME if timestamp_type == 1 else 0)
        | (KS_TRANSACTIONAL if is_transactional else 0)
        | (KS_CONTROL if is_control else 0)
        | (KS_DELETE_HORIZON if has_horizon else 0)
    )


@cython.final
@cython.no_gc
@cython.freelist(8)
cdef class BatchBuilder:
    def __init__(
        self,
        *,
        int64_t base_offset=0,
        int compression=0,
        level=None,
        int timestamp_type=0,
        int64_t log_append_time=-1,
        int64_t producer_id=-1,
        int16_t producer_epoch=-1,
        int32_t base_sequence=-1,
        int32_t partition_leader_epoch=-1,
        bint is_transactional=False,
        bint is_control=False,
        delete_horizon_ms=None,
    ):
        self._attributes = attributes_of(
            compression, timestamp_type, is_transactional, is_control, delete_horizon_ms is not None
        )
        self._base_offset = base_offset
        self._log_append_time = log_append_time
        self._producer_id = producer_id
        self._producer_epoch = producer_epoch
        self._base_sequence = base_sequence
        self._leader_epoch = partition_leader_epoch
        self._level = level
        self._base_timestamp = self._max_timestamp = -1
        self._has_base_timestamp = False
        if delete_horizon_ms is not None:
            self._base_timestamp = delete_horizon_ms
            self._has_base_timestamp = True
        self._last_offset_delta = -1
        self._count = 0
        self._bytes = bytearray()
        self._size = KS_BATCH_HEADER_SIZE
        self._capacity = 0
        self.reserve(FIRST_CAPACITY - KS_BATCH_HEADER_SIZE)

    cdef int reserve(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t wanted = self._size + more
        if wanted <= self._capacity:
            return 0
        if wanted > INT32_MAX:
            raise MessageTooLargeError(f"a batch of {wanted} bytes")
        wanted = max(wanted, min(2 * self._capacity, <Py_ssize_t> INT32_MAX))
        PyByteArray_Resize(self._bytes, wanted)
        self._data = <uint8_t *> PyByteArray_AS_STRING(self._bytes)
        self._capacity = wanted
        return 0

    cpdef append(self, int64_t timestamp, object key, object value, object headers=()):
        self.add(<int64_t> self._last_offset_delta + 1, timestamp, key, value, headers)

    cpdef append_with_offset(
        self, int64_t offset, int64_t timestamp, object key, object value, object headers=()
    ):
        self.add(ks_sub64(offset, self._base_offset), timestamp, key, value, headers)

    def extend(self, records):
        """Appends (timestamp, key, value[, headers]) tuples or Records, which get the next offsets."""
        cdef Record record
        cdef int64_t delta
        for item in records:
            delta = <int64_t> self._last_offset_delta + 1
            if type(item) is Record:
                record = <Record> item
                self.add(delta, record.timestamp, record.key, record.value, record.headers)
            elif len(item) == 3:
                self.add(delta, item[0], item[1], item[2], ())
            else:
                self.add(delta, item[0], item[1], item[2], item[3])

    cdef int add(
        self, int64_t offset_delta, int64_t timestamp, object key, object value, object headers
    ) except -1:
        cdef int64_t timestamp_delta, body_size, headers_size = 0
        cdef int32_t header_count = 0
        cdef span key_span, value_span
        cdef uint8_t *p
        # All that may run foreign code comes first: from the first write on nothing can fail.
        if not PyBytes_CheckExact(key) and key is not None:
            key = bytes_of(key)
        if not PyBytes_CheckExact(value) and value is not None:
            value = bytes_of(value)
        if headers:
            headers = normalized(headers)
            header_count = <int32_t> len(headers)
            headers_size = size_of_headers(headers)
        if self._bytes is None:
            raise ValueError("this batch has been built")
        if offset_delta <= self._last_offset_delta or offset_delta > INT32_MAX:
            raise ValueError(
                f"offset {self._base_offset + offset_delta} does not follow "
                f"{self._base_offset + self._last_offset_delta} in a batch with base offset {self._base_offset}"
            )
        key_span = span_of(key)
        value_span = span_of(value)
        timestamp_delta = ks_sub64(timestamp, self._base_timestamp) if self._has_base_timestamp else 0
        body_size = ks_record_body_size(
            timestamp_delta, <int32_t> offset_delta, key_span.size, value_span.size, header_count,
            headers_size
        )
        if body_size < 0:
            raise MessageTooLargeError(f"a record of more than {INT32_MAX} bytes")
        if body_size + KS_VARINT32_MAX > self._capacity - self._size:
            self.reserve(body_size + KS_VARINT32_MAX)
        p = ks_record_write(
            self._data + self._size,
            <int32_t> body_size,
            timestamp_delta,
            <int32_t> offset_delta,
            key_span.data,
            <int32_t> key_span.size,
            value_span.data,
            <int32_t> value_span.size,
            header_count,
        )
        if header_count > 0:
            p = write_headers(p, headers)
        self._size = p - self._data
        if self._count == 0 or timestamp > self._max_timestamp:
            self._max_timestamp = timestamp
        if not self._has_base_timestamp:
            self._base_timestamp = timestamp
            self._has_base_timestamp = True
        self._last_offset_delta = <int32_t> offset_delta
        self._count += 1
        return 0

    def override_last_offset(self, int64_t last_offset):
        cdef int64_t delta = ks_sub64(last_offset, self._base_offset)
        if delta < self._last_offset_delta or delta > INT32_MAX:
            raise ValueError(f"{last_offset} cannot be the last offset of a batch that reaches further")
        self._last_offset_delta = <int32_t> delta

    @property
    def count(self):
        return self._count

    @property
    def estimated_size(self):
        return self._size

    @property
    def next_offset(self):
        return self._base_offset + self._last_offset_delta + 1

    @property
    def max_timestamp(self):
        return self._max_timestamp

    cpdef bytearray build(self):
        if self._bytes is None:
            raise ValueError("this batch has been built")
        if self._count == 0:
            raise ValueError("a batch without records is made by empty_batch()")
        cdef bytearray batch = self._bytes
        cdef ks_batch_header header
        if self._attributes & KS_CODEC_MASK == 0:
            PyByteArray_Resize(batch, self._size)
        else:
            batch = self.compressed()
        header.base_offset = self._base_offset
        header.base_timestamp = self._base_timestamp
        header.max_timestamp = self._max_timestamp
        if self._attributes & KS_LOG_APPEND_TIME:
            header.max_timestamp = self._log_append_time
        header.producer_id = self._producer_id
        header.crc = 0
        header.partition_leader_epoch = self._leader_epoch
        header.last_offset_delta = self._last_offset_delta
        header.base_sequence = self._base_sequence
        header.count = self._count
        header.attributes = self._attributes
        header.producer_epoch = self._producer_epoch
        finish(batch, &header)
        self._bytes = None
        self._data = NULL
        return batch

    cdef bytearray compressed(self):
        from kstore._native.compression import compress

        records = memoryview(self._bytes)[KS_BATCH_HEADER_SIZE : self._size]
        packed = compress(self._attributes & KS_CODEC_MASK, records, self._level)
        if len(packed) > INT32_MAX - KS_BATCH_HEADER_SIZE:
            raise MessageTooLargeError(f"a batch of {len(packed)} bytes")
        batch = bytearray(KS_BATCH_HEADER_SIZE)
        batch += packed
        return batch


cdef bytes bytes_of(object data):
    if isinstance(data, str):
        raise TypeError("keys and values are bytes, not str")
    return bytes(memoryview(data))


cdef inline span span_of(object data) noexcept:
    if data is None:
        return span(NULL, -1)
    return span(<uint8_t *> PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


cdef list normalized(object headers):
    """Headers as [(key bytes, value bytes or None)]."""
    result = []
    for key, value in headers:
        key = key.encode() if isinstance(key, str) else bytes_of(key)
        if value is not None and not PyBytes_CheckExact(value):
            value = bytes_of(value)
        if len(key) > INT32_MAX or len(value or b"") > INT32_MAX:
            raise MessageTooLargeError(f"a record header of {len(key)} + {len(value or b'')} bytes")
        result.append((key, value))
    if len(result) > INT32_MAX:
        raise MessageTooLargeError(f"a record with {len(result)} headers")
    return result


cdef int64_t size_of_headers(list headers) except -1:
    cdef int64_t size = 0
    for key, value in headers:
        size += ks_size_sized(<int32_t> PyBytes_GET_SIZE(key))
        size += ks_size_sized(<int32_t> span_of(value).size)
    return size


cdef uint8_t *write_headers(uint8_t *p, list headers) except NULL:
    cdef span value_span
    for key, value in headers:
        p = ks_write_sized(p, <uint8_t *> PyBytes_AS_STRING(key), <int32_t> PyBytes_GET_SIZE(key))
        value_span = span_of(value)
        p = ks_write_sized(p, value_span.data, <int32_t> value_span.size)
    return p


cdef int finish(bytearray batch, const ks_batch_header *header) except -1:
    cdef uint8_t *data = <uint8_t *> PyByteArray_AS_STRING(batch)
    cdef Py_ssize_t size = len(batch)
    ks_batch_write_header(data, <int32_t> size, header)
    crc = crc32c_of(data + KS_BATCH_ATTRIBUTES, size - KS_BATCH_ATTRIBUTES)
    ks_store32(data + KS_BATCH_CRC, <int32_t> crc)
    return 0


def empty_batch(
    *,
    int64_t base_offset,
    int64_t last_offset,
    int64_t timestamp=-1,
    int timestamp_type=0,
    int64_t producer_id=-1,
    int16_t producer_epoch=-1,
    int32_t base_sequence=-1,
    int32_t partition_leader_epoch=-1,
    bint is_transactional=False,
    bint is_control=False,
):
    cdef ks_batch_header header
    cdef bytearray batch = bytearray(KS_BATCH_HEADER_SIZE)
    cdef int64_t delta = ks_sub64(last_offset, base_offset)
    if not 0 <= delta <= INT32_MAX:
        raise ValueError(f"offsets {base_offset} to {last_offset} do not fit a batch")
    header.base_offset = base_offset
    header.base_timestamp = -1
    header.max_timestamp = timestamp
    header.producer_id = producer_id
    header.crc = 0
    header.partition_leader_epoch = partition_leader_epoch
    header.last_offset_delta = <int32_t> delta
    header.base_sequence = base_sequence
    header.count = 0
    header.attributes = attributes_of(0, timestamp_type, is_transactional, is_control, False)
    header.producer_epoch = producer_epoch
    finish(batch, &header)
    return batch


def control_batch(
    int control_type,
    *,
    int64_t base_offset=0,
    int64_t timestamp,
    int64_t producer_id,
    int16_t producer_epoch,
    int32_t coordinator_epoch=0,
    int32_t partition_leader_epoch=-1,
):
    builder = BatchBuilder(
        base_offset=base_offset,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        partition_leader_epoch=partition_leader_epoch,
        is_transactional=True,
        is_control=True,
    )
    key = (0).to_bytes(2, "big") + control_type.to_bytes(2, "big")
    value = (0).to_bytes(2, "big") + coordinator_epoch.to_bytes(4, "big", signed=True)
    builder.append(timestamp, key, value)
    return builder.build()
