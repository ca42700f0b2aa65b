/* Walking a segment batch by batch: over memory (recovery reads chunks), or over a file reading little but
 * headers. */
#ifndef KS_SCAN_H
#define KS_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ks_batch.h"

/* Where a batch lies, counted from the start of the chunk. */
struct ks_extent {
    uint32_t position;
    uint32_t size;
};

/* What stopped a scan. */
struct ks_scan_result {
    size_t count;    /* extents filled */
    size_t consumed; /* bytes of whole batches */
    int64_t
        status; /* KS_OK: chunk or room for extents used up; KS_ETRUNCATED: the chunk ends inside a batch */
};

/* Finds the batches of the chunk [p, limit), none of which need be valid beyond its header. */
void ks_scan(const uint8_t *p, const uint8_t *limit, struct ks_extent *extents, size_t room,
             struct ks_scan_result *result);

/* A walk over the headers of a file's batches in [position, end). One read brings all headers of
 * KS_WALK_WINDOW bytes, so small batches cost no system call each and large ones are stepped over. */
enum { KS_WALK_WINDOW = 4096 };

struct ks_walk {
    int fd;
    int64_t next; /* where the next batch begins */
    int64_t end;
    int64_t position; /* of the batch that was found last */
    int64_t size;
    int64_t window_start;
    int64_t window_size;
    bool wait; /* for the disk; else the walk ends with KS_ENOTCACHED where it would */
    uint8_t window[KS_WALK_WINDOW];
};

void ks_walk_start(struct ks_walk *walk, int fd, int64_t position, int64_t end, bool wait);

/* 1 and the header (valid until the next call), 0 at the end or at a torn tail, or a negative status with
 * `walk->next` on the place. */
int64_t ks_walk_next(struct ks_walk *walk, const uint8_t **header);

struct ks_found {
    int64_t base_offset;
    int64_t last_offset;
    int64_t position;
    int64_t size;
    int64_t max_timestamp;
    int32_t leader_epoch;
};

/* The first batch whose last offset is >= `target`: 1 and the batch, 0 when there is none, or a negative
 * status. */
int64_t ks_walk_to_offset(struct ks_walk *walk, int64_t target, struct ks_found *found);

/* The first batch whose max timestamp is >= `timestamp`, else as above. */
int64_t ks_walk_to_timestamp(struct ks_walk *walk, int64_t timestamp, struct ks_found *found);

/* The first of the batches that have the largest max timestamp; 0 when there is no batch. */
int64_t ks_walk_to_largest_timestamp(struct ks_walk *walk, struct ks_found *found);

#endif
