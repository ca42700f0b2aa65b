/* Frames on a connection: a length (int32, big-endian) and that many bytes. */
#ifndef KS_FRAME_H
#define KS_FRAME_H

#include "ks_base.h"
#include "ks_bytes.h"

enum { KS_FRAME_OVERHEAD = 4 };

/* What the next frame says of its length, which may be anything; at least KS_FRAME_OVERHEAD bytes are there.
 */
static inline int32_t ks_frame_claim(const uint8_t *p) {
    return ks_load32(p);
}

/* The length of the frame that begins at `p`, if it is whole; KS_ETRUNCATED while bytes are missing,
 * KS_ECORRUPT for a length that is negative or above `max`. */
static inline int64_t ks_frame_length(const uint8_t *p, size_t available, int64_t max) {
    if (available < KS_FRAME_OVERHEAD)
        return KS_ETRUNCATED;
    int32_t length = ks_frame_claim(p);
    if (length < 0 || length > max)
        return KS_ECORRUPT;
    return available - KS_FRAME_OVERHEAD < (size_t)length ? KS_ETRUNCATED : length;
}

#endif
