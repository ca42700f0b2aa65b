#include "ks_batch.h"

int64_t ks_batch_size(const uint8_t *p, int64_t available) {
    if (available < KS_HEADER_UP_TO_MAGIC)
        return KS_ETRUNCATED;
    int64_t length = ks_load32(p + KS_BATCH_LENGTH);
    if (length < KS_SMALLEST_LEGACY_SIZE || length > INT32_MAX - KS_LOG_OVERHEAD)
        return KS_ECORRUPT;
    /* Before the magic: the tail that a crash tore off must not pass for an old message format. */
    if (KS_LOG_OVERHEAD + length > available)
        return KS_ETRUNCATED;
    uint8_t magic = p[KS_BATCH_MAGIC];
    if (magic < KS_MAGIC_V2)
        return KS_EMAGIC;
    if (magic > KS_MAGIC_V2 || KS_LOG_OVERHEAD + length < KS_BATCH_HEADER_SIZE)
        return KS_ECORRUPT;
    return KS_LOG_OVERHEAD + length;
}

int32_t ks_sequence_add(int32_t sequence, int32_t increment) {
    return (int32_t)(((uint32_t)sequence + (uint32_t)increment) & INT32_MAX);
}

void ks_batch_write_header(uint8_t *p, int32_t size_in_bytes, const struct ks_batch_header *header) {
    ks_store64(p + KS_BATCH_BASE_OFFSET, header->base_offset);
    ks_store32(p + KS_BATCH_LENGTH, size_in_bytes - KS_LOG_OVERHEAD);
    ks_store32(p + KS_BATCH_LEADER_EPOCH, header->partition_leader_epoch);
    p[KS_BATCH_MAGIC] = KS_MAGIC_V2;
    ks_store16(p + KS_BATCH_ATTRIBUTES, header->attributes);
    ks_store32(p + KS_BATCH_LAST_OFFSET_DELTA, header->last_offset_delta);
    ks_store64(p + KS_BATCH_BASE_TIMESTAMP, header->base_timestamp);
    ks_store64(p + KS_BATCH_MAX_TIMESTAMP, header->max_timestamp);
    ks_store64(p + KS_BATCH_PRODUCER_ID, header->producer_id);
    ks_store16(p + KS_BATCH_PRODUCER_EPOCH, header->producer_epoch);
    ks_store32(p + KS_BATCH_BASE_SEQUENCE, header->base_sequence);
    ks_store32(p + KS_BATCH_COUNT, header->count);
}
