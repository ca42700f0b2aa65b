"""A broker inside the test's process, in a thread of its own, and clients that speak raw protocol to it.

    broker = start_broker(overrides={"log.retention.ms": "1000"})
    client = broker.connect()
    answer = client.ask(MetadataRequest(topics=None), version=12)
    broker.call(lambda app: app.context.replicas.get("t", 0).log.log_end_offset)

The clock is real unless the test brings one. A broker that a test leaves running is stopped at its end.
"""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest
import uvloop

from kstore._native.batch import iter_batches
from kstore._native.builder import BatchBuilder
from kstore._native.record import Record
from kstore.clock import Clock
from kstore.protocol.headers import encode_request_header, has_tagged_response_header
from kstore.protocol.messages import schema
from kstore.protocol.messages.create_topics import CreateTopicsRequest
from kstore.protocol.messages.fetch import FetchRequest
from kstore.protocol.messages.produce import ProduceRequest
from kstore.server.app import App
from kstore.server.config import ServerConfig

Result = TypeVar("Result")

TIMEOUT_S = 30


class Client:
    """One connection, blocking."""

    def __init__(self, port: int, *, client_id: str | None = "test") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client_id = client_id
        self._sent = 0
        self._waiting: list[tuple[int, int, int]] = []  # API key, version, correlation id

    def ask(self, request: Any, version: int) -> Any:
        """The answer to one request."""
        self.send(request, version)
        return self.receive()

    def send(self, request: Any, version: int, *, answered: bool = True) -> None:
        """Sends a request whose answer `receive` gives, unless it is one that is not `answered`."""
        self._sent += 1
        self.socket.sendall(frame(request, version, self._sent, self.client_id))
        if answered:
            self._waiting.append((type(request).api_key, version, self._sent))

    def receive(self) -> Any:
        """The answer to the earliest request that waits for one."""
        api_key, version, correlation_id = self._waiting.pop(0)
        body = self.receive_frame()
        assert struct.unpack_from(">i", body)[0] == correlation_id
        position = 5 if has_tagged_response_header(api_key, version) else 4
        return schema(api_key)[1].decode(body, position, len(body), version)

    def receive_frame(self) -> bytes:
        (size,) = struct.unpack(">i", self._receive(4))
        return self._receive(size)

    def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError(f"closed after {len(data)} of {size} bytes")
            data += part
        return bytes(data)

    def is_closed_by_the_broker(self) -> bool:
        """Waits until the broker has closed the connection; False if it answers instead."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def create_topic(self, name: str, partitions: int = 1, **configs: str) -> bytes:
        """Makes a topic, `retention_ms` being its key retention.ms; gives its id."""
        topic = CreateTopicsRequest.CreatableTopic(
            name=name,
            num_partitions=partitions,
            replication_factor=1,
            configs=[
                CreateTopicsRequest.CreatableTopicConfig(name=key.replace("_", "."), value=value)
                for key, value in configs.items()
            ],
        )
        (result,) = self.ask(CreateTopicsRequest(topics=[topic]), 7).topics
        assert result.error_code == 0, (result.error_code, result.error_message)
        topic_id: bytes = result.topic_id
        return topic_id

    def produce(
        self, topic: str, records: bytes | None, *, partition: int = 0, acks: int = -1, version: int = 9
    ) -> Any:
        """The answer for one partition."""
        request = produce_request({(topic, partition): records}, acks=acks)
        answer = self.ask(request, version)
        assert [each.name for each in answer.responses] == [topic]
        return answer.responses[0].partition_responses[0]

    def fetch(self, topic: str, offset: int, *, partition: int = 0, version: int = 12, **options: Any) -> Any:
        """The answer for one partition; options are those of `fetch_request`."""
        answer = self.ask(fetch_request({(topic, partition): offset}, **options), version)
        assert answer.error_code == 0
        return answer.responses[0].partitions[0]

    def values(self, topic: str, offset: int = 0, *, partition: int = 0) -> list[bytes | None]:
        """The values that a consumer reads from `offset` on in one fetch."""
        records = self.fetch(topic, offset, partition=partition).records
        return [record.value for record in records_in(records) if record.offset >= offset]

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def frame(request: Any, version: int, correlation_id: int = 1, client_id: str | None = "test") -> bytes:
    """A whole request with its length."""
    payload = encode_request_header(type(request).api_key, version, correlation_id, client_id)
    payload += request.encode(version)
    return struct.pack(">i", len(payload)) + payload


def batch(*values: bytes | None, key: bytes | None = b"k", timestamp: int = 1_000, **options: Any) -> bytes:
    """A record batch with these values, as a producer sends it."""
    builder = BatchBuilder(**options)
    for value in values:
        builder.append(timestamp, key, value)
    return bytes(builder.build())


def records_in(data: bytes) -> Iterator[Record]:
    """The records of whole batches; a part of one at the end is left out, as consumers do."""
    for each in iter_batches(data, allow_partial_tail=True):
        yield from each.records()


def produce_request(
    records: Mapping[tuple[str, int], bytes | None],
    *,
    acks: int = -1,
    timeout_ms: int = 5000,
    transactional_id: str | None = None,
) -> Any:
    """(topic, partition) -> a batch."""
    topics: dict[str, list[Any]] = {}
    for (topic, index), data in records.items():
        part = ProduceRequest.PartitionProduceData(index=index, records=data)
        topics.setdefault(topic, []).append(part)
    return ProduceRequest(
        transactional_id=transactional_id,
        acks=acks,
        timeout_ms=timeout_ms,
        topic_data=[ProduceRequest.TopicProduceData(name=name, partition_data=parts) for name, parts in topics.items()],
    )


def fetch_request(
    offsets: Mapping[tuple[str | bytes, int], int],
    *,
    partition_max_bytes: int = 1 << 20,
    current_leader_epoch: int = -1,
    last_fetched_epoch: int = -1,
    forgotten: Mapping[str | bytes, list[int]] | None = None,
    **fields: Any,
) -> Any:
    """(topic, partition) -> offset; a topic in bytes is an id. `fields` are the request's own."""
    topics: dict[str | bytes, list[Any]] = {}
    for (topic, index), offset in offsets.items():
        part = FetchRequest.FetchPartition(
            partition=index,
            fetch_offset=offset,
            partition_max_bytes=partition_max_bytes,
            current_leader_epoch=current_leader_epoch,
            last_fetched_epoch=last_fetched_epoch,
        )
        topics.setdefault(topic, []).append(part)
    return FetchRequest(
        topics=[FetchRequest.FetchTopic(partitions=parts, **named(topic)) for topic, parts in topics.items()],
        forgotten_topics_data=[
            FetchRequest.ForgottenTopic(partitions=indexes, **named(topic))
            for topic, indexes in (forgotten or {}).items()
        ],
        **fields,
    )


def named(topic: str | bytes) -> dict[str, str | bytes]:
    return {"topic": topic} if isinstance(topic, str) else {"topic_id": topic}


class Broker:
    """An App in an event loop of its own thread."""

    def __init__(self, config: ServerConfig, clock: Clock | None = None) -> None:
        self.config = config
        self._clock = clock
        self._clients: list[Client] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.app: App

    def start(self) -> None:
        """Returns when the broker answers. Raises what its start raises."""
        started: list[BaseException | None] = []
        ready = threading.Event()

        def run() -> None:
            self._loop = loop = uvloop.new_event_loop()
            try:
                self.app = App(self.config, clock=self._clock)
                loop.run_until_complete(self.app.start())
            except BaseException as error:
                started.append(error)
                loop.close()
                ready.set()
                return
            ready.set()
            loop.run_forever()
            loop.run_until_complete(self.app.stop())
            loop.close()

        self._thread = threading.Thread(target=run, name="broker")
        self._thread.start()
        assert ready.wait(TIMEOUT_S)
        if started:
            self._thread.join()
            self._loop = None
            raise started[0]  # type: ignore[misc]

    @property
    def port(self) -> int:
        return self.app.listeners.endpoints[0].port

    def connect(self, **options: Any) -> Client:
        client = Client(self.port, **options)
        self._clients.append(client)
        return client

    def call(self, do: Callable[[App], Result]) -> Result:
        """What `do` gives, called on the broker's loop."""

        async def run() -> Result:
            return do(self.app)

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(TIMEOUT_S)

    def run(self, begin: Callable[[App], Awaitable[Result]]) -> Result:
        """What the awaitable gives that `begin` makes, run on the broker's loop."""

        async def run() -> Result:
            return await begin(self.app)

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(TIMEOUT_S)

    def wait_for(self, condition: Callable[[App], bool]) -> None:
        """Returns when `condition` holds on the broker's loop."""
        deadline = time.monotonic() + TIMEOUT_S
        while not self.call(condition):
            assert time.monotonic() < deadline

    def stop(self) -> None:
        """Closes cleanly. Safe to call twice."""
        for client in self._clients:
            client.close()
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(TIMEOUT_S)
            assert not self._thread.is_alive()
            self._loop = None


StartBroker = Callable[..., Broker]


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[StartBroker]:
    """Starts brokers of this test's own: `start_broker(directory, overrides={}, clock=None)`.

    Without a directory each is over the same one, so that a second start finds what the first has left.
    """
    brokers: list[Broker] = []

    def start(
        directory: Path | str | None = None,
        *,
        overrides: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> Broker:
        where = str(directory) if directory is not None else str(tmp_path / "data")
        arguments = [f"{key}={value}" for key, value in (overrides or {}).items()]
        broker = Broker(ServerConfig.from_arguments(where, 0, arguments), clock)
        brokers.append(broker)
        broker.start()
        return broker

    yield start
    for broker in brokers:
        broker.stop()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that the tests of a module share; each uses topics of its own name and leaves the rest alone."""
    shared = Broker(ServerConfig.from_arguments(str(tmp_path_factory.mktemp("broker")), 0))
    shared.start()
    yield shared
    shared.stop()


@pytest.fixture
def client(broker: Broker) -> Iterator[Client]:
    """A connection to the shared broker."""
    with Client(broker.port) as connected:
        yield connected
