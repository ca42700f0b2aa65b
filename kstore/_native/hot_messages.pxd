from libc.stdint cimport int32_t, int64_t

from kstore._native.buffer cimport Cursor, bytes_ptr


cdef class RequestHeader:
    cdef readonly int api_key
    cdef readonly int api_version
    cdef readonly int32_t correlation_id
    cdef readonly object client_id
    cdef readonly Py_ssize_t body_position


cdef class ProducePayload:
    cdef readonly object transactional_id
    cdef readonly int acks
    cdef readonly int32_t timeout_ms
    cdef readonly list topics


cdef class FetchPayload:
    cdef readonly object cluster_id
    cdef readonly int32_t replica_id
    cdef readonly int64_t replica_epoch
    cdef readonly int32_t max_wait_ms
    cdef readonly int32_t min_bytes
    cdef readonly int32_t max_bytes
    cdef readonly int isolation_level
    cdef readonly int32_t session_id
    cdef readonly int32_t session_epoch
    cdef readonly list topics
    cdef readonly list forgotten
    cdef readonly object rack_id


# The same as the Python functions, on memory that the caller holds: positions are counted from `data`.
cdef RequestHeader read_request_header(bytes_ptr data, Py_ssize_t position, Py_ssize_t limit)
cdef ProducePayload read_produce(bytes_ptr data, Py_ssize_t position, Py_ssize_t limit, int version)
cdef FetchPayload read_fetch(bytes_ptr data, Py_ssize_t position, Py_ssize_t limit, int version)
