/* Zig-zag variable-length integers: seven bits a byte, lowest first, the top bit says that another byte
 * follows.
 *
 * Readers take (p, limit) and return the next position, or NULL when the integer passes `limit` or has not
 * ended after 5 (10) bytes. Bits above 32 (64) in the last byte are dropped, as ByteUtils.java does.
 */
#ifndef KS_VARINT_H
#define KS_VARINT_H

#include <stddef.h>
#include <stdint.h>

#include "ks_base.h"

enum { KS_VARINT32_MAX = 5, KS_VARINT64_MAX = 10 };

static inline uint32_t ks_zigzag32(int32_t value) {
    return ((uint32_t)value << 1) ^ (value < 0 ? UINT32_MAX : 0);
}

static inline uint64_t ks_zigzag64(int64_t value) {
    return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

static inline const uint8_t *ks_read_varint64(const uint8_t *p, const uint8_t *limit, int64_t *out) {
    uint64_t bits = 0;
    unsigned shift = 0;
    while (p < limit && shift < 7 * KS_VARINT64_MAX) {
        uint8_t byte = *p++;
        bits |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = (int64_t)((bits >> 1) ^ (0 - (bits & 1)));
            return p;
        }
        shift += 7;
    }
    return NULL;
}

static inline const uint8_t *ks_read_varint32(const uint8_t *p, const uint8_t *limit, int32_t *out) {
    if (KS_LIKELY(p < limit && *p < 0x80)) { /* most deltas and lengths are below 64 */
        uint32_t bits = *p;
        *out = (int32_t)((bits >> 1) ^ (0 - (bits & 1)));
        return p + 1;
    }
    uint32_t bits = 0;
    unsigned shift = 0;
    while (p < limit && shift < 7 * KS_VARINT32_MAX) {
        uint8_t byte = *p++;
        bits |= (uint32_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = (int32_t)((bits >> 1) ^ (0 - (bits & 1)));
            return p;
        }
        shift += 7;
    }
    return NULL;
}

static inline size_t ks_size_varint64(int64_t value) {
    unsigned bits = 64 - (unsigned)__builtin_clzll(ks_zigzag64(value) | 1);
    return (bits + 6) / 7;
}

static inline size_t ks_size_varint32(int32_t value) {
    unsigned bits = 32 - (unsigned)__builtin_clz(ks_zigzag32(value) | 1);
    return (bits + 6) / 7;
}

/* Writers need room for KS_VARINT32_MAX (KS_VARINT64_MAX) bytes, or for what ks_size_varint... says. */
static inline uint8_t *ks_write_varint64(uint8_t *p, int64_t value) {
    uint64_t bits = ks_zigzag64(value);
    while (bits >= 0x80) {
        *p++ = (uint8_t)(bits | 0x80);
        bits >>= 7;
    }
    *p++ = (uint8_t)bits;
    return p;
}

static inline uint8_t *ks_write_varint32(uint8_t *p, int32_t value) {
    uint32_t bits = ks_zigzag32(value);
    while (bits >= 0x80) {
        *p++ = (uint8_t)(bits | 0x80);
        bits >>= 7;
    }
    *p++ = (uint8_t)bits;
    return p;
}

#endif
