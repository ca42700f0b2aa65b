/* The header of a record batch, message format v2 (DefaultRecordBatch.java).
 *
 *   0                8        12            16    17     21           23
 *   | base offset i64 | length | leader epoch | magic | crc u32 | attributes i16 | last offset delta i32 |
 *   27                  35                 43               51                53                 57 61 | base
 * timestamp i64 | max timestamp i64 | producer id i64 | producer epoch | base sequence i32 | count i32 |
 * records
 *
 * `length` counts what follows it. The CRC32C covers attributes to end, so base offset and leader epoch are
 * stamped by the broker without touching it. Attributes: bits 0-2 codec, 3 timestamp type, 4 transactional, 5
 * control, 6 delete horizon (then the base timestamp is the horizon, KIP-534).
 */
#ifndef KS_BATCH_H
#define KS_BATCH_H

#include "ks_base.h"
#include "ks_bytes.h"

enum ks_batch_field {
    KS_BATCH_BASE_OFFSET = 0,
    KS_BATCH_LENGTH = 8,
    KS_BATCH_LEADER_EPOCH = 12,
    KS_BATCH_MAGIC = 16,
    KS_BATCH_CRC = 17,
    KS_BATCH_ATTRIBUTES = 21,
    KS_BATCH_LAST_OFFSET_DELTA = 23,
    KS_BATCH_BASE_TIMESTAMP = 27,
    KS_BATCH_MAX_TIMESTAMP = 35,
    KS_BATCH_PRODUCER_ID = 43,
    KS_BATCH_PRODUCER_EPOCH = 51,
    KS_BATCH_BASE_SEQUENCE = 53,
    KS_BATCH_COUNT = 57,
    KS_BATCH_HEADER_SIZE = 61
};

enum {
    KS_LOG_OVERHEAD = 12,         /* base offset and length */
    KS_HEADER_UP_TO_MAGIC = 17,   /* what all message formats share */
    KS_SMALLEST_LEGACY_SIZE = 14, /* a record of format 0 without key and value (LegacyRecord.java) */
    KS_MAGIC_V2 = 2
};

enum ks_batch_attribute {
    KS_CODEC_MASK = 0x07,
    KS_LOG_APPEND_TIME = 0x08,
    KS_TRANSACTIONAL = 0x10,
    KS_CONTROL = 0x20,
    KS_DELETE_HORIZON = 0x40
};

struct ks_batch_header {
    int64_t base_offset;
    int64_t base_timestamp;
    int64_t max_timestamp;
    int64_t producer_id;
    uint32_t crc;
    int32_t partition_leader_epoch;
    int32_t last_offset_delta;
    int32_t base_sequence;
    int32_t count;
    int16_t attributes;
    int16_t producer_epoch;
};

/* The size in bytes of the batch that begins at `p`, or KS_ETRUNCATED, KS_ECORRUPT, KS_EMAGIC.
 * `available` says how many bytes there are in all (in a file they may lie beyond what has been read); the
 * first min(available, KS_HEADER_UP_TO_MAGIC) must be readable. */
int64_t ks_batch_size(const uint8_t *p, int64_t available);

/* Sequences are 31 bits wide and wrap to 0 after 2^31 - 1. */
int32_t ks_sequence_add(int32_t sequence, int32_t increment);

static inline int64_t ks_batch_last_offset(const uint8_t *p) {
    return ks_add64(ks_load64(p + KS_BATCH_BASE_OFFSET), ks_load32(p + KS_BATCH_LAST_OFFSET_DELTA));
}

static inline void ks_batch_stamp(uint8_t *p, int64_t base_offset, int32_t leader_epoch) {
    ks_store64(p + KS_BATCH_BASE_OFFSET, base_offset);
    ks_store32(p + KS_BATCH_LEADER_EPOCH, leader_epoch);
}

/* Writes everything but the CRC, which is computed over the finished rest. */
void ks_batch_write_header(uint8_t *p, int32_t size_in_bytes, const struct ks_batch_header *header);

#endif
