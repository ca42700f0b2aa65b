from libc.stdint cimport int16_t, int64_t, uint8_t

from kstore._native.batch cimport RecordBatch
from kstore._native.libkstore cimport ks_compaction, ks_kept, ks_last_batch, ks_offset_map, ks_transactions

cdef class OpenTransactions:
    cdef ks_transactions _open

cdef class OffsetMap:
    cdef ks_offset_map _map

cdef class Compactor:
    cdef ks_compaction _c
    cdef readonly OffsetMap map
    cdef OpenTransactions _transactions
    cdef object _out
    cdef ks_last_batch *_last
    cdef ks_kept *_kept

    cdef int make_room(self, int64_t more, int64_t records) except -1
    cdef int compact_compressed(
        self, RecordBatch batch, bint discard, bint marker_is_free, object max_bytes
    ) except -1
