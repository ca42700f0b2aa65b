"""The one door from the C core's status codes to exceptions."""

import os

from kstore.errors import CorruptRecordError, InvalidRecordError, NotCachedError, UnsupportedForMessageFormatError

from kstore._native.libkstore cimport KS_ECORRUPT, KS_EMAGIC, KS_ENOTCACHED, KS_ERECORD, KS_ETRUNCATED


cpdef int raise_status(int64_t status, object what=None) except -1:
    if status >= 0:
        return 0
    of = "" if what is None else f" in {what}"
    if status == KS_ETRUNCATED:
        raise CorruptRecordError(f"the bytes end before what they promise{of}")
    if status == KS_ECORRUPT:
        raise CorruptRecordError(f"a batch header that cannot be{of}")
    if status == KS_EMAGIC:
        raise UnsupportedForMessageFormatError(f"message format 0 or 1{of}")
    if status == KS_ERECORD:
        raise InvalidRecordError(f"a malformed record{of}")
    if status == KS_ENOTCACHED:
        raise NotCachedError(f"not in the page cache{of}")
    code = int(-status)
    if what is None:
        raise OSError(code, os.strerror(code))
    raise OSError(code, os.strerror(code), what)
