#include "ks_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

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

int64_t ks_file_read(int fd, uint8_t *data, size_t size, int64_t position) {
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(fd, data + done, size - done, position + (int64_t)done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0)
            break;
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
    struct iovec vector = {&byte, 1};
    for (;;) {
        ssize_t n = preadv2(fd, &vector, 1, position, RWF_NOWAIT);
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
    for (int64_t at = 0; at < size; at += KS_CACHE_PROBE_STEP) {
        int64_t cached = probe(fd, position + at);
        if (cached != 1)
            return cached;
    }
    return probe(fd, position + size - 1);
}

int64_t ks_file_sync(int fd) {
    return fdatasync(fd) == 0 ? KS_OK : -errno;
}

int64_t ks_file_preallocate(int fd, int64_t size) {
    while (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, size) != 0)
        if (errno != EINTR)
            return errno == EOPNOTSUPP ? KS_OK : -errno;
    return KS_OK;
}
