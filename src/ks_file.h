/* Files of a log: whole writes, whole reads, and slices sent to a socket. All retry EINTR. */
#ifndef KS_FILE_H
#define KS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ks_base.h"

/* Opens a file that is there: the descriptor, -errno, or KS_ENOTCACHED when a directory or inode on the way
 * to it would have to be read from the disk; a kernel before 5.12 cannot tell and gets that answer always. */
int64_t ks_file_open_cached(const char *path, int flags);

/* Writes all of it at `position`. On failure the file is cut back to `position` (half a batch must not stay
 * behind on a full disk) and -errno returned; else `size`. */
int64_t ks_file_append(int fd, const uint8_t *data, size_t size, int64_t position);

/* Reads until `size` bytes have come or the file ends. The bytes read, or -errno. Without `wait`
 * KS_ENOTCACHED when some of them are not in the page cache; a file system that cannot tell (EOPNOTSUPP)
 * waits. */
int64_t ks_file_read(int fd, uint8_t *data, size_t size, int64_t position, bool wait);

/* Sends until `size` bytes have gone or the socket would block. The bytes sent (0 when it would block at
 * once), or -errno; KS_ETRUNCATED when the file ends before the slice does. */
int64_t ks_file_send(int socket, int fd, int64_t position, int64_t size);

/* 1 when the range is in the page cache, 0 when a page is not, -errno (EOPNOTSUPP on file systems that cannot
 * tell). From 6.5 on the kernel says how many of its pages are there, and reading its last byte tells that
 * they are not still on their way from the disk; before, one byte in every KS_CACHE_PROBE_STEP is read. */
enum { KS_CACHE_PROBE_STEP = 128 * 1024 };
int64_t ks_file_is_cached(int fd, int64_t position, int64_t size);

/* fdatasync. A failed one is not repeated: the kernel may have dropped the pages. One that was interrupted
 * is. */
int64_t ks_file_sync(int fd);

int64_t ks_file_truncate(int fd, int64_t size);

/* Reserves blocks for `size` bytes without changing the file's length. File systems that cannot are forgiven.
 */
int64_t ks_file_preallocate(int fd, int64_t size);

#endif
