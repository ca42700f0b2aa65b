"""The file under both indexes: what of it is in memory, searching, cutting. See index_file.pyi for what callers read.

    file    | block 0 | block 1 | ... | block k | entries not yet written
    memory  | fence 0 | fence 1 | ... | the tail ........................|

The last entries lie in memory; they are where almost all look-ups end. Of the blocks before them, one key
each (the fence) tells which block to read, so a look-up far back costs one small read whatever the size of
the index, and a full index costs a few KB of memory. Fences are read when first needed: sealed segments that
nobody asks cost nothing.

The file is open only while it is loaded or written to, and after a look-up far back until `release_descriptor`: a
thousand partitions hold no descriptors for their indexes.

A read that must not wait for the disk (`wait` false) raises NotCachedError and leaves all as it was, so that it can be
tried again.
"""

import os

from libc.stdint cimport INT32_MAX, int64_t, uint8_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove

from kstore.errors import CorruptIndexError, NotCachedError

from kstore._native.libkstore cimport (
    KS_OFFSET_KEY,
    ks_file_append,
    ks_file_read,
    ks_file_sync,
    ks_file_truncate,
    ks_index_field,
    ks_index_upper_bound,
    ks_index_value,
)
from kstore._native.file cimport FileHandle, open_handle
from kstore._native.status cimport raise_status

cdef enum:
    BLOCK = 512  # entries between two fences: one read of 4 or 6 KB
    BLOCK_BYTES = 512 * 12
    TAIL_BLOCKS = 4  # blocks that stay in memory when the tail is cut
    WRITE_BEHIND = 4096  # bytes that wait for a write at most

cdef int READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
cdef int WRITE_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_CREAT


cdef class Index:
    """What both indexes share: the file, the tail in memory, the search."""

    def __init__(self, path, int64_t base_offset, int64_t max_bytes, bint writable=True):
        if self.path is not None:
            raise TypeError("an index is opened once")
        self.path = os.fspath(path)
        self.base_offset = base_offset
        self.max_bytes = max_bytes
        self.writable = writable
        if writable and not os.path.lexists(self.path):
            # Kafka rebuilds all indexes of a segment when one of the files is missing.
            open_handle(self.path, WRITE_FLAGS)
            self._loaded = True
            self.after_change()

    def __dealloc__(self):
        free(self._tail)
        free(self._fences)

    cdef ks_index_field key_field(self):
        return KS_OFFSET_KEY

    cdef ks_index_field offset_field(self):
        return KS_OFFSET_KEY

    cdef int after_change(self) except -1:
        """The last entry is another one now."""
        return 0

    cdef FileHandle opened(self, bint wait=True):
        if self._handle is None:
            if self._closed or self.path is None:
                raise ValueError(f"{self.path} is closed")
            flags = WRITE_FLAGS if self.writable else READ_FLAGS
            # Making a file may always have to wait.
            self._handle = open_handle(self.path, flags if wait else flags & ~os.O_CREAT, wait)
        return self._handle

    # Loading

    cdef int load(self, bint wait=True) except -1:
        cdef size_t entries
        if self._loaded:
            return 0
        self._file_size = os.fstat(self.opened(wait).fd).st_size
        entries = self.without_trailing_zeros(<size_t> (self._file_size // <int64_t> self._entry_size), wait)
        self.load_tail(entries, wait)
        self._written = entries
        self._loaded = True
        self._handle = None
        self.after_change()
        return 0

    cdef int read_entries(self, size_t first, size_t count, uint8_t *into, bint wait) except -1:
        cdef FileHandle handle = self.opened(wait)
        cdef size_t size = count * self._entry_size
        cdef int64_t n
        cdef int64_t position = <int64_t> (first * self._entry_size)
        with nogil:
            n = ks_file_read(handle.fd, into, size, position, wait)
        raise_status(n, self.path)
        if n < <int64_t> size:
            raise CorruptIndexError(f"{self.path} ends at {position + n}, before its entry {first + count}")
        return 0

    cdef int load_tail(self, size_t entries, bint wait) except -1:
        cdef uint8_t block[BLOCK_BYTES]
        cdef size_t first = 0
        if entries > BLOCK:
            first = (entries - 1) // BLOCK * BLOCK
        # Not straight into the tail, which another thread could free while the GIL is away.
        self.read_entries(first, entries - first, block, wait)
        self.reserve(entries - first)
        if entries > 0:
            memcpy(self._tail, block, (entries - first) * self._entry_size)
        self._tail_first = first
        self._tail_count = entries - first
        return 0

    cdef bint is_zero(self, size_t n, bint wait) except -1:
        cdef uint8_t entry[12]
        cdef size_t i
        self.read_entries(n, 1, entry, wait)
        for i in range(self._entry_size):
            if entry[i] != 0:
                return False
        return True

    cdef size_t without_trailing_zeros(self, size_t entries, bint wait) except? 0:
        """How many entries are real. Kafka preallocates the file; a crash leaves the zeros. Entries rise, so
        only the first of the real ones can be zero, and the border is found by bisection."""
        cdef size_t low = 0, high = entries, middle
        if entries == 0 or not self.is_zero(entries - 1, wait):
            return entries
        while low < high:
            middle = low + (high - low) // 2
            if middle > 0 and self.is_zero(middle, wait):
                high = middle
            else:
                low = middle + 1
        if low == 1 and self.is_zero(0, wait):
            return 0
        return low

    # Fences

    cdef int add_fence(self, int64_t key) except -1:
        cdef size_t capacity
        cdef void *grown
        if self._fence_count == self._fence_capacity:
            capacity = max(<size_t> 16, 2 * self._fence_capacity)
            grown = realloc(self._fences, capacity * sizeof(int64_t))
            if grown == NULL:
                raise MemoryError
            self._fences = <int64_t *> grown
            self._fence_capacity = capacity
        self._fences[self._fence_count] = key
        self._fence_count += 1
        return 0

    cdef int build_fences(self, bint wait) except -1:
        """Reads the first key of every block before the tail that has no fence yet."""
        cdef uint8_t entry[12]
        cdef int64_t key
        cdef size_t n
        while self._fence_count * BLOCK < self._tail_first:
            n = self._fence_count
            self.read_entries(n * BLOCK, 1, entry, wait)
            if n != self._fence_count:
                continue  # another thread has been here while the GIL was away
            key = ks_index_value(entry, 0, self.key_field())
            if n > 0 and key <= self._fences[n - 1]:
                raise CorruptIndexError(f"{self.path} does not rise at entry {n * BLOCK}")
            self.add_fence(key)
        return 0

    # Appending

    cdef int reserve(self, size_t count) except -1:
        cdef size_t capacity
        cdef void *grown
        if count > self._tail_capacity:
            capacity = max(count, <size_t> 64, 2 * self._tail_capacity)
            grown = realloc(self._tail, capacity * self._entry_size)
            if grown == NULL:
                raise MemoryError
            self._tail = <uint8_t *> grown
            self._tail_capacity = capacity
        return 0

    cdef uint8_t *next_entry(self) except NULL:
        """Where the next entry goes; the caller writes it and counts it."""
        cdef size_t pending
        if self._tail_count == self._tail_capacity:
            self.make_room()
        pending = (self._tail_first + self._tail_count - self._written) * self._entry_size
        if pending >= WRITE_BEHIND and pending % WRITE_BEHIND < self._entry_size:
            # An append never fails for the sake of an index: what cannot be written waits, and flush() tells.
            try:
                self.write_pending()
            except OSError:
                pass
        return self._tail + self._tail_count * self._entry_size

    cdef int make_room(self) except -1:
        cdef size_t blocks, cut, first
        if self._tail_count >= (TAIL_BLOCKS + 2) * BLOCK:
            blocks = self._tail_count // BLOCK - TAIL_BLOCKS
            cut = blocks * BLOCK
            if self._tail_first + cut <= self._written:
                try:
                    self.build_fences(False)
                except (NotCachedError, OSError, CorruptIndexError):
                    # An append neither waits nor fails for what only searches need: the tail grows instead.
                    return self.reserve(self._tail_count + 1)
                while self._fence_count * BLOCK < self._tail_first + cut:
                    first = self._fence_count * BLOCK - self._tail_first
                    self.add_fence(ks_index_value(self._tail, first, self.key_field()))
                self._tail_count -= cut
                self._tail_first += cut
                memmove(self._tail, self._tail + cut * self._entry_size, self._tail_count * self._entry_size)
                return 0
        return self.reserve(self._tail_count + 1)

    cdef int write_pending(self) except -1:
        cdef FileHandle handle
        cdef size_t entries = self._tail_first + self._tail_count
        cdef size_t size = (entries - self._written) * self._entry_size
        cdef int64_t position = <int64_t> (self._written * self._entry_size)
        cdef int64_t end = <int64_t> (entries * self._entry_size)
        cdef int64_t status
        if size == 0 and self._file_size <= end:
            return 0
        handle = self.opened()
        if size > 0:
            status = ks_file_append(
                handle.fd, self._tail + (self._written - self._tail_first) * self._entry_size, size, position
            )
            if status < 0:
                self._file_size = position
                raise_status(status, self.path)
            self._written = entries
            self._file_size = max(self._file_size, end)
        if self._file_size > end:  # the zeros of a preallocated file, or entries that were cut
            raise_status(ks_file_truncate(handle.fd, end), self.path)
            self._file_size = end
        self._handle = None
        return 0

    # Searching

    cdef size_t upper_bound(self, ks_index_field field, int64_t target, uint8_t *floor, bint wait) except? 0:
        """How many entries have a value <= target; the last of them is copied to `floor` when there is
        one."""
        cdef uint8_t block[BLOCK_BYTES]
        cdef size_t low, high, middle, n
        if self._tail_first == 0 or ks_index_value(self._tail, 0, field) <= target:
            n = ks_index_upper_bound(self._tail, self._tail_count, field, target)
            if n > 0:
                memcpy(floor, self._tail + (n - 1) * self._entry_size, self._entry_size)
            return self._tail_first + n
        low, high = 0, self._tail_first // BLOCK
        if field.at == self.key_field().at:
            self.build_fences(wait)
            while low < high:
                middle = low + (high - low) // 2
                if self._fences[middle] <= target:
                    low = middle + 1
                else:
                    high = middle
        else:
            while low < high:
                middle = low + (high - low) // 2
                self.read_entries(middle * BLOCK, 1, block, wait)
                if ks_index_value(block, 0, field) <= target:
                    low = middle + 1
                else:
                    high = middle
        if low == 0:
            return 0
        self.read_entries((low - 1) * BLOCK, BLOCK, block, wait)
        n = ks_index_upper_bound(block, BLOCK, field, target)
        if n > 0:
            memcpy(floor, block + (n - 1) * self._entry_size, self._entry_size)
        return (low - 1) * BLOCK + n

    cdef int copy_entry(self, size_t n, uint8_t *into, bint wait) except -1:
        if n >= self._tail_first:
            memcpy(into, self._tail + (n - self._tail_first) * self._entry_size, self._entry_size)
            return 0
        return self.read_entries(n, 1, into, wait)

    cdef int64_t relative(self, int64_t offset) except -1:
        if not 0 <= offset - self.base_offset <= INT32_MAX:
            raise ValueError(f"offset {offset} does not fit {self.path} with base offset {self.base_offset}")
        return offset - self.base_offset

    # Cutting

    cdef int truncate_to_entries(self, size_t entries) except -1:
        if not self.writable:
            raise ValueError(f"{self.path} is read-only")
        if entries >= self._tail_first + self._tail_count:
            return 0
        if entries < self._tail_first or (entries == self._tail_first and entries > 0):
            self.load_tail(entries, True)
            if self._fence_count * BLOCK > self._tail_first:
                self._fence_count = self._tail_first // BLOCK
        else:
            self._tail_count = entries - self._tail_first
        if self._written > entries:
            self._written = entries
        # In the file at once: entries that point behind the end of the log must not come back after a crash.
        self.write_pending()
        self.after_change()
        return 0

    def truncate_to(self, int64_t offset):
        cdef uint8_t floor[12]
        cdef size_t n
        self.load()
        n = self.upper_bound(self.offset_field(), offset - self.base_offset, floor, True)
        if n > 0 and ks_index_value(floor, 0, self.offset_field()) == offset - self.base_offset:
            n -= 1
        self.truncate_to_entries(n)

    def truncate(self):
        self.load()
        self.truncate_to_entries(0)

    def reset(self):
        """Empties the index whatever the file holds, to be built anew."""
        if not self.writable:
            raise ValueError(f"{self.path} is read-only")
        if self._handle is None:
            self._handle = open_handle(self.path, WRITE_FLAGS)
        raise_status(ks_file_truncate(self._handle.fd, 0), self.path)
        self._file_size = 0
        self._written = self._tail_first = self._tail_count = self._fence_count = 0
        self._loaded = True
        self._closed = False
        self._handle = None
        self.after_change()

    # The file

    cdef bint has_room(self, size_t more):
        """Whether `more` entries fit."""
        return <int64_t> ((self._tail_first + self._tail_count + more) * self._entry_size) <= self.max_bytes

    cdef int check_size(self) except -1:
        if self._file_size % <int64_t> self._entry_size != 0:
            raise CorruptIndexError(
                f"{self.path} has {self._file_size} bytes, no multiple of {self._entry_size}"
            )
        return 0

    @property
    def entries(self):
        self.load()
        return self._tail_first + self._tail_count

    @property
    def max_entries(self):
        return self.max_bytes // <int64_t> self._entry_size

    @property
    def size_in_bytes(self):
        self.load()
        return (self._tail_first + self._tail_count) * self._entry_size

    def resize(self, int64_t max_bytes):
        self.max_bytes = max_bytes

    def flush(self, bint sync=True):
        cdef FileHandle handle
        cdef int64_t status
        if not self.writable or not self._loaded:
            return
        self.write_pending()
        if sync:
            handle = self.opened()
            with nogil:
                status = ks_file_sync(handle.fd)
            raise_status(status, self.path)
            self._handle = None

    def release_descriptor(self):
        self._handle = None

    def release(self):
        """Writes what waits, and lets descriptor and memory go until they are needed again."""
        if self._loaded and self.writable and not self._closed:
            self.write_pending()
        self.forget()

    cdef void forget(self):
        free(self._tail)
        free(self._fences)
        self._tail = NULL
        self._fences = NULL
        self._tail_first = self._tail_count = self._tail_capacity = 0
        self._fence_count = self._fence_capacity = 0
        self._loaded = False
        self._handle = None

    def close(self):
        if not self._closed:
            self.release()
            self._closed = True

    def rename(self, path):
        path = os.fspath(path)
        os.rename(self.path, path)
        self.path = path

    def delete(self):
        self.forget()
        self._closed = True
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return False
        return True

    def __repr__(self):
        return f"{type(self).__name__}({self.path!r}, base_offset={self.base_offset})"
