"""Request headers, Produce and Fetch, decoded and encoded by hand: what every produce and fetch needs.

Held equal to the tables of `kstore.protocol` by tests, in all versions; the same refusals, the same bytes.
Positions are counted from the beginning of the buffer that was given, so records stay where they are. Leader
hints (KIP-951) and other fields that a version lacks are left out of its answers.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from typing_extensions import Buffer

class SizedRecords(Protocol):
    """Records that are sent from where they lie, such as a slice of a file."""

    @property
    def size(self) -> int: ...

class RequestHeader:
    @property
    def api_key(self) -> int: ...
    @property
    def api_version(self) -> int: ...
    @property
    def correlation_id(self) -> int: ...
    @property
    def client_id(self) -> str | None: ...
    @property
    def body_position(self) -> int:
        """Where the request itself begins."""

class ProducePayload:
    @property
    def transactional_id(self) -> str | None: ...
    @property
    def acks(self) -> int: ...
    @property
    def timeout_ms(self) -> int: ...
    @property
    def topics(self) -> list[tuple[str, list[tuple[int, int, int]]]]:
        """(topic, [(partition, records_position, records_size)]); the size is -1 for null records."""

class FetchPayload:
    @property
    def cluster_id(self) -> str | None: ...
    @property
    def replica_id(self) -> int: ...
    @property
    def replica_epoch(self) -> int: ...
    @property
    def max_wait_ms(self) -> int: ...
    @property
    def min_bytes(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def isolation_level(self) -> int: ...
    @property
    def session_id(self) -> int: ...
    @property
    def session_epoch(self) -> int: ...
    @property
    def topics(self) -> list[tuple[str | None, bytes | None, list[tuple[int, int, int, int, int, int]]]]:
        """(topic or None, topic_id or None, [(partition, current_leader_epoch, fetch_offset,
        last_fetched_epoch, log_start_offset, partition_max_bytes)]); ids from version 13 on, names before."""

    @property
    def forgotten(self) -> list[tuple[str | None, bytes | None, list[int]]]: ...
    @property
    def rack_id(self) -> str: ...

ProduceResult: TypeAlias = tuple[
    int, int, int, int, int, Sequence[tuple[int, str | None]] | None, str | None, tuple[int, int] | None
]
FetchResult: TypeAlias = tuple[
    int,
    int,
    int,
    int,
    int,
    Sequence[tuple[int, int]] | None,
    int,
    SizedRecords | Buffer | None,
    tuple[int, int] | None,
    tuple[int, int] | None,
    tuple[int, int] | None,
]
NodeEndpoint: TypeAlias = tuple[int, str, int, str | None]

def set_flexible_versions(versions: dict[int, int]) -> None:
    """Tells from which version on each API's requests are flexible; `api_keys` does it on import."""

def decode_request_header(buffer: Buffer, position: int, limit: int) -> RequestHeader:
    """The header of the request in [position, limit). Raises InvalidRequestError, also for an unknown key."""

def decode_produce(buffer: Buffer, position: int, limit: int, version: int) -> ProducePayload:
    """Raises InvalidRequestError, and UnsupportedVersionError below 3 and above 11."""

def encode_produce_response(
    correlation_id: int,
    version: int,
    topics: Sequence[tuple[str, Sequence[ProduceResult]]],
    throttle_time_ms: int = 0,
    node_endpoints: Sequence[NodeEndpoint] = (),
) -> bytes:
    """A whole frame. A result is (partition, error_code, base_offset, log_append_time_ms, log_start_offset,
    record_errors, error_message, (leader_id, leader_epoch) or None), an endpoint (node_id, host, port, rack).
    """

def decode_fetch(buffer: Buffer, position: int, limit: int, version: int) -> FetchPayload:
    """Raises InvalidRequestError, and UnsupportedVersionError below 4 and above 17."""

def encode_fetch_response(
    correlation_id: int,
    version: int,
    throttle_time_ms: int,
    error_code: int,
    session_id: int,
    topics: Sequence[tuple[str | None, bytes | None, Sequence[FetchResult]]],
    node_endpoints: Sequence[NodeEndpoint] = (),
) -> list[Any]:
    """A whole frame in parts: bytes, and between them the records that are sent from where they lie.

    A result is (partition, error_code, high_watermark, last_stable_offset, log_start_offset, aborted or None,
    preferred_read_replica, records, (diverging epoch, end offset) or None, (leader_id, leader_epoch) or None,
    (snapshot's end offset, epoch) or None); aborted is [(producer_id, first_offset)].
    """
