"""Memory that is received into again and again. It knows whether somebody still reads what came before."""

from typing import final

@final
class ReceiveBuffer:
    """`size` writable bytes, of which nothing is known before they are written. Fresh memory costs the kernel as much
    as receiving into it: whoever is done with a large answer receives the next into the same."""

    def __init__(self, size: int) -> None:
        """Raises MemoryError."""

    @property
    def size(self) -> int: ...
    @property
    def has_views(self) -> bool:
        """Whether a memoryview of it, or something made from one, lives."""

    def __buffer__(self, flags: int, /) -> memoryview: ...
