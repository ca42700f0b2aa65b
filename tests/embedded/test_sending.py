"""Slices of a log on a socket: whole batches, sent by the kernel, and where the next slice begins."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import kstore
from kstore._native.batch import iter_batches


@pytest.fixture
def log(tmp_path: Path) -> Iterator[kstore.Log]:
    with kstore.Log.open(tmp_path / "events", background=False) as log:
        yield log


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data))
    return data


def test_whole_batches_go_and_the_next_slice_is_told(
    log: kstore.Log, sockets: tuple[socket.socket, socket.socket]
) -> None:
    for i in range(10):
        log.append(b"%d" % i)
    one = len(next(log.read_batches()))
    sent = log.send_slice(sockets[0], 0, 3 * one + one // 2)
    assert (sent.size, sent.next_offset) == (3 * one, 3)
    sent = log.send_slice(sockets[0], sent.next_offset, 1 << 20)
    assert (sent.size, sent.next_offset) == (7 * one, 10)
    batches = iter_batches(receive(sockets[1], 10 * one))
    assert [record.value for batch in batches for record in batch.records()] == [b"%d" % i for i in range(10)]


def test_one_batch_goes_whatever_its_size_and_nothing_at_the_end(
    log: kstore.Log, sockets: tuple[socket.socket, socket.socket]
) -> None:
    log.append(bytes(5000))
    sent = log.send_slice(sockets[0], 0, 1)
    assert (sent.size, sent.next_offset) == (len(next(log.read_batches())), 1)
    assert log.send_slice(sockets[0], 1, 1 << 20) == (0, 1)


@pytest.mark.parametrize("timeout_s", [None, 30])
def test_more_than_the_socket_takes_at_once_goes_whole(
    log: kstore.Log, sockets: tuple[socket.socket, socket.socket], timeout_s: float | None
) -> None:
    log.extend(bytes(100_000) for _ in range(8))
    log.extend(bytes(100_000) for _ in range(8))
    size = sum(len(batch) for batch in log.read_batches())
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(receive(sockets[1], size)))
    reader.start()
    sockets[0].settimeout(timeout_s)
    assert log.send_slice(sockets[0], 0, 1 << 30) == (size, 16)
    reader.join()
    assert received == [b"".join(map(bytes, log.read_batches()))]


def test_a_peer_that_does_not_read_is_a_timeout(log: kstore.Log, sockets: tuple[socket.socket, socket.socket]) -> None:
    for _ in range(4):
        log.extend(bytes(100_000) for _ in range(10))
    sockets[0].settimeout(0.01)
    with pytest.raises(TimeoutError, match=r"of \d+ bytes went in 0.01 s"):
        log.send_slice(sockets[0], 0, 1 << 30)


def test_a_socket_that_does_not_block_is_refused(log: kstore.Log, sockets: tuple[socket.socket, socket.socket]) -> None:
    log.append(b"value")
    sockets[0].setblocking(False)
    with pytest.raises(ValueError, match="does not block"):
        log.send_slice(sockets[0], 0, 1)
