"""Builds kstore._native._os_lib: the calls of Linux that Python's os module lacks (cffi, API mode)."""

from cffi import FFI

ffibuilder = FFI()

ffibuilder.cdef("""
    #define FALLOC_FL_KEEP_SIZE ...
    #define FALLOC_FL_PUNCH_HOLE ...
    #define SYNC_FILE_RANGE_WAIT_BEFORE ...
    #define SYNC_FILE_RANGE_WRITE ...
    #define SYNC_FILE_RANGE_WAIT_AFTER ...

    int fallocate(int fd, int mode, int64_t offset, int64_t len);
    int sync_file_range(int fd, int64_t offset, int64_t nbytes, unsigned int flags);
    ssize_t readahead(int fd, int64_t offset, size_t count);
    int64_t kstore_cached_pages(int fd, int64_t offset, size_t size);
""")

ffibuilder.set_source(
    "kstore._native._os_lib",
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <stdint.h>
    #include <stdlib.h>
    #include <sys/mman.h>
    #include <unistd.h>

    /* mincore() wants a mapping; it is made, asked and removed here so that no error path leaks it. */
    static int64_t kstore_cached_pages(int fd, int64_t offset, size_t size)
    {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        size_t pages = (size + page - 1) / page;
        int64_t cached = 0;
        unsigned char *found;
        void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, offset);
        if (map == MAP_FAILED)
            return -1;
        found = malloc(pages);
        if (found == NULL) {
            cached = -1;
        } else if (mincore(map, size, found) != 0) {
            cached = -1;
        } else {
            for (size_t i = 0; i < pages; i++)
                cached += found[i] & 1;
        }
        int saved = errno;
        free(found);
        munmap(map, size);
        errno = saved;
        return cached;
    }
    """,
    define_macros=[("_GNU_SOURCE", "1")],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
