/* Search in the entries of an offset index or a time index (AbstractIndex.java, OffsetIndex.java,
 * TimeIndex.java).
 *
 *   offset index, 8 bytes:  | offset - base offset i32 | position i32 |
 *   time index,  12 bytes:  | timestamp i64 | offset - base offset i32 |
 *
 * Entries rise strictly in offset, position and timestamp, so each field can be searched.
 */
#ifndef KS_INDEX_H
#define KS_INDEX_H

#include <stddef.h>
#include <stdint.h>

enum { KS_OFFSET_ENTRY = 8, KS_TIME_ENTRY = 12 };

/* A field of an entry: where it lies and how wide it is. */
struct ks_index_field {
    int32_t entry_size;
    int32_t at;
    int32_t width; /* 4 or 8 */
};

extern const struct ks_index_field KS_OFFSET_KEY, KS_OFFSET_POSITION, KS_TIME_KEY, KS_TIME_OFFSET;

int64_t ks_index_value(const uint8_t *entries, size_t n, struct ks_index_field field);

/* How many of the `count` entries have a value <= `target`: the floor is the entry before that. */
size_t ks_index_upper_bound(const uint8_t *entries, size_t count, struct ks_index_field field,
                            int64_t target);

#endif
