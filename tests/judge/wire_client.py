"""A client for tests that sends one request after the other and waits: kafka-python's messages, our socket.

Nothing of kstore is used, so what is read here is what another implementation reads. An answer must end where
its schema ends.
"""

import io
import socket
import struct
from types import TracebackType
from typing import Any, Self

from kafka.record.default_records import DefaultRecordBatchBuilder

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
NO_HEADERS: tuple[tuple[str, bytes | None], ...] = ()


class WireClient:
    """One connection. `ask` gives the answer as a dictionary; ConnectionError where the server closes."""

    def __init__(self, port: int, timeout: float = 30) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._correlation_id = 0

    def ask(self, request: Any, version: int, **options: Any) -> dict[str, Any]:
        """The answer to a request of kafka-python's, in the given version."""
        return as_dictionary(self.ask_message(request, version, **options))

    def ask_message(self, request: Any, version: int, *, response_version: int | None = None) -> Any:
        self.send(request, version)
        return self.receive(response_class(type(request)), version if response_version is None else response_version)

    def send(self, request: Any, version: int) -> None:
        self._correlation_id += 1
        request.API_VERSION = version
        request.with_header(correlation_id=self._correlation_id, client_id="judge")
        self._socket.sendall(request.encode(framed=True, header=True))

    def send_bytes(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self, answer_class: Any, version: int) -> Any:
        data = self.receive_frame()
        header_data = io.BytesIO(data)
        header = answer_class.parse_header(header_data, version=version)
        assert header.correlation_id == self._correlation_id
        flexible = answer_class.flexible_version_q(version)
        decode = answer_class._struct.compiled_decode_from(
            version, compact=flexible, tagged=flexible, data_class=answer_class
        )
        answer, end = decode(memoryview(data), header_data.tell())
        assert end == len(data), f"{len(data) - end} bytes after {answer}"
        return answer

    def receive_frame(self) -> bytes:
        (size,) = struct.unpack(">i", self._receive(4))
        return self._receive(size)

    def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise ConnectionError(f"the server closed the connection after {len(data)} of {size} bytes")
            data += part
        return bytes(data)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def message(kind: Any, **fields: Any) -> Any:
    """A message of kafka-python's: nested structures are dictionaries, what is left out has its default."""
    for name, value in fields.items():
        field = kind.fields[name]
        if field.is_struct_array() and value is not None:
            fields[name] = [message(field.data_class, **child) for child in value]
        elif field.is_struct() and value is not None:
            fields[name] = message(field.data_class, **value)
    return kind(**fields)


def response_class(request_class: Any) -> Any:
    module = __import__(request_class.__module__, fromlist=["*"])
    return getattr(module, request_class.__name__.replace("Request", "Response"))


def as_dictionary(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = message.to_dict(json=False)
    return found


def batch(
    records: list[tuple[int, bytes | None, bytes | None]],
    *,
    codec: str = "none",
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    headers: tuple[tuple[str, bytes | None], ...] = NO_HEADERS,
    is_transactional: bool = False,
) -> bytes:
    """One record batch of (timestamp, key, value) as a client sends it, made by kafka-python."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=CODECS[codec],
        is_transactional=is_transactional,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        batch_size=1 << 30,
    )
    for offset, (timestamp, key, value) in enumerate(records):
        builder.append(offset, timestamp, key, value, headers)
    return bytes(builder.build())
