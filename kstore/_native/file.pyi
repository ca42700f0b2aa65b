"""Descriptors that live as long as somebody uses them, and what belongs to files of all kinds.

Files are opened close-on-exec, and symbolic links are refused.
"""

import os
from typing import final

@final
class FileHandle:
    """A descriptor that is closed when nobody holds it any longer."""

    @property
    def fd(self) -> int: ...

def modified_ns(path: str | os.PathLike[str]) -> int:
    """When the file was written to last, from memory: NotCachedError where the disk would have to be asked."""

def fsync_dir(path: str | os.PathLike[str]) -> None:
    """Makes the entries of a directory durable: files created, renamed or removed in it."""
