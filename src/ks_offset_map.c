#include "ks_offset_map.h"

#include <string.h>

static inline uint64_t load_little_endian(const uint8_t *p) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

static inline uint64_t rotate(uint64_t x, unsigned bits) {
    return x << bits | x >> (64 - bits);
}

static inline void sip_rounds(uint64_t *v, int rounds) {
    for (int i = 0; i < rounds; i++) {
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

void ks_siphash128(const uint8_t *key, const uint8_t *p, size_t size, uint64_t *out) {
    uint64_t k0 = load_little_endian(key);
    uint64_t k1 = load_little_endian(key + 8);
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d ^ 0xee, k0 ^ 0x6c7967656e657261,
                     k1 ^ 0x7465646279746573};
    const uint8_t *end = p + size / 8 * 8;
    for (; p < end; p += 8) {
        uint64_t word = load_little_endian(p);
        v[3] ^= word;
        sip_rounds(v, 2);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)size << 56;
    for (size_t i = 0; i < size % 8; i++)
        last |= (uint64_t)p[i] << 8 * i;
    v[3] ^= last;
    sip_rounds(v, 2);
    v[0] ^= last;
    v[2] ^= 0xee;
    sip_rounds(v, 4);
    out[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    sip_rounds(v, 4);
    out[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
}

void ks_offset_map_start(struct ks_offset_map *map, struct ks_offset_entry *entries, uint64_t slots,
                         uint64_t limit, const uint8_t *key) {
    map->entries = entries;
    map->slots = slots;
    map->limit = limit < slots ? limit : slots - 1;
    map->size = 0;
    map->latest_offset = -1;
    memcpy(map->key, key, KS_HASH_KEY_SIZE);
}

/* The slot of a hash, or the free one where it would go. */
static struct ks_offset_entry *find(const struct ks_offset_map *map, const uint64_t *hash) {
    /* The upper half of a product spreads the hashes over any number of slots without a division. */
    uint64_t slot = (uint64_t)((unsigned __int128)hash[0] * map->slots >> 64);
    for (;;) {
        struct ks_offset_entry *entry = &map->entries[slot];
        if (entry->next_offset == 0 || (entry->hash[0] == hash[0] && entry->hash[1] == hash[1]))
            return entry;
        slot = slot + 1 == map->slots ? 0 : slot + 1;
    }
}

int ks_offset_map_put(struct ks_offset_map *map, const uint8_t *p, size_t size, int64_t offset) {
    uint64_t hash[2];
    if (map->size >= map->limit)
        return 0;
    ks_siphash128(map->key, p, size, hash);
    struct ks_offset_entry *entry = find(map, hash);
    if (entry->next_offset == 0) {
        memcpy(entry->hash, hash, sizeof hash);
        map->size++;
    }
    entry->next_offset = offset + 1;
    map->latest_offset = offset;
    return 1;
}

int64_t ks_offset_map_get(const struct ks_offset_map *map, const uint8_t *p, size_t size) {
    uint64_t hash[2];
    ks_siphash128(map->key, p, size, hash);
    return find(map, hash)->next_offset - 1;
}
