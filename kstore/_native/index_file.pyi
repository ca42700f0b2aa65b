"""The file under an offset or time index: opened when first needed, its last entries in memory, written behind."""

import os

class Index:
    def __init__(self, path: str | os.PathLike[str], base_offset: int, max_bytes: int, writable: bool = True) -> None:
        """With `writable` a missing file is made."""

    @property
    def path(self) -> str: ...
    @property
    def base_offset(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def writable(self) -> bool: ...
    @property
    def entries(self) -> int: ...
    @property
    def max_entries(self) -> int: ...
    @property
    def size_in_bytes(self) -> int: ...
    @property
    def last_offset(self) -> int:
        """Of the last entry; the base offset when there is none."""

    @property
    def is_full(self) -> bool: ...
    def entry(self, n: int) -> tuple[int, int]: ...
    def truncate_to(self, offset: int) -> None:
        """Drops the entries whose offset is >= `offset`, from the file too."""

    def truncate(self) -> None:
        """Drops all entries."""

    def reset(self) -> None:
        """Empties the index without looking at what the file holds, to be built anew; reopens a closed
        one."""

    def resize(self, max_bytes: int) -> None: ...
    def flush(self, sync: bool = True) -> None:
        """Writes what waits; with `sync` also fdatasync. OSError."""

    def release_descriptor(self) -> None:
        """Lets a descriptor go that a look-up far back has needed; what is in memory stays."""

    def release(self) -> None:
        """flush(sync=False), then lets descriptor and memory go until they are needed again."""

    def close(self) -> None: ...
    def rename(self, path: str | os.PathLike[str]) -> None: ...
    def delete(self) -> bool:
        """Closes without writing, removes the file, and tells whether it was there."""
