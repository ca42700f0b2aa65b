"""Asking brokers what librdkafka has no call for, elections and reassignments: our own messages over a plain socket."""

import socket
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from kstore.cli.connection import NO_SUCH_TOPIC
from kstore.cli.errors import CommandError, UsageError
from kstore.client.connection import ClientConnection
from kstore.errors import InvalidRequestError
from kstore.protocol.api_keys import api_name
from kstore.protocol.messages.api_versions import ApiVersionsRequest
from kstore.protocol.messages.metadata import MetadataRequest

DEFAULT_PORT = 9092
METADATA_VERSION = 9
UNKNOWN_TOPIC = 3
NOT_CONTROLLER = 41
RETRY_S = 0.1

# What a broker that gives no reason means, of these APIs (Errors.java).
REASONS = {
    UNKNOWN_TOPIC: "there is no such partition",
    7: "it took longer than --timeout; it may be done yet",
    17: "no topic can have this name",
    29: "not authorized",
    31: "not authorized",
    39: "no replicas like that can be assigned",
    NOT_CONTROLLER: "the broker does not control the cluster (any more)",
    60: "a reassignment is under way",
    80: "its preferred replica is not alive, or not in sync",
    83: "no replica that may lead is alive",
    84: "no election is needed",
    85: "no reassignment is under way",
}


def reason(code: int, message: str | None) -> str:
    known = REASONS.get(code)
    if known and message and message.lower().rstrip(".") != known:
        return f"{known} ({message})"
    return known or message or f"error {code}"


def parse_address(text: str) -> tuple[str, int]:
    """`host`, `host:port`, `[::1]:port`. Raises UsageError."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text.strip(), str(DEFAULT_PORT)
    host = host.strip("[]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"--bootstrap-server: {text!r} is not HOST:PORT")
    return host, int(port)


class Link:
    """One connection to one broker. Raises OSError, CommandError."""

    def __init__(self, address: tuple[str, int], timeout: float) -> None:
        self._name = f"{address[0]}:{address[1]}"
        self._connection = ClientConnection("kstore-cli")
        self._socket = socket.create_connection(address, timeout)
        try:
            self.versions = {
                each.api_key: (each.min_version, each.max_version)
                for each in self.ask(ApiVersionsRequest(), 0).api_keys
            }
        except BaseException:
            self.close()
            raise

    def ask(self, request: Any, version: int) -> Any:
        self._socket.sendall(self._connection.request(request, version))
        while True:
            data = self._socket.recv(1 << 16)
            if not data:
                raise OSError(f"{self._name} closed the connection")
            try:
                answers = self._connection.received(data)
            except InvalidRequestError as error:
                raise CommandError(f"{self._name} gives an answer that is none: {error}") from None
            if answers:
                return answers[0]

    def check(self, request: Any, version: int) -> None:
        """Raises CommandError where the broker does not speak this API."""
        api_key = type(request).api_key
        lowest, highest = self.versions.get(api_key, (0, -1))
        if not lowest <= version <= highest:
            raise CommandError(f"{self._name} does not speak {api_name(api_key)} version {version}")

    def close(self) -> None:
        self._socket.close()


class Wire:
    """A cluster that is asked: any of its brokers, or the one that controls."""

    def __init__(self, bootstrap: str, timeout: float) -> None:
        self._bootstrap = bootstrap
        self._timeout = timeout
        self._link = self._reach([parse_address(text) for text in bootstrap.split(",") if text.strip()])

    @property
    def timeout_ms(self) -> int:
        return int(self._timeout * 1000)

    def _reach(self, addresses: Sequence[tuple[str, int]]) -> Link:
        failed = "no address is given"
        for address in addresses:
            try:
                return Link(address, self._timeout)
            except OSError as error:
                failed = f"{address[0]}:{address[1]}: {error.strerror or error}"
        raise CommandError(
            f"no broker answers at {self._bootstrap} ({failed}): start one there, or give another address with"
            " --bootstrap-server"
        )

    def metadata(self, topics: Sequence[str] | None = None) -> Any:
        """What the cluster says of these topics, or of all. Raises CommandError, also for a topic that it says nothing
        of: it is not there, or its name is none."""
        wanted = None if topics is None else [MetadataRequest.MetadataRequestTopic(name=name) for name in topics]
        try:
            answer = self._link.ask(MetadataRequest(topics=wanted, allow_auto_topic_creation=False), METADATA_VERSION)
        except OSError as error:
            raise CommandError(f"{self._bootstrap}: {error}") from None
        for topic in answer.topics:
            if topic.error_code and not topic.partitions:
                missing = topic.error_code == UNKNOWN_TOPIC
                raise CommandError(f"{topic.name}: {NO_SUCH_TOPIC if missing else reason(topic.error_code, None)}")
        return answer

    def ask_controller(self, request: Any, version: int, *, codes: Callable[[Any], Sequence[int]]) -> Any:
        """The answer of the broker that controls, looked for again while another does. `codes` are the errors in an
        answer. Raises CommandError."""
        deadline = time.monotonic() + self._timeout
        while True:
            metadata = self.metadata([])
            found = [(each.host, each.port) for each in metadata.brokers if each.node_id == metadata.controller_id]
            if found:
                try:
                    answer = self._ask_once(found[0], request, version)
                except OSError as error:
                    if time.monotonic() > deadline:
                        raise CommandError(f"the controller {found[0][0]}:{found[0][1]}: {error}") from None
                else:
                    if NOT_CONTROLLER not in codes(answer) or time.monotonic() > deadline:
                        return answer
            elif time.monotonic() > deadline:
                raise CommandError("no broker controls the cluster: is ZooKeeper there?")
            time.sleep(RETRY_S)

    def _ask_once(self, address: tuple[str, int], request: Any, version: int) -> Any:
        link = Link(address, self._timeout + 1)
        try:
            link.check(request, version)
            return link.ask(request, version)
        finally:
            link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.close()
