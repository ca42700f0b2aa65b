"""The C core in src/, declared once for all Cython modules."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "ks_base.h" nogil:
    enum:
        KS_OK
        KS_ETRUNCATED
        KS_ECORRUPT
        KS_EMAGIC
        KS_ERECORD
        KS_ENOTCACHED

cdef extern from "ks_bytes.h" nogil:
    int16_t ks_load16(const uint8_t *p)
    int32_t ks_load32(const uint8_t *p)
    int64_t ks_load64(const uint8_t *p)
    void ks_store16(uint8_t *p, int16_t value)
    void ks_store32(uint8_t *p, int32_t value)
    void ks_store64(uint8_t *p, int64_t value)
    int64_t ks_add64(int64_t a, int64_t b)
    int64_t ks_sub64(int64_t a, int64_t b)

cdef extern from "ks_varint.h" nogil:
    enum:
        KS_VARINT32_MAX
        KS_VARINT64_MAX
    const uint8_t *ks_read_varint32(const uint8_t *p, const uint8_t *limit, int32_t *out)
    const uint8_t *ks_read_varint64(const uint8_t *p, const uint8_t *limit, int64_t *out)
    size_t ks_size_varint32(int32_t value)
    size_t ks_size_varint64(int64_t value)
    uint8_t *ks_write_varint32(uint8_t *p, int32_t value)
    uint8_t *ks_write_varint64(uint8_t *p, int64_t value)

cdef extern from "ks_frame.h" nogil:
    int32_t ks_frame_claim(const uint8_t *p)
    int64_t ks_frame_length(const uint8_t *p, size_t available, int64_t max)

cdef extern from "ks_batch.h" nogil:
    enum:
        KS_BATCH_BASE_OFFSET
        KS_BATCH_LENGTH
        KS_BATCH_LEADER_EPOCH
        KS_BATCH_MAGIC
        KS_BATCH_CRC
        KS_BATCH_ATTRIBUTES
        KS_BATCH_LAST_OFFSET_DELTA
        KS_BATCH_BASE_TIMESTAMP
        KS_BATCH_MAX_TIMESTAMP
        KS_BATCH_PRODUCER_ID
        KS_BATCH_PRODUCER_EPOCH
        KS_BATCH_BASE_SEQUENCE
        KS_BATCH_COUNT
        KS_BATCH_HEADER_SIZE
        KS_LOG_OVERHEAD
        KS_HEADER_UP_TO_MAGIC
        KS_MAGIC_V2
        KS_CODEC_MASK
        KS_LOG_APPEND_TIME
        KS_TRANSACTIONAL
        KS_CONTROL
        KS_DELETE_HORIZON
    struct ks_batch_header:
        int64_t base_offset
        int64_t base_timestamp
        int64_t max_timestamp
        int64_t producer_id
        uint32_t crc
        int32_t partition_leader_epoch
        int32_t last_offset_delta
        int32_t base_sequence
        int32_t count
        int16_t attributes
        int16_t producer_epoch
    int64_t ks_batch_size(const uint8_t *p, int64_t available)
    int32_t ks_sequence_add(int32_t sequence, int32_t increment)
    int64_t ks_batch_last_offset(const uint8_t *p)
    void ks_batch_stamp(uint8_t *p, int64_t base_offset, int32_t leader_epoch)
    void ks_batch_write_header(uint8_t *p, int32_t size_in_bytes, const ks_batch_header *header)

cdef extern from "ks_record.h" nogil:
    enum:
        KS_SMALLEST_RECORD
    struct ks_record:
        const uint8_t *key
        const uint8_t *value
        const uint8_t *headers
        const uint8_t *end
        int64_t timestamp_delta
        int32_t offset_delta
        int32_t key_size
        int32_t value_size
        int32_t header_count
    struct ks_header:
        const uint8_t *key
        const uint8_t *value
        int32_t key_size
        int32_t value_size
    const uint8_t *ks_record_read(const uint8_t *p, const uint8_t *limit, ks_record *record)
    const uint8_t *ks_record_read_header(const uint8_t *p, const uint8_t *limit, ks_header *header)
    int64_t ks_record_body_size(int64_t timestamp_delta, int32_t offset_delta, int64_t key_size,
                                int64_t value_size, int32_t header_count, int64_t headers_size)
    uint8_t *ks_record_write(uint8_t *p, int32_t body_size, int64_t timestamp_delta, int32_t offset_delta,
                             const uint8_t *key, int32_t key_size, const uint8_t *value, int32_t value_size,
                             int32_t header_count)
    uint8_t *ks_write_sized(uint8_t *p, const uint8_t *bytes, int32_t size)
    int64_t ks_size_sized(int32_t size)

cdef extern from "ks_check.h" nogil:
    enum:
        KS_RECORD_FINE
        KS_RECORD_MALFORMED
        KS_RECORD_OFFSET
        KS_RECORD_TRAILING_BYTES
    struct ks_records_promise:
        int64_t base_timestamp
        int32_t count
        int32_t last_offset_delta
        int32_t consecutive
    struct ks_records_walk:
        int64_t size
        int64_t min_timestamp
        int64_t max_timestamp
        int32_t max_timestamp_offset_delta
        int32_t null_keys
        int32_t index
        int32_t fault
    void ks_records_start(ks_records_walk *walk, const ks_records_promise *promise)
    int64_t ks_records_feed(ks_records_walk *walk, const uint8_t *p, const uint8_t *limit)
    int64_t ks_records_finish(ks_records_walk *walk)

cdef extern from "ks_index.h" nogil:
    enum:
        KS_OFFSET_ENTRY
        KS_TIME_ENTRY
    struct ks_index_field:
        int32_t entry_size
        int32_t at
        int32_t width
    const ks_index_field KS_OFFSET_KEY
    const ks_index_field KS_OFFSET_POSITION
    const ks_index_field KS_TIME_KEY
    const ks_index_field KS_TIME_OFFSET
    int64_t ks_index_value(const uint8_t *entries, size_t n, ks_index_field field)
    size_t ks_index_upper_bound(const uint8_t *entries, size_t count, ks_index_field field, int64_t target)

cdef extern from "ks_file.h" nogil:
    int64_t ks_file_append(int fd, const uint8_t *data, size_t size, int64_t position)
    int64_t ks_file_open_cached(const char *path, int flags)
    int64_t ks_file_read(int fd, uint8_t *data, size_t size, int64_t position, bint wait)
    int64_t ks_file_send(int socket, int fd, int64_t position, int64_t size)
    int64_t ks_file_is_cached(int fd, int64_t position, int64_t size)
    int64_t ks_file_sync(int fd)
    int64_t ks_file_truncate(int fd, int64_t size)
    int64_t ks_file_preallocate(int fd, int64_t size)

cdef extern from "ks_scan.h" nogil:
    struct ks_extent:
        uint32_t position
        uint32_t size
    struct ks_scan_result:
        size_t count
        size_t consumed
        int64_t status
    void ks_scan(const uint8_t *p, const uint8_t *limit, ks_extent *extents, size_t room,
                 ks_scan_result *result)
    enum:
        KS_WALK_WINDOW
    struct ks_walk:
        int fd
        int64_t next
        int64_t end
        int64_t position
        int64_t size
    void ks_walk_start(ks_walk *walk, int fd, int64_t position, int64_t end, bint wait)
    int64_t ks_walk_next(ks_walk *walk, const uint8_t **header)
    struct ks_found:
        int64_t base_offset
        int64_t last_offset
        int64_t position
        int64_t size
        int64_t max_timestamp
        int32_t leader_epoch
    int64_t ks_walk_to_offset(ks_walk *walk, int64_t target, ks_found *found)
    int64_t ks_walk_to_timestamp(ks_walk *walk, int64_t timestamp, ks_found *found)
    int64_t ks_walk_to_largest_timestamp(ks_walk *walk, ks_found *found)

cdef extern from "ks_offset_map.h" nogil:
    enum:
        KS_HASH_KEY_SIZE
    struct ks_offset_entry:
        int64_t next_offset
    struct ks_offset_map:
        ks_offset_entry *entries
        uint64_t slots
        uint64_t limit
        uint64_t size
        int64_t latest_offset
    void ks_siphash128(const uint8_t *key, const uint8_t *p, size_t size, uint64_t *out)
    void ks_offset_map_start(ks_offset_map *map, ks_offset_entry *entries, uint64_t slots, uint64_t limit,
                             const uint8_t *key)
    int ks_offset_map_put(ks_offset_map *map, const uint8_t *p, size_t size, int64_t offset)
    int64_t ks_offset_map_get(const ks_offset_map *map, const uint8_t *p, size_t size)

cdef extern from "ks_compact.h" nogil:
    enum:
        KS_COMPACT_END
        KS_COMPACT_OTHER
        KS_COMPACT_FULL
        KS_DROP
        KS_EMPTY
        KS_WHOLE
        KS_REBUILD
    struct ks_last_batch:
        int64_t producer_id
        int64_t last_offset
        int16_t producer_epoch
    enum:
        KS_OPEN_TRANSACTIONS
    struct ks_transactions:
        int64_t known_until
        int32_t count
        int64_t *producer_id
        int32_t *is_aborted
    struct ks_kept:
        int64_t position
        int64_t size
        int64_t last_offset
        int64_t max_timestamp
        int32_t is_new
    struct ks_compaction:
        const ks_offset_map *map
        const ks_transactions *transactions
        int64_t now_ms
        int64_t delete_retention_ms
        const ks_last_batch *last
        size_t last_count
        uint8_t *keep
        size_t keep_size
        uint8_t *out
        size_t out_room
        size_t out_size
        ks_kept *kept
        size_t kept_room
        size_t kept_count
        int64_t records_read
        int64_t records_kept
        int64_t records_without_key
    struct ks_judgement:
        int32_t verdict
        int32_t kept
        int64_t most
    int64_t ks_index_records(ks_offset_map *map, const uint8_t *header, const uint8_t *p, const uint8_t *limit,
                             int64_t start_offset)
    int64_t ks_index_batches(ks_offset_map *map, const ks_transactions *transactions, const uint8_t *p,
                             const uint8_t *limit, int64_t start_offset, const uint8_t **stopped)
    int64_t ks_judge(ks_compaction *c, const uint8_t *header, const uint8_t *p, const uint8_t *limit, int discard,
                     int marker_is_free, ks_judgement *judgement)
    uint8_t *ks_copy_kept(const ks_compaction *c, const uint8_t *header, const uint8_t *p, const uint8_t *limit,
                          const ks_judgement *judgement, uint8_t *out)
    void ks_write_kept_header(uint8_t *p, int32_t size_in_bytes, const uint8_t *header,
                              const ks_judgement *judgement)
    int64_t ks_compact_batch(ks_compaction *c, const uint8_t *batch, int32_t size, int discard, int marker_is_free)
    int64_t ks_compact_batches(ks_compaction *c, const uint8_t *p, const uint8_t *limit, const uint8_t **stopped)
    void ks_note_kept(ks_compaction *c, int64_t size, int is_new)
