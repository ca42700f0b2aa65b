/* The words shared by the whole C core: status codes and compiler hints.
 *
 * A function that can fail returns a count (>= 0) or a negative status: -errno when the operating system
 * refused, else one of KS_E..., which lie below every errno. kstore/_native/status.pyx turns both into
 * exceptions.
 */
#ifndef KS_BASE_H
#define KS_BASE_H

#include <stddef.h>
#include <stdint.h>

enum ks_status {
    KS_OK = 0,
    KS_ETRUNCATED = -5001, /* the bytes end before what they promise */
    KS_ECORRUPT = -5002,   /* a length or a field that cannot be */
    KS_EMAGIC = -5003,     /* a batch of message format 0 or 1 */
    KS_ERECORD = -5004,    /* a record that breaks a rule inside a whole batch */
    KS_ENOTCACHED = -5005  /* reading it would wait for the disk, and the caller must not wait */
};

#define KS_LIKELY(x) __builtin_expect(!!(x), 1)
#define KS_UNLIKELY(x) __builtin_expect(!!(x), 0)

#endif
