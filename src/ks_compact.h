/* Which records of a batch survive compaction, and the batch that they make (LogCleaner.scala,
 * MemoryRecords.filterTo).
 *
 * A record stays when the map has no later offset for its key, and when its value is not null or its batch's
 * delete horizon has not passed (KIP-534). Base offset, last offset and sequence of a batch stay, so offsets
 * and producers' sequences keep their places; a producer's last batch stays even without records.
 */
#ifndef KS_COMPACT_H
#define KS_COMPACT_H

#include "ks_batch.h"
#include "ks_offset_map.h"
#include "ks_record.h"

/* The last that a producer wrote; `last_offset` is -1 where only a marker is left of it. */
struct ks_last_batch {
    int64_t producer_id;
    int64_t last_offset;
    int16_t producer_epoch;
};

/* Transactions that a walk is in and that the caller has looked at: their batches need no second look, up to
 * the offset where the next aborted transaction begins. */
enum { KS_OPEN_TRANSACTIONS = 32 };

struct ks_transactions {
    int64_t known_until; /* batches that reach this offset are the caller's */
    int32_t count;
    int64_t producer_id[KS_OPEN_TRANSACTIONS];
    int32_t is_aborted[KS_OPEN_TRANSACTIONS];
};

/* A batch that stays. */
struct ks_kept {
    int64_t position; /* in the output */
    int64_t size;
    int64_t last_offset;
    int64_t max_timestamp;
    int32_t is_new; /* it still needs its CRC */
};

struct ks_compaction {
    const struct ks_offset_map *map;
    const struct ks_transactions *transactions; /* NULL: none are known */
    int64_t now_ms;
    int64_t delete_retention_ms;
    const struct ks_last_batch *last; /* rising in producer id */
    size_t last_count;
    uint8_t *keep; /* a bit for each record of a batch */
    size_t keep_size;
    uint8_t *out;
    size_t out_room;
    size_t out_size;
    struct ks_kept *kept;
    size_t kept_room;
    size_t kept_count;
    int64_t records_read;
    int64_t records_kept;
    int64_t records_without_key;
};

/* What a walk over batches stopped at. */
enum ks_compact_stop {
    KS_COMPACT_END = 0,   /* no whole batch is left */
    KS_COMPACT_OTHER = 1, /* a batch that the caller must look at: control, transactional or compressed */
    KS_COMPACT_FULL = 2   /* no room in the output (or in the map) */
};

/* What becomes of a batch. */
enum ks_compact_verdict { KS_DROP, KS_EMPTY, KS_WHOLE, KS_REBUILD };

struct ks_judgement {
    int32_t verdict;
    int32_t kept;
    int64_t base_timestamp; /* of the new batch */
    int64_t max_timestamp;
    int64_t horizon; /* -1: none */
    int64_t most;    /* bytes that its records take, decompressed, at the most */
};

/* Takes the keys of the records [p, limit) of the batch at `header`, from `start_offset` on, into the map.
 * KS_COMPACT_END or KS_COMPACT_FULL; KS_ERECORD for records that are not what the header promises. */
int64_t ks_index_records(struct ks_offset_map *map, const uint8_t *header, const uint8_t *p,
                         const uint8_t *limit, int64_t start_offset);

/* The same for the plain batches that lie whole in [p, limit). *stopped is where it stopped. */
int64_t ks_index_batches(struct ks_offset_map *map, const struct ks_transactions *transactions,
                         const uint8_t *p, const uint8_t *limit, int64_t start_offset,
                         const uint8_t **stopped);

/* Whether the batch is the last of a producer that may come back. */
int ks_is_last_batch(const struct ks_compaction *c, const uint8_t *header);

/* Decides over the batch at `header`, whose records are [p, limit), decompressed. With `discard` none of them
 * stays (an aborted transaction's, a marker that is due); `marker_is_free`: a marker whose transaction has no
 * records left. KS_OK, KS_ERECORD, or KS_COMPACT_FULL where `keep` is too small. */
int64_t ks_judge(struct ks_compaction *c, const uint8_t *header, const uint8_t *p, const uint8_t *limit,
                 int discard, int marker_is_free, struct ks_judgement *judgement);

/* Writes the records that `keep` marks, with times from the judgement's base timestamp on; returns the end.
 * There is room for `judgement->most` bytes. */
uint8_t *ks_copy_kept(const struct ks_compaction *c, const uint8_t *header, const uint8_t *p,
                      const uint8_t *limit, const struct ks_judgement *judgement, uint8_t *out);

/* The header of the batch that takes the place of the one at `header`, all but its CRC. */
void ks_write_kept_header(uint8_t *p, int32_t size_in_bytes, const uint8_t *header,
                          const struct ks_judgement *judgement);

/* Judges an uncompressed batch and writes to the output what stays of it. KS_OK, KS_ERECORD or
 * KS_COMPACT_FULL. */
int64_t ks_compact_batch(struct ks_compaction *c, const uint8_t *batch, int32_t size, int discard,
                         int marker_is_free);

/* The same for the plain batches that lie whole in [p, limit). */
int64_t ks_compact_batches(struct ks_compaction *c, const uint8_t *p, const uint8_t *limit,
                           const uint8_t **stopped);

/* Notes a batch that was written to the end of the output. */
void ks_note_kept(struct ks_compaction *c, int64_t size, int is_new);

#endif
