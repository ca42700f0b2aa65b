"""File descriptors: how many there may be, and for what the last ones are kept.

Every partition holds one and every client another. Whatever else opens a file - a new segment, a checkpoint, old
records that are read - must find one at any moment, so new clients and new partitions are refused before none is left.
"""

import contextlib
import os
import resource

PLENTY = 1 << 30
# Of the limit, one in so many is kept back; more than the most is never needed.
KEPT_SHARE = 8
KEPT_MOST = 1024


def limits() -> tuple[int, int]:
    """(how many descriptors there may be, how many of them are kept back)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = PLENTY
    return soft, min(soft // KEPT_SHARE, KEPT_MOST)


def is_kept(descriptor: int, clients: int) -> bool:
    """Whether a descriptor that a client has just got is one of the last: the system gives the lowest that is free.

    Where files alone come near the limit, clients get half of what is left.
    """
    limit, kept = limits()
    if descriptor < limit - kept:
        return False
    files = count_open() - clients
    return descriptor >= limit - min(kept, max(limit - files, 0) // 2)


def room_for_partitions() -> int:
    """How many more partitions may be made; some clients more find a descriptor all the same."""
    limit, kept = limits()
    return max(limit - 2 * kept - count_open(), 0)


def count_open() -> int:
    # Linux 6.2 and later say it at once; a list of thousands takes milliseconds.
    return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))


def raise_descriptor_limit() -> None:
    """As many as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
