cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int16_t, int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcmp

from kstore._native.buffer cimport (
    INT_COST, LIST_COST, TEXT_COST, Cursor, Writer, bytes_ptr, charge, cursor_init, decode_text,
    load_u64, need, read_count, read_int8, read_int16, read_int32, read_int64, read_size, read_uvarint,
    refuse, refuse_short, skip_tags, store_u32, uuid_bytes, write_count, write_int8, write_int16, write_int32,
    write_int64, write_raw, write_uvarint, writer_bytes, writer_free, writer_init,
)

from kstore.errors import InvalidRequestError, UnsupportedVersionError

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    void* PyUnicode_DATA(object text)

cdef enum:
    PRODUCE_MIN = 3
    PRODUCE_MAX = 11
    PRODUCE_FLEXIBLE = 9
    FETCH_MIN = 4
    FETCH_MAX = 17
    FETCH_FLEXIBLE = 12
    CONTROLLED_SHUTDOWN = 7
    # Python objects for one topic and one partition, for the allowance: tuples, their ints, the topic's name.
    TOPIC_COST = 256
    PRODUCE_PARTITION_COST = 160
    FETCH_PARTITION_COST = 240
    # Records up to this size are copied into the answer: cheaper than one more piece to send.
    INLINE_RECORDS = 1024


# --- short texts that come again and again: one str a topic or client, found by its bytes

cdef enum:
    KNOWN_TEXTS = 512
    KNOWN_TEXT_SIZE = 255

cdef PyObject* known_texts[KNOWN_TEXTS]


cdef object text_at(Cursor* c, bytes_ptr p, Py_ssize_t size):
    """The str of these bytes. A table of 512, overwritten on collision, so it stays below 200 KB."""
    cdef uint64_t mixed
    cdef PyObject** place
    cdef PyObject* known
    if size > KNOWN_TEXT_SIZE or size < 1:
        charge(c, TEXT_COST + 4 * size)
        return decode_text(c, p, size)
    if size >= 8:
        mixed = load_u64(p) ^ (load_u64(p + size - 8) * 0x9E3779B97F4A7C15ULL)
    else:
        mixed = <uint64_t>p[0] << 16 | <uint64_t>p[size >> 1] << 8 | p[size - 1]
    mixed = (mixed + <uint64_t>size) * 0xD6E8FEB86659FD93ULL
    place = &known_texts[mixed >> 55]
    known = place[0]
    if (
        known != NULL
        and PyUnicode_GET_LENGTH(<object>known) == size
        and memcmp(PyUnicode_DATA(<object>known), p, <size_t>size) == 0
    ):
        return <object>known
    charge(c, TEXT_COST + 4 * size)
    text = decode_text(c, p, size)
    if PyUnicode_IS_COMPACT_ASCII(text):
        Py_INCREF(text)
        place[0] = <PyObject*>text
        Py_XDECREF(known)
    return text


cdef object read_text(Cursor* c, bint compact):
    cdef Py_ssize_t size = read_size(c, compact, True)
    if size < 0:
        refuse(c, "null where none is allowed")
    c.p += size
    return text_at(c, c.p - size, size)


cdef object read_nullable_text(Cursor* c, bint compact):
    cdef Py_ssize_t size = read_size(c, compact, True)
    if size < 0:
        return None
    c.p += size
    return text_at(c, c.p - size, size)


cdef inline Py_ssize_t read_elements(Cursor* c, bint compact, Py_ssize_t min_size) except? -2:
    cdef Py_ssize_t count = read_count(c, compact, min_size)
    if count < 0:
        refuse(c, "null where none is allowed")
    charge(c, LIST_COST)
    return count


cdef object read_uuid(Cursor* c):
    need(c, 16)
    charge(c, TEXT_COST)
    c.p += 16
    return uuid_bytes(c.p - 16)


# --- request header

cdef int16_t flexible_from[1024]
cdef int known_keys = 0


def set_flexible_versions(versions):
    global known_keys
    cdef int key
    for key in range(1024):
        flexible_from[key] = versions.get(key, -1)
    known_keys = 1024


@cython.freelist(64)
cdef class RequestHeader:
    def __repr__(self):
        return (
            f"RequestHeader(api_key={self.api_key}, api_version={self.api_version}, "
            f"correlation_id={self.correlation_id}, client_id={self.client_id!r})"
        )


cdef RequestHeader read_request_header(bytes_ptr data, Py_ssize_t position, Py_ssize_t limit):
    cdef Cursor c
    cdef Py_ssize_t size
    cdef int flexible
    cdef RequestHeader header = RequestHeader.__new__(RequestHeader)
    cursor_init(&c, data, position, limit, b"RequestHeader", -1)
    c.field = b"api_key"
    header.api_key = read_int16(&c)
    c.field = b"api_version"
    header.api_version = read_int16(&c)
    c.field = b"correlation_id"
    header.correlation_id = read_int32(&c)
    flexible = -1
    if 0 <= header.api_key < known_keys:
        flexible = flexible_from[header.api_key]
    if flexible < 0:
        c.field = b"api_key"
        refuse(&c, f"no API has the key {header.api_key}")
    if header.api_key == CONTROLLED_SHUTDOWN and header.api_version == 0:
        header.body_position = c.p - c.start
        return header
    c.field = b"client_id"
    # The client's name has a 16-bit size in every version of the header, and it is only shown and counted:
    # bytes that are not UTF-8 are no reason to turn the client away (Java replaces them too).
    size = read_size(&c, False, True)
    if size >= 0:
        c.p += size
        try:
            header.client_id = text_at(&c, c.p - size, size)
        except InvalidRequestError:
            header.client_id = PyUnicode_DecodeUTF8(<const char*>c.p - size, size, b"replace")
    if header.api_version >= flexible:
        c.field = b"tagged fields"
        skip_tags(&c)
    header.body_position = c.p - c.start
    return header


def decode_request_header(buffer, Py_ssize_t position, Py_ssize_t limit):
    cdef Py_buffer view
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    try:
        check_range(&view, position, limit)
        return read_request_header(<bytes_ptr>view.buf, position, limit)
    finally:
        PyBuffer_Release(&view)


cdef int check_range(Py_buffer* view, Py_ssize_t position, Py_ssize_t limit) except -1:
    if not 0 <= position <= limit <= view.len:
        raise ValueError(f"[{position}, {limit}) is not within a buffer of {view.len} bytes")
    return 0


# --- Produce

@cython.freelist(16)
cdef class ProducePayload:
    pass


cdef ProducePayload read_produce(bytes_ptr data, Py_ssize_t position, Py_ssize_t limit, int version):
    cdef Cursor c
    cdef Py_ssize_t topics, partitions, size
    cdef int32_t partition
    cdef bint compact = version >= PRODUCE_FLEXIBLE
    cdef list topic_list, partition_list
    cdef ProducePayload payload
    if not PRODUCE_MIN <= version <= PRODUCE_MAX:
        raise UnsupportedVersionError(f"Produce v{version} is not in [{PRODUCE_MIN}, {PRODUCE_MAX}]")
    cursor_init(&c, data, position, limit, b"ProduceRequest", version)
    payload = ProducePayload.__new__(ProducePayload)
    c.field = b"transactional_id"
    payload.transactional_id = read_nullable_text(&c, compact)
    c.field = b"acks"
    payload.acks = read_int16(&c)
    c.field = b"timeout_ms"
    payload.timeout_ms = read_int32(&c)
    c.field = b"topic_data"
    topics = read_elements(&c, compact, 3 if compact else 6)
    topic_list = []
    while topics > 0:
        topics -= 1
        charge(&c, TOPIC_COST)
        c.field = b"topic_data.name"
        name = read_text(&c, compact)
        c.field = b"topic_data.partition_data"
        partitions = read_elements(&c, compact, 6 if compact else 8)
        partition_list = []
        while partitions > 0:
            partitions -= 1
            charge(&c, PRODUCE_PARTITION_COST)
            c.field = b"topic_data.partition_data.index"
            partition = read_int32(&c)
            c.field = b"topic_data.partition_data.records"
            size = read_size(&c, compact, False)
            partition_list.append((partition, c.p - c.start, size))
            if size > 0:
                c.p += size
            if compact:
                c.field = b"topic_data.partition_data tagged fields"
                skip_tags(&c)
        topic_list.append((name, partition_list))
        if compact:
            c.field = b"topic_data tagged fields"
            skip_tags(&c)
    if compact:
        c.field = b"tagged fields"
        skip_tags(&c)
    payload.topics = topic_list
    return payload


def decode_produce(buffer, Py_ssize_t position, Py_ssize_t limit, int version):
    cdef Py_buffer view
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    try:
        check_range(&view, position, limit)
        return read_produce(<bytes_ptr>view.buf, position, limit, version)
    finally:
        PyBuffer_Release(&view)


# --- Fetch

@cython.freelist(16)
cdef class FetchPayload:
    pass


cdef int read_replica_state(Cursor* c, FetchPayload payload) except -1:
    payload.replica_id = read_int32(c)
    payload.replica_epoch = read_int64(c)
    return skip_tags(c)


cdef int read_fetch_tags(Cursor* c, FetchPayload payload) except -1:
    """Tag 0: cluster id; tag 1 from version 15 on: replica id and epoch (KIP-595, KIP-903)."""
    cdef int64_t count, tag, size
    cdef bytes_ptr outer_end
    c.field = b"tagged fields"
    count = read_uvarint(c)
    if count > (c.end - c.p) // 2:
        refuse(c, f"{count} tagged fields of at least 2 bytes cannot be in the {c.end - c.p} bytes left")
    while count > 0:
        count -= 1
        tag = read_uvarint(c)
        size = read_uvarint(c)
        if size > c.end - c.p:
            refuse_short(c, size)
        outer_end = c.end
        c.end = c.p + size
        if tag == 0:
            c.field = b"cluster_id"
            payload.cluster_id = read_nullable_text(c, True)
        elif tag == 1 and c.version >= 15:
            c.field = b"replica_state"
            read_replica_state(c, payload)
        else:
            c.p = c.end
        if c.p != c.end:
            refuse(c, f"{c.end - c.p} bytes after the value of tag {tag}")
        c.end = outer_end
        c.field = b"tagged fields"
    return 0


cdef int skip_fetch_partition_tags(Cursor* c) except -1:
    """Tag 0 from version 17 on is the replica's directory id (KIP-853), which only controllers look at."""
    cdef int64_t count, tag, size
    c.field = b"topics.partitions tagged fields"
    if c.version < 17:
        return skip_tags(c)
    count = read_uvarint(c)
    if count > (c.end - c.p) // 2:
        refuse(c, f"{count} tagged fields of at least 2 bytes cannot be in the {c.end - c.p} bytes left")
    while count > 0:
        count -= 1
        tag = read_uvarint(c)
        size = read_uvarint(c)
        if size > c.end - c.p:
            refuse_short(c, size)
        if tag == 0 and size != 16:
            refuse(c, f"a directory id of {size} bytes")
        c.p += size
    return 0


cdef tuple read_fetch_partition(Cursor* c):
    cdef int32_t partition, max_bytes
    cdef int32_t current_leader_epoch = -1
    cdef int32_t last_fetched_epoch = -1
    cdef int64_t fetch_offset
    cdef int64_t log_start_offset = -1
    charge(c, FETCH_PARTITION_COST)
    c.field = b"topics.partitions"
    partition = read_int32(c)
    if c.version >= 9:
        current_leader_epoch = read_int32(c)
    fetch_offset = read_int64(c)
    if c.version >= 12:
        last_fetched_epoch = read_int32(c)
    if c.version >= 5:
        log_start_offset = read_int64(c)
    max_bytes = read_int32(c)
    if c.version >= FETCH_FLEXIBLE:
        skip_fetch_partition_tags(c)
    return (partition, current_leader_epoch, fetch_offset, last_fetched_epoch, log_start_offset, max_bytes)


cdef list read_fetch_topics(Cursor* c):
    cdef bint compact = c.version >= FETCH_FLEXIBLE
    cdef bint by_id = c.version >= 13
    cdef Py_ssize_t topics, partitions
    cdef Py_ssize_t partition_min = 16
    cdef list topic_list = []
    cdef list partition_list
    if c.version >= 5:
        partition_min += 8
    if c.version >= 9:
        partition_min += 4
    if compact:
        partition_min += 5
    c.field = b"topics"
    topics = read_elements(c, compact, 18 if by_id else 3 if compact else 6)
    while topics > 0:
        topics -= 1
        charge(c, TOPIC_COST)
        name = topic_id = None
        if by_id:
            c.field = b"topics.topic_id"
            topic_id = read_uuid(c)
        else:
            c.field = b"topics.topic"
            name = read_text(c, compact)
        c.field = b"topics.partitions"
        partitions = read_elements(c, compact, partition_min)
        partition_list = []
        while partitions > 0:
            partitions -= 1
            partition_list.append(read_fetch_partition(c))
        if compact:
            c.field = b"topics tagged fields"
            skip_tags(c)
        topic_list.append((name, topic_id, partition_list))
    return topic_list


cdef list read_forgotten_topics(Cursor* c):
    cdef bint compact = c.version >= FETCH_FLEXIBLE
    cdef bint by_id = c.version >= 13
    cdef Py_ssize_t topics, partitions
    cdef list topic_list = []
    cdef list partition_list
    c.field = b"forgotten_topics_data"
    topics = read_elements(c, compact, 18 if by_id else 3 if compact else 6)
    while topics > 0:
        topics -= 1
        charge(c, TOPIC_COST)
        name = topic_id = None
        if by_id:
            c.field = b"forgotten_topics_data.topic_id"
            topic_id = read_uuid(c)
        else:
            c.field = b"forgotten_topics_data.topic"
            name = read_text(c, compact)
        c.field = b"forgotten_topics_data.partitions"
        partitions = read_elements(c, compact, 4)
        charge(c, partitions * (INT_COST + 12))
        partition_list = []
        while partitions > 0:
            partitions -= 1
            partition_list.append(read_int32(c))
        if compact:
            c.field = b"forgotten_topics_data tagged fields"
            skip_tags(c)
        topic_list.append((name, topic_id, partition_list))
    return topic_list


cdef FetchPayload read_fetch(bytes_ptr data, Py_ssize_t position, Py_ssize_t limit, int version):
    cdef Cursor c
    cdef bint compact = version >= FETCH_FLEXIBLE
    cdef FetchPayload payload
    if not FETCH_MIN <= version <= FETCH_MAX:
        raise UnsupportedVersionError(f"Fetch v{version} is not in [{FETCH_MIN}, {FETCH_MAX}]")
    cursor_init(&c, data, position, limit, b"FetchRequest", version)
    payload = FetchPayload.__new__(FetchPayload)
    payload.replica_id = -1
    payload.replica_epoch = -1
    payload.session_id = 0
    payload.session_epoch = -1
    payload.rack_id = ""
    if version < 15:
        c.field = b"replica_id"
        payload.replica_id = read_int32(&c)
    c.field = b"max_wait_ms"
    payload.max_wait_ms = read_int32(&c)
    c.field = b"min_bytes"
    payload.min_bytes = read_int32(&c)
    c.field = b"max_bytes"
    payload.max_bytes = read_int32(&c)
    c.field = b"isolation_level"
    payload.isolation_level = read_int8(&c)
    if version >= 7:
        c.field = b"session_id"
        payload.session_id = read_int32(&c)
        c.field = b"session_epoch"
        payload.session_epoch = read_int32(&c)
    payload.topics = read_fetch_topics(&c)
    payload.forgotten = read_forgotten_topics(&c) if version >= 7 else []
    if version >= 11:
        c.field = b"rack_id"
        payload.rack_id = read_text(&c, compact)
    if compact:
        read_fetch_tags(&c, payload)
    return payload


def decode_fetch(buffer, Py_ssize_t position, Py_ssize_t limit, int version):
    cdef Py_buffer view
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    try:
        check_range(&view, position, limit)
        return read_fetch(<bytes_ptr>view.buf, position, limit, version)
    finally:
        PyBuffer_Release(&view)


# --- answers

cdef int write_text(Writer* w, bint compact, object text) except -1:
    cdef Py_ssize_t size
    cdef const char* data
    if text is None:
        return write_int8(w, 0) if compact else write_int16(w, -1)
    data = PyUnicode_AsUTF8AndSize(text, &size)
    if size > 0x7FFF:
        raise OverflowError(f"a string of {size} bytes is longer than 32767")
    if compact:
        write_uvarint(w, <uint32_t>(size + 1))
    else:
        write_int16(w, <int>size)
    return write_raw(w, data, size)


cdef int write_int32_pair(Writer* w, int tag, object pair) except -1:
    """A tagged LeaderIdAndEpoch."""
    cdef int32_t leader_id, leader_epoch
    leader_id, leader_epoch = pair
    write_uvarint(w, <uint32_t>tag)
    write_uvarint(w, 9)
    write_int32(w, leader_id)
    write_int32(w, leader_epoch)
    return write_int8(w, 0)


cdef int write_node_endpoints(Writer* w, object endpoints) except -1:
    """The tagged section that ends the body: tag 0, where the named leaders can be reached (KIP-951)."""
    cdef Writer inner
    cdef unsigned char scratch[512]
    if not endpoints:
        return write_int8(w, 0)
    writer_init(&inner, scratch, sizeof(scratch))
    try:
        write_count(&inner, True, len(endpoints))
        for node_id, host, port, rack in endpoints:
            write_int32(&inner, node_id)
            write_text(&inner, True, host)
            write_int32(&inner, port)
            write_text(&inner, True, rack)
            write_int8(&inner, 0)
        write_uvarint(w, 1)
        write_uvarint(w, 0)
        write_uvarint(w, <uint32_t>inner.size)
        return write_raw(w, inner.data, inner.size)
    finally:
        writer_free(&inner)


cdef int write_response_header(Writer* w, int32_t correlation_id, bint flexible) except -1:
    write_int32(w, 0)  # the frame's length, known at the end
    write_int32(w, correlation_id)
    return write_int8(w, 0) if flexible else 0


cdef bint is_given(object pair) except -1:
    """Whether a tagged pair differs from its default, which is left out."""
    return pair is not None and pair != (-1, -1)


cdef int write_produce_partition(Writer* w, int version, object result) except -1:
    cdef int32_t index
    cdef int16_t error_code
    cdef int64_t base_offset, log_append_time_ms, log_start_offset
    cdef bint compact = version >= PRODUCE_FLEXIBLE
    (
        index, error_code, base_offset, log_append_time_ms, log_start_offset, record_errors, error_message,
        current_leader,
    ) = result
    write_int32(w, index)
    write_int16(w, error_code)
    write_int64(w, base_offset)
    write_int64(w, log_append_time_ms)
    if version >= 5:
        write_int64(w, log_start_offset)
    if version >= 8:
        if record_errors is None:
            write_count(w, compact, 0)
        else:
            write_count(w, compact, len(record_errors))
            for batch_index, message in record_errors:
                write_int32(w, batch_index)
                write_text(w, compact, message)
                if compact:
                    write_int8(w, 0)
        write_text(w, compact, error_message)
    if compact:
        if version >= 10 and is_given(current_leader):
            write_int8(w, 1)
            write_int32_pair(w, 0, current_leader)
        else:
            write_int8(w, 0)
    return 0


def encode_produce_response(
    int32_t correlation_id, int version, topics, int32_t throttle_time_ms=0, node_endpoints=()
):
    cdef Writer w
    cdef unsigned char scratch[1024]
    cdef bint compact = version >= PRODUCE_FLEXIBLE
    if not PRODUCE_MIN <= version <= PRODUCE_MAX:
        raise UnsupportedVersionError(f"Produce v{version} is not in [{PRODUCE_MIN}, {PRODUCE_MAX}]")
    writer_init(&w, scratch, sizeof(scratch))
    try:
        write_response_header(&w, correlation_id, compact)
        write_count(&w, compact, len(topics))
        for name, partitions in topics:
            write_text(&w, compact, name)
            write_count(&w, compact, len(partitions))
            for result in partitions:
                write_produce_partition(&w, version, result)
            if compact:
                write_int8(&w, 0)
        write_int32(&w, throttle_time_ms)
        if compact:
            write_node_endpoints(&w, node_endpoints if version >= 10 else None)
        store_u32(w.data, <uint32_t>(w.size - 4))
        return writer_bytes(&w)
    finally:
        writer_free(&w)


cdef int write_offset_and_epoch(
    Writer* w, int tag, int64_t offset, int32_t epoch, bint epoch_first
) except -1:
    write_uvarint(w, <uint32_t>tag)
    write_uvarint(w, 13)
    if epoch_first:
        write_int32(w, epoch)
        write_int64(w, offset)
    else:
        write_int64(w, offset)
        write_int32(w, epoch)
    return write_int8(w, 0)


cdef int write_fetch_partition_tags(Writer* w, object diverging, object leader, object snapshot) except -1:
    cdef int64_t offset
    cdef int32_t epoch
    cdef bint has_diverging = is_given(diverging)
    cdef bint has_leader = is_given(leader)
    cdef bint has_snapshot = is_given(snapshot)
    write_int8(w, has_diverging + has_leader + has_snapshot)
    if has_diverging:
        epoch, offset = diverging
        write_offset_and_epoch(w, 0, offset, epoch, True)
    if has_leader:
        write_int32_pair(w, 1, leader)
    if has_snapshot:
        offset, epoch = snapshot
        write_offset_and_epoch(w, 2, offset, epoch, False)
    return 0


cdef Py_ssize_t size_of(object records) except -1:
    if records is None:
        return 0
    if type(records) is bytes:
        return len(<bytes>records)
    if isinstance(records, (bytearray, memoryview)):
        return memoryview(records).nbytes
    return records.size


cdef class Pieces:
    """The parts of an answer: what was written between the records that are sent from where they lie."""

    cdef list cuts  # (position in the written bytes, records)
    cdef Py_ssize_t outside

    def __cinit__(self):
        self.cuts = []
        self.outside = 0

    cdef int add_records(self, Writer* w, object records, Py_ssize_t size) except -1:
        cdef Py_buffer view
        if size == 0:
            return 0
        if size <= INLINE_RECORDS and isinstance(records, (bytes, bytearray, memoryview)):
            PyObject_GetBuffer(records, &view, PyBUF_SIMPLE)
            try:
                write_raw(w, view.buf, size)
            finally:
                PyBuffer_Release(&view)
            return 0
        self.cuts.append((w.size, records))
        self.outside += size
        return 0

    cdef list parts(self, Writer* w):
        cdef Py_ssize_t start = 0
        cdef Py_ssize_t end
        if w.size - 4 + self.outside > 0x7FFFFFFF:
            raise OverflowError(f"a frame of {w.size - 4 + self.outside} bytes does not fit the wire")
        store_u32(w.data, <uint32_t>(w.size - 4 + self.outside))
        parts = []
        for end, records in self.cuts:
            if end > start:
                parts.append(PyBytes_FromStringAndSize(<const char*>w.data + start, end - start))
            parts.append(records)
            start = end
        if w.size > start:
            parts.append(PyBytes_FromStringAndSize(<const char*>w.data + start, w.size - start))
        return parts


cdef int write_fetch_partition(Writer* w, int version, object result, Pieces pieces) except -1:
    cdef int32_t index, preferred_read_replica
    cdef int16_t error_code
    cdef int64_t high_watermark, last_stable_offset, log_start_offset
    cdef bint compact = version >= FETCH_FLEXIBLE
    cdef Py_ssize_t size
    (
        index, error_code, high_watermark, last_stable_offset, log_start_offset, aborted,
        preferred_read_replica, records, diverging_epoch, current_leader, snapshot_id,
    ) = result
    write_int32(w, index)
    write_int16(w, error_code)
    write_int64(w, high_watermark)
    write_int64(w, last_stable_offset)
    if version >= 5:
        write_int64(w, log_start_offset)
    if aborted is None:
        write_count(w, compact, -1)
    else:
        write_count(w, compact, len(aborted))
        for producer_id, first_offset in aborted:
            write_int64(w, producer_id)
            write_int64(w, first_offset)
            if compact:
                write_int8(w, 0)
    if version >= 11:
        write_int32(w, preferred_read_replica)
    # Empty records are empty, never null: librdkafka treats null as a malformed answer.
    size = size_of(records)
    write_count(w, compact, size)
    pieces.add_records(w, records, size)
    if compact:
        write_fetch_partition_tags(w, diverging_epoch, current_leader, snapshot_id)
    return 0


def encode_fetch_response(
    int32_t correlation_id, int version, int32_t throttle_time_ms, int16_t error_code, int32_t session_id,
    topics, node_endpoints=()
):
    cdef Writer w
    cdef unsigned char scratch[1024]
    cdef bint compact = version >= FETCH_FLEXIBLE
    cdef Pieces pieces = Pieces.__new__(Pieces)
    if not FETCH_MIN <= version <= FETCH_MAX:
        raise UnsupportedVersionError(f"Fetch v{version} is not in [{FETCH_MIN}, {FETCH_MAX}]")
    writer_init(&w, scratch, sizeof(scratch))
    try:
        write_response_header(&w, correlation_id, compact)
        write_int32(&w, throttle_time_ms)
        if version >= 7:
            write_int16(&w, error_code)
            write_int32(&w, session_id)
        write_count(&w, compact, len(topics))
        for name, topic_id, partitions in topics:
            if version >= 13:
                if type(topic_id) is not bytes or len(<bytes>topic_id) != 16:
                    raise ValueError(f"an id of 16 bytes wanted, not {topic_id!r}")
                write_raw(&w, <const char*><bytes>topic_id, 16)
            else:
                write_text(&w, compact, name)
            write_count(&w, compact, len(partitions))
            for result in partitions:
                write_fetch_partition(&w, version, result, pieces)
            if compact:
                write_int8(&w, 0)
        if compact:
            write_node_endpoints(&w, node_endpoints if version >= 16 else None)
        return pieces.parts(&w)
    finally:
        writer_free(&w)
