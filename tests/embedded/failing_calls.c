/* Before the C library (LD_PRELOAD): system calls on files below one directory are counted, and one of them fails.
 *
 *     failing_calls_arm(directory, kinds, nth, error)   from now on; `kinds` is a sum of the bits below
 *     failing_calls_seen()                              how many calls of these kinds there were
 *     failing_calls_hit()                               "kind path" of the call that failed, or ""
 *     failing_calls_syncs_after_hit()                   how many fsyncs there were of the file whose call failed
 *
 * An error of 0 makes a call short: half of what was to be written or read. What fails was not done at all, as the
 * kernel would have it, but for a short call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 437
#endif

enum { OPEN = 1, WRITE = 2, SYNC = 4, RENAME = 8, READ = 16, TRUNCATE = 32, UNLINK = 64, PATH = 512 };

static const char *names[] = {"open", "write", "sync", "rename", "read", "truncate", "unlink"};

static char directory[PATH];
static size_t directory_length;
static int kinds, error_number;
static long nth, seen, syncs_after_hit;
static char hit[PATH + 32], hit_path[PATH];

void failing_calls_arm(const char *path, int which, long number, int error) {
    directory_length = strlen(path);
    memcpy(directory, path, directory_length + 1);
    kinds = which;
    nth = number;
    error_number = error;
    seen = syncs_after_hit = 0;
    hit[0] = hit_path[0] = 0;
}

long failing_calls_seen(void) {
    return seen;
}

const char *failing_calls_hit(void) {
    return hit;
}

long failing_calls_syncs_after_hit(void) {
    return syncs_after_hit;
}

#define REAL(type, name, ...)                                                                                \
    static type (*real)(__VA_ARGS__);                                                                        \
    if (real == NULL)                                                                                        \
    real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static ssize_t descriptor_path(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, PATH - 1);
    path[size < 0 ? 0 : size] = 0;
    return size;
}

/* Whether this is the call that is to fail. */
static int fails(int kind, const char *path) {
    if (!(kinds & (kind | SYNC)) || strncmp(path, directory, directory_length) != 0)
        return 0;
    if (kind == SYNC && hit_path[0] && strcmp(path, hit_path) == 0)
        syncs_after_hit++;
    if (!(kinds & kind) || ++seen != nth)
        return 0;
    snprintf(hit, sizeof hit, "%s %s", names[__builtin_ctz((unsigned)kind)], path);
    snprintf(hit_path, sizeof hit_path, "%s", path);
    return 1;
}

static int fails_at(int kind, int base, const char *path) {
    char whole[2 * PATH];
    if (directory_length == 0 || path == NULL)
        return 0;
    if (path[0] == '/' || base == AT_FDCWD)
        return fails(kind, path);
    ssize_t size = descriptor_path(base, whole);
    if (size < 0)
        return 0;
    snprintf(whole + size, sizeof whole - (size_t)size, "/%s", path);
    return fails(kind, whole);
}

static int fails_on(int kind, int fd) {
    char path[PATH];
    return directory_length != 0 && descriptor_path(fd, path) > 0 && fails(kind, path);
}

static int refuse(void) {
    errno = error_number;
    return -1;
}

/* A call that is to fail and can be short: refused, or made so. */
#define SHORT_OR(kind, fd, size)                                                                             \
    if (fails_on(kind, fd)) {                                                                                \
        if (error_number != 0)                                                                               \
            return refuse();                                                                                 \
        size = size > 1 ? size / 2 : size;                                                                   \
    }

/* --- open --- */

#define OPEN_AS(function)                                                                                    \
    int function(const char *path, int flags, ...) {                                                         \
        va_list arguments;                                                                                   \
        va_start(arguments, flags);                                                                          \
        mode_t mode = va_arg(arguments, mode_t);                                                             \
        va_end(arguments);                                                                                   \
        REAL(int, #function, const char *, int, ...);                                                        \
        return fails_at(OPEN, AT_FDCWD, path) && error_number ? refuse() : real(path, flags, mode);          \
    }
OPEN_AS(open)
OPEN_AS(open64)

#define OPENAT_AS(function)                                                                                  \
    int function(int base, const char *path, int flags, ...) {                                               \
        va_list arguments;                                                                                   \
        va_start(arguments, flags);                                                                          \
        mode_t mode = va_arg(arguments, mode_t);                                                             \
        va_end(arguments);                                                                                   \
        REAL(int, #function, int, const char *, int, ...);                                                   \
        return fails_at(OPEN, base, path) && error_number ? refuse() : real(base, path, flags, mode);        \
    }
OPENAT_AS(openat)
OPENAT_AS(openat64)

long syscall(long number, ...) {
    va_list arguments;
    va_start(arguments, number);
    long a = va_arg(arguments, long), b = va_arg(arguments, long), c = va_arg(arguments, long);
    long d = va_arg(arguments, long), e = va_arg(arguments, long), f = va_arg(arguments, long);
    va_end(arguments);
    REAL(long, "syscall", long, ...);
    if (number == SYS_openat2 && fails_at(OPEN, (int)a, (const char *)b) && error_number)
        return refuse();
    return real(number, a, b, c, d, e, f);
}

/* --- write --- */

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    SHORT_OR(WRITE, fd, size)
    return real(fd, data, size);
}

#define PWRITE_AS(function)                                                                                  \
    ssize_t function(int fd, const void *data, size_t size, off_t position) {                                \
        REAL(ssize_t, #function, int, const void *, size_t, off_t);                                          \
        SHORT_OR(WRITE, fd, size)                                                                            \
        return real(fd, data, size, position);                                                               \
    }
PWRITE_AS(pwrite)
PWRITE_AS(pwrite64)

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    SHORT_OR(WRITE, fd, count)
    return real(fd, parts, count);
}

/* --- sync --- */

#define SYNC_AS(function)                                                                                    \
    int function(int fd) {                                                                                   \
        REAL(int, #function, int);                                                                           \
        return fails_on(SYNC, fd) && error_number ? refuse() : real(fd);                                     \
    }
SYNC_AS(fsync)
SYNC_AS(fdatasync)

/* --- names --- */

int rename(const char *old, const char *new) {
    REAL(int, "rename", const char *, const char *);
    return fails_at(RENAME, AT_FDCWD, old) && error_number ? refuse() : real(old, new);
}

int renameat(int old_base, const char *old, int new_base, const char *new) {
    REAL(int, "renameat", int, const char *, int, const char *);
    return fails_at(RENAME, old_base, old) && error_number ? refuse() : real(old_base, old, new_base, new);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    return fails_at(UNLINK, AT_FDCWD, path) && error_number ? refuse() : real(path);
}

int unlinkat(int base, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    return fails_at(UNLINK, base, path) && error_number ? refuse() : real(base, path, flags);
}

#define TRUNCATE_AS(function)                                                                                \
    int function(int fd, off_t size) {                                                                       \
        REAL(int, #function, int, off_t);                                                                    \
        return fails_on(TRUNCATE, fd) && error_number ? refuse() : real(fd, size);                           \
    }
TRUNCATE_AS(ftruncate)
TRUNCATE_AS(ftruncate64)

#define TRUNCATE_PATH_AS(function)                                                                           \
    int function(const char *path, off_t size) {                                                             \
        REAL(int, #function, const char *, off_t);                                                           \
        return fails_at(TRUNCATE, AT_FDCWD, path) && error_number ? refuse() : real(path, size);             \
    }
TRUNCATE_PATH_AS(truncate)
TRUNCATE_PATH_AS(truncate64)

/* --- read --- */

ssize_t read(int fd, void *data, size_t size) {
    REAL(ssize_t, "read", int, void *, size_t);
    SHORT_OR(READ, fd, size)
    return real(fd, data, size);
}

#define PREAD_AS(function)                                                                                   \
    ssize_t function(int fd, void *data, size_t size, off_t position) {                                      \
        REAL(ssize_t, #function, int, void *, size_t, off_t);                                                \
        SHORT_OR(READ, fd, size)                                                                             \
        return real(fd, data, size, position);                                                               \
    }
PREAD_AS(pread)
PREAD_AS(pread64)

#define PREADV2_AS(function)                                                                                 \
    ssize_t function(int fd, const struct iovec *parts, int count, off_t position, int flags) {              \
        REAL(ssize_t, #function, int, const struct iovec *, int, off_t, int);                                \
        struct iovec first = parts[0];                                                                       \
        SHORT_OR(READ, fd, first.iov_len)                                                                    \
        return count == 1 ? real(fd, &first, 1, position, flags) : real(fd, parts, count, position, flags);  \
    }
PREADV2_AS(preadv2)
PREADV2_AS(preadv64v2)
