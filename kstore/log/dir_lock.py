"""The lock on a log directory: one broker, or one library, at a time.

It is an fcntl (POSIX) lock on `.lock`, as Java's FileChannel.tryLock takes it, so Kafka and kstore exclude
each other. Such a lock does not exclude its own process, and closing any descriptor of the file gives it up:
hence the registry.
"""

import fcntl
import os
import threading

from kstore.errors import ConfigError

LOCK_FILE = ".lock"

_held: set[str] = set()
_registry = threading.Lock()


class DirLock:
    __slots__ = ("_descriptor", "path")

    def __init__(self, directory: str) -> None:
        """Raises ConfigError when somebody has it, OSError when the disk fails."""
        self.path = os.path.join(os.path.realpath(directory), LOCK_FILE)
        self._descriptor = -1
        with _registry:
            if self.path in _held:
                raise ConfigError(f"{directory} is used already by this process")
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                os.close(descriptor)
                raise ConfigError(
                    f"failed to acquire the lock {self.path}: another process uses this directory"
                ) from None
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
