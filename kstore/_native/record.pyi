"""Records (message format v2) as objects, and the walk that makes them (DefaultRecord.java).

The walk is that of RecordBatch.records(): over the batch itself, or over pieces of what its codec gives, which are
joined only where a record is split.
"""

from collections.abc import Sequence
from typing import Final, final

ABORT_MARKER: Final = 0
COMMIT_MARKER: Final = 1

@final
class Record:
    """One record. Headers are (key, value) pairs; null keys and values are None."""

    def __init__(
        self,
        offset: int,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> None: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def timestamp_ms(self) -> int:
        """The same, under the name that it has where records are appended by hand."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...

def parse_control_record(record: Record) -> tuple[int, int]:
    """(type, coordinator epoch or -1) of a record of a control batch (ControlRecordType.java)."""
