/* Which offset a key was last seen at: what compaction must remember of a log, 24 bytes a key.
 *
 *   | hash of the key, 16 bytes | offset + 1 i64 |          0 in the last field: a free slot
 *
 * As Kafka's map (SkimpyOffsetMap.java) it keeps a hash of 128 bits for the key and takes equal hashes for
 * equal keys. The hash is SipHash-2-4 under a key that nobody knows, for MD5, which Kafka takes, is made to
 * collide in a moment: two keys of a hostile producer would be one. It is also five times as fast. Slots are
 * probed one after the other: the next ones lie in the same cache line.
 */
#ifndef KS_OFFSET_MAP_H
#define KS_OFFSET_MAP_H

#include "ks_base.h"

enum { KS_HASH_KEY_SIZE = 16 };

/* SipHash-2-4 with 128 bits of output (Aumasson and Bernstein), the low half in out[0]. */
void ks_siphash128(const uint8_t *key, const uint8_t *p, size_t size, uint64_t *out);

struct ks_offset_entry {
    uint64_t hash[2];
    int64_t next_offset;
};

struct ks_offset_map {
    struct ks_offset_entry *entries;
    uint64_t slots;
    uint64_t limit; /* how many keys may come in; below `slots`, or a search would not end */
    uint64_t size;
    int64_t latest_offset; /* all keys up to here are in; -1: none */
    uint8_t key[KS_HASH_KEY_SIZE];
};

/* `entries` are `slots` of them, all zero, and the caller's. */
void ks_offset_map_start(struct ks_offset_map *map, struct ks_offset_entry *entries, uint64_t slots,
                         uint64_t limit, const uint8_t *key);

/* Remembers the offset of a key and calls it the latest; 0, with nothing done, when the map is full. */
int ks_offset_map_put(struct ks_offset_map *map, const uint8_t *p, size_t size, int64_t offset);

/* -1 for a key that is not there. */
int64_t ks_offset_map_get(const struct ks_offset_map *map, const uint8_t *p, size_t size);

#endif
