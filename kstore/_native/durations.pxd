"""How long things took: counts by powers of two of a microsecond."""

cdef enum:
    BUCKETS = 28


cdef class Durations:
    cdef readonly long long count
    cdef long long sum_ns
    # The last one holds all that took longer.
    cdef long long buckets[BUCKETS]

    cpdef void observe(self, long long nanoseconds) noexcept
