#include "ks_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

/* openat2(2), which the C library and older kernel headers lack. */
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
struct how_to_open {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};
enum { RESOLVE_IN_CACHE = 0x20 }; /* RESOLVE_CACHED of linux/openat2.h */

int64_t ks_file_open_cached(const char *path, int flags) {
    struct how_to_open how = {(uint64_t)flags, 0, RESOLVE_IN_CACHE};
    long fd;
    do
        fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    while (fd < 0 && errno == EINTR);
    if (fd >= 0)
        return fd;
    switch (errno) {
    case EAGAIN:
    case ENOSYS: /* a kernel before 5.6 */
    case EINVAL: /* before 5.12 */
    case EPERM:  /* a container that knows only older calls */
        return KS_ENOTCACHED;
    default:
        return -errno;
    }
}

int64_t ks_file_truncate(int fd, int64_t size) {
    while (ftruncate(fd, size) != 0)
        if (errno != EINTR)
            return -errno;
    return KS_OK;
}

int64_t ks_file_append(int fd, const uint8_t *data, size_t size, int64_t position) {
    size_t done = 0;
    while (done < size) {
        ssize_t n = pwrite(fd, data + done, size - done, position + (int64_t)done);
        if (KS_LIKELY(n > 0)) {
            done += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            int64_t failure = n == 0 ? -ENOSPC : -errno;
            /* If even this fails, the next append overwrites the rest and recovery cuts it as a torn tail. */
            (void)ks_file_truncate(fd, position);
            return failure;
        }
    }
    return (int64_t)size;
}

/* cachestat(2), as openat2 above. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
struct cached_range {
    uint64_t position;
    uint64_t size;
};
enum { OVERLAYFS = 0x794c7630 };
struct cached_pages {
    uint64_t present;
    uint64_t others[4]; /* dirty, being written, evicted, evicted lately */
};

/* How many pages of a range are not in the page cache; -1 where the kernel does not tell (before 6.5). Asking
 * with RWF_NOWAIT alone would have the kernel begin to read them, which may wait for room in the disk's
 * queue. */
static int64_t missing_pages(int fd, int64_t position, int64_t size) {
    int64_t page = sysconf(_SC_PAGESIZE);
    int64_t pages = (position + size - 1) / page - position / page + 1;
    struct cached_range range = {(uint64_t)position, (uint64_t)size};
    struct cached_pages found;
    struct statfs system;
    if (syscall(SYS_cachestat, fd, &range, &found, 0) != 0)
        return -1;
    int64_t missing = pages - (int64_t)found.present;
    /* The pages of an overlay belong to files below it. */
    if (missing > 0 && fstatfs(fd, &system) == 0 && system.f_type == OVERLAYFS)
        return -1;
    return missing;
}

static ssize_t read_cached(int fd, uint8_t *data, size_t size, int64_t position) {
    struct iovec vector = {data, size};
    return preadv2(fd, &vector, 1, position, RWF_NOWAIT);
}

int64_t ks_file_read(int fd, uint8_t *data, size_t size, int64_t position, bool wait) {
    size_t done = 0;
    if (!wait && size > 0 && missing_pages(fd, position, (int64_t)size) > 0)
        return KS_ENOTCACHED;
    while (done < size) {
        int64_t at = position + (int64_t)done;
        ssize_t n =
            wait ? pread(fd, data + done, size - done, at) : read_cached(fd, data + done, size - done, at);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0)
            break;
        else if (!wait && errno == EAGAIN)
            return KS_ENOTCACHED;
        else if (!wait && errno == EOPNOTSUPP)
            wait = true;
        else if (errno != EINTR)
            return -errno;
    }
    return (int64_t)done;
}

int64_t ks_file_send(int socket, int fd, int64_t position, int64_t size) {
    off_t offset = position;
    int64_t sent = 0;
    while (sent < size) {
        ssize_t n = sendfile(socket, fd, &offset, (size_t)(size - sent));
        if (n > 0) {
            sent += n;
        } else if (n == 0) {
            return sent > 0 ? sent : KS_ETRUNCATED;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            /* What has gone must be counted; the error comes again with the next call. */
            return sent > 0 ? sent : -errno;
        }
    }
    return sent;
}

static int64_t probe(int fd, int64_t position) {
    uint8_t byte;
    for (;;) {
        ssize_t n = read_cached(fd, &byte, 1, position);
        if (n >= 0)
            return 1;
        if (errno == EAGAIN)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

int64_t ks_file_is_cached(int fd, int64_t position, int64_t size) {
    if (size <= 0)
        return 1;
    int64_t missing = missing_pages(fd, position, size);
    if (missing > 0)
        return 0;
    for (int64_t at = 0; missing < 0 && at < size; at += KS_CACHE_PROBE_STEP) {
        int64_t cached = probe(fd, position + at);
        if (cached != 1)
            return cached;
    }
    return probe(fd, position + size - 1);
}

int64_t ks_file_sync(int fd) {
    int status;
    do
        status = fdatasync(fd);
    while (status < 0 && errno == EINTR);
    return status == 0 ? KS_OK : -errno;
}

int64_t ks_file_preallocate(int fd, int64_t size) {
    while (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, size) != 0)
        if (errno != EINTR)
            return errno == EOPNOTSUPP ? KS_OK : -errno;
    return KS_OK;
}
