"""The lock on a log directory: one broker, or one library, at a time.

It is an fcntl (POSIX) lock on `.lock`, as Java's FileChannel.tryLock takes it, so Kafka and kstore exclude
each other. Such a lock does not exclude its own process, and closing any descriptor of the file gives it up:
hence the registry. It does not pass to a forked child, whose registry begins empty.
"""

import fcntl
import os
import struct
import threading

from kstore.errors import DirectoryInUseError

LOCK_FILE = ".lock"

# struct flock: type, whence, start, len, pid (fcntl(2); 64 bit Linux).
FLOCK = struct.Struct("hhqqi4x")

_held: set[str] = set()
_registry = threading.Lock()


def _forget_all() -> None:
    """In a forked child: the locks are the parent's, and so may be the thread that held the registry."""
    global _registry
    _registry = threading.Lock()
    _held.clear()


os.register_at_fork(after_in_child=_forget_all)


def holder_of(descriptor: int) -> int | None:
    """The process that has the lock on an open file; None where there is none, or it is hidden from us."""
    kind, pid = lock_on(descriptor)
    return pid if kind != fcntl.F_UNLCK and pid > 0 else None


def lock_on(descriptor: int) -> tuple[int, int]:
    """Type and process of the lock that would keep us from locking the file; F_UNLCK where none does. The process is 0
    or -1 where it is hidden from us. Raises OSError."""
    asked = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    return kind, pid


def is_locked(directory: str) -> bool:
    """Whether anybody has the lock of `directory`, this process included. Raises OSError."""
    path = os.path.join(os.path.realpath(directory), LOCK_FILE)
    with _registry:
        if path in _held:
            return True  # opening and closing the file would give the lock up
        try:
            # Whatever somebody has put there instead of a file is not waited for, nor followed.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return lock_on(descriptor)[0] != fcntl.F_UNLCK
        finally:
            os.close(descriptor)


def in_use(path: str, pid: int | None) -> DirectoryInUseError:
    """The error that says who has the lock file `path`."""
    if pid == os.getpid():
        who = "this process uses"
    elif pid is None:
        who = "another process uses"
    else:
        who = f"process {pid}{_name_of(pid)} uses"
    error = DirectoryInUseError(f"failed to acquire the lock {path}: {who} this directory")
    error.pid = pid
    return error


def _name_of(pid: int) -> str:
    """` (command)`, as ps shows it, where it can be known."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return f" ({file.read().strip()})"
    except OSError:
        return ""


class DirLock:
    __slots__ = ("_descriptor", "path")

    def __init__(self, directory: str) -> None:
        """Raises DirectoryInUseError when somebody has it, OSError when the disk fails."""
        self.path = os.path.join(os.path.realpath(directory), LOCK_FILE)
        self._descriptor = -1
        with _registry:
            if self.path in _held:
                raise in_use(self.path, os.getpid())
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                pid = holder_of(descriptor)
                os.close(descriptor)
                raise in_use(self.path, pid) from None
            except OSError:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
            _held.add(self.path)

    def release(self) -> None:
        with _registry:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
                _held.discard(self.path)
