#include "ks_compact.h"

#include <string.h>

#include "ks_varint.h"

/* A record's new length and timestamp may take that many bytes more than its old ones. */
enum { KS_RECORD_GROWTH = KS_VARINT64_MAX - 1 + KS_VARINT32_MAX - 1 };

static int16_t attributes_of(const uint8_t *header) {
    return ks_load16(header + KS_BATCH_ATTRIBUTES);
}

enum look { MINE, ABORTED, CALLERS };

/* What has to be known of a batch beside what is in it. */
static enum look look_at(const uint8_t *header, const struct ks_transactions *transactions) {
    int16_t attributes = attributes_of(header);
    if ((attributes & (KS_CODEC_MASK | KS_TRANSACTIONAL | KS_CONTROL)) == 0)
        return MINE;
    if ((attributes & (KS_CODEC_MASK | KS_CONTROL)) != 0 || transactions == NULL ||
        ks_batch_last_offset(header) >= transactions->known_until)
        return CALLERS;
    int64_t producer_id = ks_load64(header + KS_BATCH_PRODUCER_ID);
    for (int32_t i = 0; i < transactions->count; i++)
        if (transactions->producer_id[i] == producer_id)
            return transactions->is_aborted[i] ? ABORTED : MINE;
    return CALLERS;
}

int64_t ks_index_records(struct ks_offset_map *map, const uint8_t *header, const uint8_t *p,
                         const uint8_t *limit, int64_t start_offset) {
    int64_t base_offset = ks_load64(header + KS_BATCH_BASE_OFFSET);
    int32_t count = ks_load32(header + KS_BATCH_COUNT);
    int64_t last_offset = ks_batch_last_offset(header);
    struct ks_record record;
    for (int32_t i = 0; i < count; i++) {
        p = ks_record_read(p, limit, &record);
        if (p == NULL || record.offset_delta < 0)
            return KS_ERECORD;
        int64_t offset = ks_add64(base_offset, record.offset_delta);
        if (record.key != NULL && offset >= start_offset &&
            !ks_offset_map_put(map, record.key, (size_t)record.key_size, offset))
            return KS_COMPACT_FULL;
    }
    if (p != limit)
        return KS_ERECORD;
    if (last_offset >= start_offset)
        map->latest_offset = last_offset;
    return KS_COMPACT_END;
}

int64_t ks_index_batches(struct ks_offset_map *map, const struct ks_transactions *transactions,
                         const uint8_t *p, const uint8_t *limit, int64_t start_offset,
                         const uint8_t **stopped) {
    for (;;) {
        *stopped = p;
        int64_t size = ks_batch_size(p, limit - p);
        if (size < 0)
            return size == KS_ETRUNCATED ? KS_COMPACT_END : size;
        enum look look = look_at(p, transactions);
        if (look == CALLERS)
            return KS_COMPACT_OTHER;
        if (look == ABORTED) { /* supersedes nothing */
            if (ks_batch_last_offset(p) >= start_offset)
                map->latest_offset = ks_batch_last_offset(p);
        } else {
            int64_t status = ks_index_records(map, p, p + KS_BATCH_HEADER_SIZE, p + size, start_offset);
            if (status != KS_COMPACT_END)
                return status;
        }
        p += size;
    }
}

int ks_is_last_batch(const struct ks_compaction *c, const uint8_t *header) {
    int64_t producer_id = ks_load64(header + KS_BATCH_PRODUCER_ID);
    if (producer_id < 0)
        return 0;
    size_t low = 0;
    size_t high = c->last_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c->last[middle].producer_id < producer_id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == c->last_count || c->last[low].producer_id != producer_id)
        return 0;
    const struct ks_last_batch *last = &c->last[low];
    if (last->last_offset >= 0)
        return ks_batch_last_offset(header) == last->last_offset;
    /* Only its marker is left, which has its epoch: that must go on fencing older ones. */
    return (attributes_of(header) & KS_CONTROL) != 0 &&
           ks_load16(header + KS_BATCH_PRODUCER_EPOCH) == last->producer_epoch;
}

static int64_t timestamp_of(const uint8_t *header, const struct ks_record *record) {
    if (attributes_of(header) & KS_LOG_APPEND_TIME)
        return ks_load64(header + KS_BATCH_MAX_TIMESTAMP);
    return ks_add64(ks_load64(header + KS_BATCH_BASE_TIMESTAMP), record->timestamp_delta);
}

static int stays(struct ks_compaction *c, const struct ks_record *record, int64_t offset,
                 int drop_tombstones) {
    if (offset > c->map->latest_offset)
        return 1;
    if (record->key == NULL) {
        c->records_without_key++;
        return 0;
    }
    if (record->value == NULL && drop_tombstones)
        return 0;
    return offset >= ks_offset_map_get(c->map, record->key, (size_t)record->key_size);
}

int64_t ks_judge(struct ks_compaction *c, const uint8_t *header, const uint8_t *p, const uint8_t *limit,
                 int discard, int marker_is_free, struct ks_judgement *judgement) {
    int16_t attributes = attributes_of(header);
    int64_t base_offset = ks_load64(header + KS_BATCH_BASE_OFFSET);
    int32_t count = ks_load32(header + KS_BATCH_COUNT);
    int64_t horizon = attributes & KS_DELETE_HORIZON ? ks_load64(header + KS_BATCH_BASE_TIMESTAMP) : -1;
    int drop_tombstones = horizon >= 0 && horizon <= c->now_ms;
    int32_t tombstones = 0;
    int64_t first_timestamp = -1;
    int64_t max_timestamp = -1;
    struct ks_record record;
    if (count < 0 || (limit - p) / KS_SMALLEST_RECORD < count)
        return KS_ERECORD;
    if ((size_t)count > c->keep_size * 8)
        return KS_COMPACT_FULL;
    memset(c->keep, 0, ((size_t)count + 7) / 8);
    judgement->kept = 0;
    judgement->most = limit - p;
    for (int32_t i = 0; i < count; i++) {
        p = ks_record_read(p, limit, &record);
        if (p == NULL || record.offset_delta < 0)
            return KS_ERECORD;
        c->records_read++;
        if (discard)
            continue;
        if (!(attributes & KS_CONTROL) &&
            !stays(c, &record, ks_add64(base_offset, record.offset_delta), drop_tombstones))
            continue;
        c->keep[i / 8] = (uint8_t)(c->keep[i / 8] | 1 << i % 8);
        int64_t timestamp = timestamp_of(header, &record);
        if (judgement->kept == 0)
            first_timestamp = max_timestamp = timestamp;
        if (timestamp > max_timestamp)
            max_timestamp = timestamp;
        tombstones += record.value == NULL;
        judgement->kept++;
    }
    if (p != limit)
        return KS_ERECORD;
    c->records_kept += judgement->kept;
    judgement->most += (int64_t)judgement->kept * KS_RECORD_GROWTH;
    if (judgement->most > INT32_MAX - KS_BATCH_HEADER_SIZE)
        return KS_ECORRUPT; /* no log takes a batch as large as this */
    if (judgement->kept == 0) {
        judgement->verdict = ks_is_last_batch(c, header) ? KS_EMPTY : KS_DROP;
        return KS_OK;
    }
    judgement->verdict = judgement->kept == count ? KS_WHOLE : KS_REBUILD;
    if (horizon < 0 && (tombstones > 0 || marker_is_free)) {
        /* From now on it is known when they may go. */
        horizon = ks_add64(c->now_ms, c->delete_retention_ms);
        judgement->verdict = KS_REBUILD;
    }
    judgement->horizon = horizon;
    judgement->base_timestamp = horizon >= 0 ? horizon : first_timestamp;
    judgement->max_timestamp = max_timestamp;
    return KS_OK;
}

uint8_t *ks_copy_kept(const struct ks_compaction *c, const uint8_t *header, const uint8_t *p,
                      const uint8_t *limit, const struct ks_judgement *judgement, uint8_t *out) {
    int32_t count = ks_load32(header + KS_BATCH_COUNT);
    struct ks_record record;
    for (int32_t i = 0; i < count; i++) {
        p = ks_record_read(p, limit, &record);
        if (p == NULL)
            break; /* it was read before */
        if (!(c->keep[i / 8] & 1 << i % 8))
            continue;
        int64_t delta = ks_sub64(timestamp_of(header, &record), judgement->base_timestamp);
        int64_t headers_size = record.end - record.headers;
        int64_t body_size = ks_record_body_size(delta, record.offset_delta, record.key_size,
                                                record.value_size, record.header_count, headers_size);
        out = ks_record_write(out, (int32_t)body_size, delta, record.offset_delta, record.key,
                              record.key_size, record.value, record.value_size, record.header_count);
        memcpy(out, record.headers, (size_t)headers_size);
        out += headers_size;
    }
    return out;
}

void ks_write_kept_header(uint8_t *p, int32_t size_in_bytes, const uint8_t *header,
                          const struct ks_judgement *judgement) {
    int16_t attributes = attributes_of(header);
    struct ks_batch_header new = {
        .base_offset = ks_load64(header + KS_BATCH_BASE_OFFSET),
        .base_timestamp = -1,
        .max_timestamp = ks_load64(header + KS_BATCH_MAX_TIMESTAMP),
        .producer_id = ks_load64(header + KS_BATCH_PRODUCER_ID),
        .partition_leader_epoch = ks_load32(header + KS_BATCH_LEADER_EPOCH),
        .last_offset_delta = ks_load32(header + KS_BATCH_LAST_OFFSET_DELTA),
        .base_sequence = ks_load32(header + KS_BATCH_BASE_SEQUENCE),
        .count = judgement->kept,
        .producer_epoch = ks_load16(header + KS_BATCH_PRODUCER_EPOCH),
    };
    if (judgement->kept == 0) {
        /* Neither codec nor horizon say anything of a batch without records (writeEmptyHeader). */
        new.attributes = (int16_t)(attributes & (KS_LOG_APPEND_TIME | KS_TRANSACTIONAL | KS_CONTROL));
    } else {
        new.attributes = (int16_t)(attributes & ~KS_DELETE_HORIZON);
        if (judgement->horizon >= 0)
            new.attributes = (int16_t)(new.attributes | KS_DELETE_HORIZON);
        new.base_timestamp = judgement->base_timestamp;
        if (!(attributes & KS_LOG_APPEND_TIME))
            new.max_timestamp = judgement->max_timestamp;
    }
    ks_batch_write_header(p, size_in_bytes, &new);
}

void ks_note_kept(struct ks_compaction *c, int64_t size, int is_new) {
    const uint8_t *p = c->out + c->out_size;
    struct ks_kept *kept = &c->kept[c->kept_count++];
    kept->position = (int64_t)c->out_size;
    kept->size = size;
    kept->last_offset = ks_batch_last_offset(p);
    kept->max_timestamp = ks_load64(p + KS_BATCH_MAX_TIMESTAMP);
    kept->is_new = is_new;
    c->out_size += (size_t)size;
}

int64_t ks_compact_batch(struct ks_compaction *c, const uint8_t *batch, int32_t size, int discard,
                         int marker_is_free) {
    struct ks_judgement judgement;
    struct ks_compaction before = *c;
    const uint8_t *p = batch + KS_BATCH_HEADER_SIZE;
    const uint8_t *limit = batch + size;
    if (c->kept_count == c->kept_room)
        return KS_COMPACT_FULL;
    int64_t status = ks_judge(c, batch, p, limit, discard, marker_is_free, &judgement);
    if (status == KS_OK && judgement.verdict != KS_DROP &&
        (int64_t)(c->out_room - c->out_size) < KS_BATCH_HEADER_SIZE + judgement.most)
        status = KS_COMPACT_FULL;
    if (status != KS_OK) {
        *c = before; /* the batch will come again, and must be counted once */
        return status;
    }
    uint8_t *out = c->out + c->out_size;
    int64_t new_size;
    switch (judgement.verdict) {
    case KS_DROP:
        return KS_OK;
    case KS_WHOLE:
        memcpy(out, batch, (size_t)size);
        ks_note_kept(c, size, 0);
        return KS_OK;
    case KS_EMPTY:
        new_size = KS_BATCH_HEADER_SIZE;
        break;
    default:
        new_size = ks_copy_kept(c, batch, p, limit, &judgement, out + KS_BATCH_HEADER_SIZE) - out;
    }
    ks_write_kept_header(out, (int32_t)new_size, batch, &judgement);
    ks_note_kept(c, new_size, 1);
    return KS_OK;
}

int64_t ks_compact_batches(struct ks_compaction *c, const uint8_t *p, const uint8_t *limit,
                           const uint8_t **stopped) {
    for (;;) {
        *stopped = p;
        int64_t size = ks_batch_size(p, limit - p);
        if (size < 0)
            return size == KS_ETRUNCATED ? KS_COMPACT_END : size;
        enum look look = look_at(p, c->transactions);
        if (look == CALLERS)
            return KS_COMPACT_OTHER;
        int64_t status = ks_compact_batch(c, p, (int32_t)size, look == ABORTED, 0);
        if (status != KS_OK)
            return status;
        p += size;
    }
}
