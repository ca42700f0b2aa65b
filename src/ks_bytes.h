/* Big-endian loads and stores at any alignment. The caller has checked the bounds. */
#ifndef KS_BYTES_H
#define KS_BYTES_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define KS_BE16(x) __builtin_bswap16(x)
#define KS_BE32(x) __builtin_bswap32(x)
#define KS_BE64(x) __builtin_bswap64(x)
#else
#define KS_BE16(x) (x)
#define KS_BE32(x) (x)
#define KS_BE64(x) (x)
#endif

static inline int16_t ks_load16(const uint8_t *p) {
    uint16_t x;
    memcpy(&x, p, sizeof x);
    return (int16_t)KS_BE16(x);
}

static inline int32_t ks_load32(const uint8_t *p) {
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return (int32_t)KS_BE32(x);
}

static inline int64_t ks_load64(const uint8_t *p) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return (int64_t)KS_BE64(x);
}

static inline void ks_store16(uint8_t *p, int16_t value) {
    uint16_t x = KS_BE16((uint16_t)value);
    memcpy(p, &x, sizeof x);
}

static inline void ks_store32(uint8_t *p, int32_t value) {
    uint32_t x = KS_BE32((uint32_t)value);
    memcpy(p, &x, sizeof x);
}

static inline void ks_store64(uint8_t *p, int64_t value) {
    uint64_t x = KS_BE64((uint64_t)value);
    memcpy(p, &x, sizeof x);
}

/* Offsets and timestamps come from the wire, so their sums may pass the end of int64: they wrap, as Java's
 * do. */
static inline int64_t ks_add64(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static inline int64_t ks_sub64(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

#endif
