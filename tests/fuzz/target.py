"""A kstore-server process under attack: what it must still do, and what it may cost.

target.connect()        a socket of an attacker
target.serves()         another client is served: it makes a topic, produces, consumes
with target.bounded(16): ...    the process grows by no more than 16 MiB, at its peak and after
"""

import contextlib
import itertools
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from tests.fix_broker import Client, batch
from tests.judge.kstore import KstoreServer

MIB = 1024 * 1024
# How long another client may have to wait while somebody attacks; far more than it should.
PATIENCE_S = 10


class Target(KstoreServer):
    _names = itertools.count()

    def connect(self, timeout: float = PATIENCE_S) -> socket.socket:
        attacker = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        attacker.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return attacker

    def serves(self) -> None:
        """Fails unless another client is served, and soon."""
        began = time.monotonic()
        with Client(self.port) as client:
            topic = f"served.{next(self._names)}"
            client.create_topic(topic)
            assert client.produce(topic, batch(b"x")).error_code == 0
            assert client.values(topic) == [b"x"]
        assert time.monotonic() - began < PATIENCE_S

    def status(self, field: str) -> int:
        """A field of the process's status, in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {field} for process {self.pid}")

    @contextlib.contextmanager
    def bounded(self, mib: float) -> Iterator[None]:
        """The process's memory grows by no more than `mib` MiB inside, not even for a moment."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the peak counts from here
        before = self.status("VmRSS")
        yield
        self.serves()
        grown = self.status("VmHWM") - before
        assert grown <= mib * MIB, f"grew by {grown / MIB:.1f} MiB"

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


def send_and_leave(target: Target, data: bytes) -> None:
    """Sends `data` and closes, whatever the broker says."""
    with contextlib.suppress(ConnectionError, TimeoutError), target.connect() as attacker:
        attacker.sendall(data)


def ask(target: Target, data: bytes) -> bytes | None:
    """The answer frame to `data`, or None when the broker closes the connection instead."""
    with target.connect() as attacker:
        try:
            attacker.sendall(data)
            return receive_frame(attacker)
        except ConnectionError:
            return None


def receive_frame(attacker: socket.socket) -> bytes:
    (size,) = struct.unpack(">i", receive(attacker, 4))
    return receive(attacker, size)


def receive(attacker: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = attacker.recv(size - len(data))
        if not part:
            raise ConnectionError("closed")
        data += part
    return bytes(data)
