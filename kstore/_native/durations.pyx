"""How long things took: counts by powers of two of a microsecond.

An observation is made for every request, so it may cost next to nothing. Reading while others observe gives counts that
were true at some moment between.
"""

cimport cython


cdef extern from *:
    int __builtin_clzll(unsigned long long) nogil


@cython.final
cdef class Durations:

    @property
    def seconds(self):
        return self.sum_ns / 1e9

    cpdef void observe(self, long long nanoseconds) noexcept:
        cdef unsigned long long us
        cdef int bucket = 0
        if nanoseconds < 0:
            nanoseconds = 0
        # Rounded up, so that a bucket's bound is in it.
        us = (<unsigned long long>nanoseconds + 999) // 1000
        if us > 1:
            bucket = 64 - __builtin_clzll(us - 1)
        if bucket >= BUCKETS:
            bucket = BUCKETS - 1
        self.count += 1
        self.sum_ns += nanoseconds
        self.buckets[bucket] += 1

    def cumulative(self):
        cdef long long total = 0
        cdef int bucket
        found = []
        for bucket in range(BUCKETS):
            total += self.buckets[bucket]
            bound = float("inf") if bucket == BUCKETS - 1 else (1 << bucket) / 1e6
            found.append((bound, total))
        return found
