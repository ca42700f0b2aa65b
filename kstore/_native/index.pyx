"""Offset and time indexes of a segment. See index.pyi for what callers read."""

cimport cython
from libc.stdint cimport INT32_MAX, int64_t, uint8_t

from kstore.errors import CorruptIndexError

from kstore._native.libkstore cimport (
    KS_OFFSET_ENTRY,
    KS_OFFSET_KEY,
    KS_OFFSET_POSITION,
    KS_TIME_ENTRY,
    KS_TIME_KEY,
    KS_TIME_OFFSET,
    ks_index_field,
    ks_index_value,
    ks_load32,
    ks_load64,
    ks_store32,
    ks_store64,
)
from kstore._native.index_file cimport Index


@cython.final
cdef class OffsetIndex(Index):
    def __cinit__(self):
        self._entry_size = KS_OFFSET_ENTRY

    cdef int after_change(self) except -1:
        cdef uint8_t entry[12]
        self._last_offset = self.base_offset
        if self._tail_count > 0:
            self.copy_entry(self._tail_first + self._tail_count - 1, entry, True)
            self._last_offset = self.base_offset + ks_index_value(entry, 0, KS_OFFSET_KEY)
        return 0

    @property
    def last_offset(self):
        self.load()
        return self._last_offset

    @property
    def is_full(self):
        self.load()
        return not self.has_room(1)

    cpdef int append(self, int64_t offset, int64_t position) except -1:
        cdef uint8_t *p
        self.load()
        if not self.writable or not 0 <= position <= INT32_MAX:
            raise ValueError(f"position {position} cannot be appended to {self.path}")
        if not self.has_room(1):
            raise ValueError(f"{self.path} is full with {self.entries} entries")
        if self._tail_count > 0 and offset <= self._last_offset:
            raise ValueError(f"offset {offset} is not above {self._last_offset}, the last one of {self.path}")
        relative = self.relative(offset)
        p = self.next_entry()
        ks_store32(p, <int> relative)
        ks_store32(p + 4, <int> position)
        self._tail_count += 1
        self._last_offset = offset
        return 0

    cdef tuple pair(self, const uint8_t *entry):
        offset = self.base_offset + ks_load32(entry)
        return offset, ks_load32(entry + 4)

    cpdef tuple lookup(self, int64_t target, bint wait=True):
        cdef uint8_t floor[12]
        self.load(wait)
        if self.upper_bound(KS_OFFSET_KEY, target - self.base_offset, floor, wait) == 0:
            return self.base_offset, 0
        return self.pair(floor)

    def entry(self, size_t n):
        cdef uint8_t entry[12]
        if n >= self.entries:
            raise IndexError(f"{self.path} has {self.entries} entries, no entry {n}")
        self.copy_entry(n, entry, True)
        return self.pair(entry)

    def fetch_upper_bound(self, int64_t position, int64_t fetch_size, *, bint wait=True):
        cdef uint8_t entry[12]
        cdef size_t n
        self.load(wait)
        # The smallest entry at or behind the end of the fetch: the one after those that lie before it.
        n = self.upper_bound(KS_OFFSET_POSITION, position + fetch_size - 1, entry, wait)
        if n >= self._tail_first + self._tail_count:
            return None
        self.copy_entry(n, entry, wait)
        return self.pair(entry)

    def sanity_check(self, log_size=None, *, bint wait=True):
        self.load(wait)
        self.check_size()
        if self._tail_count == 0:
            return
        if self._last_offset < self.base_offset:
            raise CorruptIndexError(f"{self.path} ends with {self._last_offset}, below its base offset")
        _, position = self.entry(self._tail_first + self._tail_count - 1)
        if position < 0 or (log_size is not None and position >= log_size):
            raise CorruptIndexError(f"{self.path} points at position {position} of a log of {log_size} bytes")


@cython.final
cdef class TimeIndex(Index):
    def __cinit__(self):
        self._entry_size = KS_TIME_ENTRY

    cdef ks_index_field key_field(self):
        return KS_TIME_KEY

    cdef ks_index_field offset_field(self):
        return KS_TIME_OFFSET

    cdef int after_change(self) except -1:
        cdef uint8_t entry[12]
        self._last_timestamp = -1
        self._last_offset = self.base_offset
        if self._tail_count > 0:
            self.copy_entry(self._tail_first + self._tail_count - 1, entry, True)
            self._last_timestamp = ks_index_value(entry, 0, KS_TIME_KEY)
            self._last_offset = self.base_offset + ks_index_value(entry, 0, KS_TIME_OFFSET)
        return 0

    @property
    def last_entry(self):
        self.load()
        return self._last_timestamp, self._last_offset

    @property
    def last_offset(self):
        self.load()
        return self._last_offset

    @property
    def is_full(self):
        # One slot stays free for the entry that is written when the segment is rolled (TimeIndex.java).
        self.load()
        return not self.has_room(2)

    cpdef bint maybe_append(self, int64_t timestamp, int64_t offset, bint skip_full_check=False) except -1:
        cdef uint8_t *p
        self.load()
        if not self.writable:
            raise ValueError(f"{self.path} is read-only")
        if not skip_full_check and not self.has_room(2):
            raise ValueError(f"{self.path} is full with {self.entries} entries")
        if self._tail_count > 0:
            if offset < self._last_offset:
                raise ValueError(f"offset {offset} is below {self._last_offset}, the last one of {self.path}")
            if timestamp < self._last_timestamp:
                raise ValueError(
                    f"timestamp {timestamp} is below {self._last_timestamp}, the last one of {self.path}"
                )
        if timestamp <= self._last_timestamp:
            return False
        relative = self.relative(offset)
        p = self.next_entry()
        ks_store64(p, timestamp)
        ks_store32(p + 8, <int> relative)
        self._tail_count += 1
        self._last_timestamp = timestamp
        self._last_offset = offset
        return True

    cdef tuple pair(self, const uint8_t *entry):
        offset = self.base_offset + ks_load32(entry + 8)
        return ks_load64(entry), offset

    cpdef tuple lookup(self, int64_t target, bint wait=True):
        cdef uint8_t floor[12]
        self.load(wait)
        if self.upper_bound(KS_TIME_KEY, target, floor, wait) == 0:
            return -1, self.base_offset
        return self.pair(floor)

    def entry(self, size_t n):
        cdef uint8_t entry[12]
        if n >= self.entries:
            raise IndexError(f"{self.path} has {self.entries} entries, no entry {n}")
        self.copy_entry(n, entry, True)
        return self.pair(entry)

    def sanity_check(self, *, bint wait=True):
        cdef uint8_t first[12]
        self.load(wait)
        self.check_size()
        if self._tail_count == 0:
            return
        self.copy_entry(0, first, wait)
        first_timestamp = ks_load64(first)
        if self._last_timestamp < first_timestamp:
            raise CorruptIndexError(f"{self.path} ends with {self._last_timestamp}, below its first time")
        if self._last_offset < self.base_offset:
            raise CorruptIndexError(f"{self.path} ends with {self._last_offset}, below its base offset")
