"""Who uses a log directory: a broker of kstore or Kafka holds an fcntl lock on its `.lock` (dir_lock.py).

The lock is only asked about, never taken: a broker that starts meanwhile is not in our way, nor we in its.
"""

import fcntl
import os

from kstore.log.dir_lock import LOCK_FILE, lock_on


def process_using(log_dir: str) -> int | None:
    """The process that holds the lock, 0 where it is in another pid namespace, None where nobody holds it."""
    try:
        # For reading: a lock that is only asked about needs no more.
        descriptor = os.open(os.path.join(log_dir, LOCK_FILE), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        kind, pid = lock_on(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else max(pid, 0)
