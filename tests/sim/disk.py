"""The disks of the brokers: directories in memory whose unflushed ends a power loss takes, and that can fail.

What of a segment was not synced may be gone: all of it, a part, none. A file that was replaced without a sync may be
the old one again. A disk that has failed refuses every write and sync with EIO.
"""

import errno
import os
import random
import shutil
from collections.abc import Callable
from typing import Any

from kstore._native.records import FileRecords
from kstore.log.directory import DiskDirectory

EPOCHS = "leader-epoch-checkpoint"


class Disks:
    """All disks of a simulation; `root` holds a directory for each broker."""

    def __init__(self, root: str) -> None:
        self.root = root
        # Path -> bytes that are on the disk whatever happens.
        self.synced: dict[str, int] = {}
        # Path -> what the file said before it was replaced without a sync.
        self.replaced: dict[str, bytes | None] = {}
        self.failed: set[str] = set()

    def directory_of(self, name: str, number: int = 0) -> str:
        return os.path.join(self.root, name, f"d{number}")

    def check(self, path: str) -> None:
        """Raises OSError where the disk has failed."""
        for failed in self.failed:
            if path.startswith(failed):
                raise OSError(errno.EIO, "injected: the disk has failed", path)

    def lose_power(self, name: str, choose: random.Random) -> int:
        """What was not synced of a broker's logs is lost, or not. How many bytes went."""
        lost = 0
        # How much of all: a whole second of writes at once, or only what was last.
        share = choose.choice((0.0, 0.0, 1.0, choose.random()))
        for directory, _, files in sorted(os.walk(os.path.join(self.root, name))):
            for file in sorted(files):
                path = os.path.join(directory, file)
                if file.endswith(".log"):
                    size = os.stat(path).st_size
                    synced = min(self.synced.get(path, 0), size)
                    kept = synced + round((size - synced) * share)
                    if kept < size and choose.random() < 0.9:
                        os.truncate(path, kept)
                        lost += size - kept
                elif path in self.replaced and choose.random() < 0.5:
                    old = self.replaced[path]
                    if old is not None:
                        with open(path, "wb") as found:
                            found.write(old)
        self.forget(name)
        return lost

    def forget(self, name: str) -> None:
        """After a start of the machine all that is there is on the disk."""
        prefix = os.path.join(self.root, name) + os.sep
        for path in [path for path in self.replaced if path.startswith(prefix)]:
            del self.replaced[path]
        for path in [path for path in self.synced if path.startswith(prefix)]:
            if os.path.exists(path):
                self.synced[path] = os.stat(path).st_size
            else:
                del self.synced[path]

    def wipe(self, name: str) -> None:
        shutil.rmtree(os.path.join(self.root, name), ignore_errors=True)


# Set while a simulation runs.
disks: Disks | None = None


class SimRecords(FileRecords):
    """A segment's file that knows what of it is synced."""

    def append(self, buffer: Any, position: int = 0, size: int = -1) -> int:
        if disks is not None and disks.failed:
            disks.check(str(self.path))
        return super().append(buffer, position, size)

    def truncate_to(self, size: int) -> int:
        assert disks is not None
        path = str(self.path)
        disks.check(path)
        cut = super().truncate_to(size)
        if path in disks.synced:
            disks.synced[path] = min(disks.synced[path], size)
        return cut

    def flush(self) -> None:
        assert disks is not None
        path = str(self.path)
        disks.check(path)
        # What is appended while a sync goes on is none of its business; here nothing can be.
        disks.synced[path] = self.size_in_bytes


def patched_methods() -> dict[str, Callable[..., Any]]:
    """Methods of DiskDirectory as a simulation has them."""
    replace_file, rename, create = DiskDirectory.replace_file, DiskDirectory.rename, DiskDirectory.create

    def sim_replace_file(self: DiskDirectory, name: str, content: bytes, *, sync: bool = True) -> None:
        assert disks is not None
        path = os.path.join(self.path, name)
        disks.check(path)
        if name == EPOCHS:
            if sync:
                disks.replaced.pop(path, None)
            elif path not in disks.replaced:
                disks.replaced[path] = self.read_file(name)
        # Nothing is synced in truth: the model says what is.
        replace_file(self, name, content, sync=False)

    def sim_rename(self: DiskDirectory, name: str, new_name: str) -> bool:
        assert disks is not None
        disks.check(self.path)
        found = rename(self, name, new_name)
        old = os.path.join(self.path, name)
        if old in disks.synced:
            disks.synced[os.path.join(self.path, new_name)] = disks.synced.pop(old)
        return found

    def sim_create(self: DiskDirectory) -> bool:
        assert disks is not None
        disks.check(self.path)
        return create(self)

    def no_sync(self: DiskDirectory, *_: Any) -> None:
        assert disks is not None
        disks.check(self.path)

    def sim_sync_file(self: DiskDirectory, name: str) -> None:
        assert disks is not None
        disks.check(self.path)
        disks.replaced.pop(os.path.join(self.path, name), None)

    return {
        "replace_file": sim_replace_file,
        "rename": sim_rename,
        "create": sim_create,
        "sync": no_sync,
        "sync_parent": no_sync,
        "sync_file": sim_sync_file,
    }
