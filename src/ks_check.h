/* Checking all records of a batch, which may come in pieces, for they may be compressed to a thousandth of
 * their size: memory is needed for a piece, not for the whole.
 *
 * The walk remembers where in a record a piece ended. Records that lie whole in a piece are read at one go;
 * of those that do not, only the few bytes of a split number are kept.
 */
#ifndef KS_CHECK_H
#define KS_CHECK_H

#include "ks_record.h"

/* What the header promises about all records of a batch. */
struct ks_records_promise {
    int64_t base_timestamp;
    int32_t count;
    int32_t last_offset_delta;
    int32_t consecutive; /* offset deltas are 0, 1, 2, ...; else they rise within last_offset_delta
                            (compaction) */
};

/* Why a check failed; the index of the record is in the walk. */
enum ks_record_fault {
    KS_RECORD_FINE = 0,
    KS_RECORD_MALFORMED,     /* lengths that do not fit each other, or records missing */
    KS_RECORD_OFFSET,        /* offset deltas out of order */
    KS_RECORD_TRAILING_BYTES /* more bytes than records */
};

/* What the next byte belongs to. */
enum ks_check_state {
    KS_AT_LENGTH,
    KS_AT_ATTRIBUTES,
    KS_AT_TIMESTAMP,
    KS_AT_OFFSET,
    KS_AT_KEY_SIZE,
    KS_AT_VALUE_SIZE,
    KS_AT_HEADER_COUNT,
    KS_AT_HEADER_KEY_SIZE,
    KS_AT_HEADER_VALUE_SIZE
};

enum { KS_SPLIT_MAX = 2 * 10 }; /* two numbers: the kept part of one, and what completes it */

struct ks_records_walk {
    struct ks_records_promise promise;
    int64_t size; /* bytes seen */

    /* What the records turned out to be. */
    int64_t min_timestamp;
    int64_t max_timestamp;
    int32_t max_timestamp_offset_delta; /* of the first record that has the largest timestamp */
    int32_t null_keys;
    int32_t index; /* how many records are good; of the bad one when there is a fault */
    int32_t fault;

    /* The record that the last piece ended in. */
    int32_t state;
    int32_t previous_offset;
    int64_t left; /* bytes of its body that have not been read */
    int64_t skip; /* of these, bytes of a key, a value or a header to step over first */
    int64_t timestamp_delta;
    int32_t offset_delta;
    int32_t key_size;
    int32_t headers_left;
    uint32_t split_size;
    uint8_t split[KS_SPLIT_MAX]; /* the begin of a number */
};

void ks_records_start(struct ks_records_walk *walk, const struct ks_records_promise *promise);

/* Walks on through the next piece. KS_OK or KS_ERECORD, then `fault` and `index` tell why and where. */
int64_t ks_records_feed(struct ks_records_walk *walk, const uint8_t *p, const uint8_t *limit);

/* After the last piece: KS_OK when exactly the promised records have come. */
int64_t ks_records_finish(struct ks_records_walk *walk);

#endif
