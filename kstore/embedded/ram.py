"""Directories that live in memory: on the system's memory file system, each removed with the log, store or broker that
it was made for.

They are files like any others, so sendfile and all that is fast stays so. What a killed process has left is removed by
the next one that makes such a directory.
"""

import os
import shutil
import tempfile
import weakref
from contextlib import suppress

from kstore.log.dir_lock import is_locked

SHARED_MEMORY = "/dev/shm"
PREFIX = "kstore-memory"

# A container's may be 64 MB: then the disk, through the page cache, is the better memory.
LEAST_ROOM = 256 * 1024 * 1024


def memory_directory() -> str:
    """A new, empty directory. Raises OSError."""
    parent = _parent()
    _sweep(parent)
    return tempfile.mkdtemp(prefix=f"{PREFIX}-{os.getuid()}-{os.getpid()}-", dir=parent)


def discard(directory: str) -> None:
    """Removes a directory that nothing came of."""
    shutil.rmtree(directory, ignore_errors=True)


def remove_with(owner: object, directory: str) -> "weakref.finalize[..., object]":
    """Removes `directory` when what is returned is called, when `owner` is forgotten, or when the process ends."""
    return weakref.finalize(owner, _remove, directory, os.getpid())


def _remove(directory: str, pid: int) -> None:
    if os.getpid() == pid:  # a forked child's end is not its parent's
        shutil.rmtree(directory, ignore_errors=True)


def _parent() -> str:
    with suppress(OSError):
        room = os.statvfs(SHARED_MEMORY)
        if os.access(SHARED_MEMORY, os.W_OK) and room.f_bavail * room.f_frsize >= LEAST_ROOM:
            return SHARED_MEMORY
    return tempfile.gettempdir()


def _sweep(parent: str) -> None:
    """Removes what processes left that were killed: they are not there, and nobody has the directory's lock.

    Either alone would not be enough: a directory is made before it is locked, and processes of other containers may
    share the memory and not be seen. Anybody may put things of any name there: what is not ours is left alone, and what
    cannot be looked at keeps no log from being opened.
    """
    mine = f"{PREFIX}-{os.getuid()}-"
    with os.scandir(parent) as entries:
        left = [entry for entry in entries if entry.name.startswith(mine)]
    for entry in left:
        with suppress(OSError, ValueError, OverflowError):
            if entry.stat(follow_symlinks=False).st_uid != os.getuid():
                continue
            pid = entry.name.removeprefix(mine).partition("-")[0]
            if pid.isdecimal() and not _is_running(int(pid)) and not is_locked(entry.path):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
