"""The table-driven message codec: a Program per struct and version, run over the bytes in both directions.

`kstore.protocol.schema` turns a table into Layouts and Programs; nobody else needs this module. What is
always true: no count or size is believed before the bytes that it promises are there; nothing recurses deeper
than the schema does; what a request may make in memory is bounded (four times its size and 32 MiB, see
buffer.pxd: without that bound it would be up to 36 times); a refusal names message, version and field.
"""

from typing import Any

from typing_extensions import Buffer

KINDS: dict[str, int]

class Struct:
    """The root of messages and their parts: one slot a field, defaults filled in, compared by value."""

    unknown_tags: list[tuple[int, bytes]] | None
    def __init__(self, **fields: Any) -> None: ...

class Layout:
    """Where a class keeps its fields, and what they hold by default (`list` and a class: a new one each)."""

    def __init__(self, cls: type[Struct], names: tuple[str, ...], defaults: tuple[Any, ...]) -> None: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def defaults(self) -> tuple[Any, ...]: ...

class Program:
    """One version of a struct, which lies at `path` of its message.

    `fields` follow the layout: (present, kind, element kind, nullable, tag or -1, ignorable, path, program of the
    struct or None).
    """

    def __init__(
        self,
        layout: Layout,
        message: str,
        version: int,
        flexible: bool,
        path: str,
        fields: list[tuple[bool, int, int, bool, int, bool, str, Program | None]],
    ) -> None: ...
    @property
    def min_size(self) -> int: ...

def decode(program: Program, buffer: Buffer, position: int, limit: int, trusted: bool = False) -> Any:
    """The struct in [position, limit) of `buffer`. Raises InvalidRequestError.

    `trusted`, for what a broker or our own disk says, lifts the bound on memory and refuses bytes left over; those
    of a client's request are not looked at, as in Kafka.
    """

def encode(program: Program, message: Struct, header: bytes | None = None) -> bytes:
    """The bytes of `message`; with a `header`, a whole frame: length, header, message.

    Raises UnsupportedVersionError for a value that this version can neither carry nor drop.
    """
