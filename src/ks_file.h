/* Files of a log: whole writes, whole reads, and slices sent to a socket. All retry EINTR. */
#ifndef KS_FILE_H
#define KS_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "ks_base.h"

/* Writes all of it at `position`. On failure the file is cut back to `position` (half a batch must not stay
 * behind on a full disk) and -errno returned; else `size`. */
int64_t ks_file_append(int fd, const uint8_t *data, size_t size, int64_t position);

/* Reads until `size` bytes have come or the file ends. The bytes read, or -errno. */
int64_t ks_file_read(int fd, uint8_t *data, size_t size, int64_t position);

/* Sends until `size` bytes have gone or the socket would block. The bytes sent (0 when it would block at
 * once), or -errno; KS_ETRUNCATED when the file ends before the slice does. */
int64_t ks_file_send(int socket, int fd, int64_t position, int64_t size);

/* 1 when the probed pages of the range are in the page cache, 0 when one is not, -errno (EOPNOTSUPP on file
 * systems that cannot tell). Probes one byte in every KS_CACHE_PROBE_STEP, and the last. */
enum { KS_CACHE_PROBE_STEP = 128 * 1024 };
int64_t ks_file_is_cached(int fd, int64_t position, int64_t size);

/* fdatasync, without a retry: after a failed fsync the kernel may have dropped the pages. */
int64_t ks_file_sync(int fd);

int64_t ks_file_truncate(int fd, int64_t size);

/* Reserves blocks for `size` bytes without changing the file's length. File systems that cannot are forgiven.
 */
int64_t ks_file_preallocate(int fd, int64_t size);

#endif
