"""Idle connections, clients that never read and clients that send a byte a second, all at once: the broker stays small,
and others hardly notice.

A quarter of the crowd in `make test`, where only memory and progress are asked. `make crowd` (KSTORE_CROWD=all) has
2,000 idle connections, 200 that never read and 200 that dawdle, in 256 MB, and asks that the 99th percentile of other
clients' produces at most doubles.
"""

import contextlib
import os
import resource
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kstore.protocol.messages.api_versions import ApiVersionsRequest
from kstore.protocol.messages.metadata import MetadataRequest
from tests.fix_broker import Client, batch, fetch_request, frame
from tests.fuzz.target import MIB, Target

WHOLE = os.environ.get("KSTORE_CROWD") == "all"
IDLE, UNREAD, SLOW = (2000, 200, 200) if WHOLE else (500, 50, 50)
MEMORY = 256 * MIB
SAMPLES, ROUNDS = (2000, 5) if WHOLE else (200, 1)


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Target]:
    wanted = IDLE + UNREAD + SLOW + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"ulimit -Hn is {hard}, {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    server = Target(tmp_path / "data", overrides={"max.connections": "4000", "max.connections.per.ip": "4000"})
    server.start()
    yield server
    server.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def produce_times(client: Client, count: int) -> list[float]:
    """How long so many produces took, in order of length."""
    data = batch(bytes(1000))
    times = []
    for _ in range(count):
        began = time.perf_counter()
        assert client.produce("others", data, acks=1).error_code == 0
        times.append(time.perf_counter() - began)
    return sorted(times)


def p99(times: list[float]) -> float:
    return times[len(times) * 99 // 100]


def never_read(target: Target) -> socket.socket:
    """A client that asks for a megabyte again and again until nobody takes its requests any more."""
    attacker = target.connect()
    attacker.setblocking(False)
    request = frame(fetch_request({("unread", 0): 0}, partition_max_bytes=2 * MIB), 12)
    with contextlib.suppress(BlockingIOError):
        for _ in range(300):
            attacker.sendall(request)
    return attacker


class Dawdlers(threading.Thread):
    """Each of them sends one byte of a request a second, one after the other."""

    def __init__(self, attackers: list[socket.socket]) -> None:
        super().__init__(name="dawdlers")
        self._attackers = attackers
        self._stopping = threading.Event()
        self.rounds = 0

    def run(self) -> None:
        data = frame(MetadataRequest(topics=[]), 9)
        while not self._stopping.is_set():
            for attacker in self._attackers:
                if self._stopping.wait(1 / len(self._attackers)):
                    return
                attacker.sendall(data[self.rounds % len(data) :][:1])
            self.rounds += 1

    def stop(self) -> None:
        self._stopping.set()
        self.join()


@pytest.mark.timeout(900)
def test_a_crowd_that_idles_dawdles_and_never_reads(crowded: Target) -> None:
    target = crowded
    crowd: list[socket.socket] = []
    with Client(target.port) as client, contextlib.ExitStack() as undo:
        client.create_topic("others")
        client.create_topic("unread", max_message_bytes=str(2 * MIB))
        client.produce("unread", batch(bytes(MIB)))
        produce_times(client, 200)
        alone = [p99(produce_times(client, SAMPLES)) for _ in range(ROUNDS)]
        undo.callback(lambda: [each.close() for each in crowd])

        for _ in range(IDLE):
            crowd.append(target.connect())
        for each in crowd[::10]:
            each.sendall(frame(ApiVersionsRequest(), 0))  # idle after a request, like a client that has none to make
        crowd += [never_read(target) for _ in range(UNREAD)]
        slow = [target.connect() for _ in range(SLOW)]
        crowd += slow
        dawdlers = Dawdlers(slow)
        dawdlers.start()
        undo.callback(dawdlers.stop)

        among = [p99(produce_times(client, SAMPLES)) for _ in range(ROUNDS)]
        deadline = time.monotonic() + 60
        while dawdlers.rounds < 3:
            assert time.monotonic() < deadline
            produce_times(client, 10)
        target.serves()
        assert target.open_files() >= IDLE + SLOW  # nobody was sent away
        peak = target.status("VmHWM")
        assert peak < MEMORY, f"{peak / MIB:.0f} MiB"
        told = f"p99 {1e3 * statistics.median(alone):.2f} ms alone, {1e3 * statistics.median(among):.2f} ms among them"
        print(f"{told}, {peak / MIB:.0f} MiB at most")
        if WHOLE:
            assert statistics.median(among) < 2 * statistics.median(alone), told
