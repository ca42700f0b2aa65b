/* Before the C library (LD_PRELOAD): a disk that begins to fail, and ends to, while a program runs.
 *
 * FAILING_DISKS names directories, with colons between them. While the file DIRECTORY.fails exists, what would change
 * anything below DIRECTORY fails with the error number that the file holds (5: EIO, 28: ENOSPC), and is not done.
 * Reading goes on.
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

enum { PATH = 512, DISKS = 8 };

static char disks[DISKS][PATH];
static int disk_count = -1;

static void read_disks(void) {
    const char *next = getenv("FAILING_DISKS");
    int count = 0;
    while (next != NULL && *next != 0 && count < DISKS) {
        size_t size = strcspn(next, ":");
        if (size > 0 && size < PATH - 8)
            snprintf(disks[count++], PATH, "%.*s", (int)size, next);
        next += size + (next[size] == ':');
    }
    disk_count = count;
}

/* The error number that a change below this path gives now, or 0. */
static int fault_at(const char *path) {
    if (disk_count < 0)
        read_disks();
    for (int i = 0; i < disk_count; i++) {
        size_t size = strlen(disks[i]);
        if (strncmp(path, disks[i], size) != 0 || (path[size] != '/' && path[size] != 0))
            continue;
        char flag[PATH], number[16];
        snprintf(flag, sizeof flag, "%s.fails", disks[i]);
        int fd = (int)syscall(SYS_openat, AT_FDCWD, flag, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        long got = syscall(SYS_read, fd, number, sizeof number - 1);
        syscall(SYS_close, fd);
        number[got < 0 ? 0 : got] = 0;
        return atoi(number);
    }
    return 0;
}

static int fault_below(int base, const char *path) {
    char whole[2 * PATH], link[64];
    if (path == NULL || disk_count == 0)
        return 0;
    if (path[0] == '/')
        return fault_at(path);
    if (base == AT_FDCWD)
        return 0; /* brokers name their directories from the root on */
    snprintf(link, sizeof link, "/proc/self/fd/%d", base);
    ssize_t size = readlink(link, whole, PATH - 1);
    if (size < 0)
        return 0;
    snprintf(whole + size, sizeof whole - (size_t)size, "/%s", path);
    return fault_at(whole);
}

static int fault_on(int fd) {
    char path[PATH], link[64];
    if (disk_count == 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, PATH - 1);
    if (size < 0)
        return 0;
    path[size] = 0;
    return path[0] == '/' ? fault_at(path) : 0;
}

#define REAL(type, name, ...)                                                                                \
    static type (*real)(__VA_ARGS__);                                                                        \
    if (real == NULL)                                                                                        \
    real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define FAIL_IF(fault)                                                                                       \
    do {                                                                                                     \
        int number = (fault);                                                                                \
        if (number != 0) {                                                                                   \
            errno = number;                                                                                  \
            return -1;                                                                                       \
        }                                                                                                    \
    } while (0)

/* --- files that come --- */

#define OPEN_AS(function)                                                                                    \
    int function(const char *path, int flags, ...) {                                                         \
        va_list arguments;                                                                                   \
        va_start(arguments, flags);                                                                          \
        mode_t mode = va_arg(arguments, mode_t);                                                             \
        va_end(arguments);                                                                                   \
        REAL(int, #function, const char *, int, ...);                                                        \
        if (flags & O_CREAT)                                                                                 \
            FAIL_IF(fault_below(AT_FDCWD, path));                                                            \
        return real(path, flags, mode);                                                                      \
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
        if (flags & O_CREAT)                                                                                 \
            FAIL_IF(fault_below(base, path));                                                                \
        return real(base, path, flags, mode);                                                                \
    }
OPENAT_AS(openat)
OPENAT_AS(openat64)

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    FAIL_IF(fault_below(AT_FDCWD, path));
    return real(path, mode);
}

int mkdirat(int base, const char *path, mode_t mode) {
    REAL(int, "mkdirat", int, const char *, mode_t);
    FAIL_IF(fault_below(base, path));
    return real(base, path, mode);
}

/* --- what is written --- */

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    FAIL_IF(fault_on(fd));
    return real(fd, data, size);
}

#define PWRITE_AS(function)                                                                                  \
    ssize_t function(int fd, const void *data, size_t size, off_t position) {                                \
        REAL(ssize_t, #function, int, const void *, size_t, off_t);                                          \
        FAIL_IF(fault_on(fd));                                                                               \
        return real(fd, data, size, position);                                                               \
    }
PWRITE_AS(pwrite)
PWRITE_AS(pwrite64)

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    FAIL_IF(fault_on(fd));
    return real(fd, parts, count);
}

#define SYNC_AS(function)                                                                                    \
    int function(int fd) {                                                                                   \
        REAL(int, #function, int);                                                                           \
        FAIL_IF(fault_on(fd));                                                                               \
        return real(fd);                                                                                     \
    }
SYNC_AS(fsync)
SYNC_AS(fdatasync)

#define TRUNCATE_AS(function)                                                                                \
    int function(int fd, off_t size) {                                                                       \
        REAL(int, #function, int, off_t);                                                                    \
        FAIL_IF(fault_on(fd));                                                                               \
        return real(fd, size);                                                                               \
    }
TRUNCATE_AS(ftruncate)
TRUNCATE_AS(ftruncate64)

/* --- names --- */

int rename(const char *old, const char *new) {
    REAL(int, "rename", const char *, const char *);
    FAIL_IF(fault_below(AT_FDCWD, new));
    return real(old, new);
}

int renameat(int old_base, const char *old, int new_base, const char *new) {
    REAL(int, "renameat", int, const char *, int, const char *);
    FAIL_IF(fault_below(new_base, new));
    return real(old_base, old, new_base, new);
}
