"""Java's String.hashCode, by which Kafka spreads names over partitions.

A name may have 32,767 characters and every request about a group brings one, so it is hashed in C.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t


def java_hash(str text not None):
    # Java counts UTF-16 units; a lone surrogate is one, too.
    cdef bytes units = text.encode("utf-16-be", "surrogatepass")
    cdef const uint8_t *p = units
    cdef Py_ssize_t i
    cdef uint32_t code = 0
    for i in range(0, len(units), 2):
        code = 31 * code + (<uint32_t> p[i] << 8 | p[i + 1])
    return <int32_t> code
