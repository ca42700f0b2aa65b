from libc.stdint cimport int64_t

cpdef int raise_status(int64_t status, object what=*) except -1
