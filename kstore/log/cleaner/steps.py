"""What a slice of a cleaning ends with, and how a cleaning fails."""

SLICE = "slice"  # there is more to do
SWAP = "swap"  # a new segment is to take the place of others
RENAME = "rename"  # its files are to get their own names
WAIT = "wait"  # no file could be opened just now


class OvertakenError(Exception):
    """The log was cut meanwhile."""


class SyncFailedError(OSError):
    """An fsync failed: what it was to write may be gone, whatever a second one says."""
