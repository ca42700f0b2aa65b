"""The one door from the C core's status codes to exceptions."""

def raise_status(status: int, what: object = None) -> int:
    """Returns 0 for a status >= 0, else raises: OSError (with `what` as its file name) for -errno,
    CorruptRecordError, UnsupportedForMessageFormatError, InvalidRecordError or NotCachedError for the core's own
    codes."""
