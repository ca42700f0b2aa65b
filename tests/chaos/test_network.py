"""The network itself: what passes, what waits, what is torn, and who it is that comes."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.network import Network
from tests.judge.java import wait_until

QUIET_S = 0.3  # how long nothing comes where nothing may come


class Echo:
    """Answers each line with the same line."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while data := connection.recv(4096):
                connection.sendall(data)

    def close(self) -> None:
        # Who waits in accept() has a descriptor for the next one already, which later tests would miss.
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def network() -> Iterator[Network]:
    """This process is `me`."""
    with Network(pids=lambda: {"me": os.getpid()}) as made:
        yield made


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection: socket.socket, line: bytes = b"hello\n") -> bytes:
    connection.sendall(line)
    return connection.recv(4096)


def is_silent(connection: socket.socket) -> bool:
    connection.settimeout(QUIET_S)
    try:
        connection.recv(4096)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(10)
    return False


def is_torn(connection: socket.socket) -> bool:
    try:
        return ask(connection) == b""
    except ConnectionError:
        return True


def test_what_is_said_comes_back_and_who_said_it_is_known(network: Network, echo: Echo) -> None:
    with connect(network.door("echo", echo.port)) as connection:
        assert ask(connection) == b"hello\n"
        assert network.connections("me", "echo") == 1
    wait_until(lambda: network.connections("me", "echo") == 0, timeout=5, what="the connection is forgotten")


def test_another_process_is_another_one(network: Network, echo: Echo) -> None:
    network.cut("me", "echo")
    door = network.door("echo", echo.port)
    program = f"import socket; c = socket.create_connection(('127.0.0.1', {door})); c.sendall(b'x'); print(c.recv(9))"
    child = subprocess.Popen(
        [sys.executable, "-c", f"input(); {program}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    network._pids = lambda: {"me": os.getpid(), "child": child.pid}
    out, _ = child.communicate(b"go\n", timeout=20)
    assert out == b"b'x'\n"


def test_a_stranger_is_let_go(echo: Echo) -> None:
    with Network(pids=dict) as network, connect(network.door("echo", echo.port)) as connection:
        assert is_torn(connection)


def test_what_does_not_pass_waits_and_passes_when_the_network_is_healed(network: Network, echo: Echo) -> None:
    with connect(network.door("echo", echo.port)) as connection:
        assert ask(connection) == b"hello\n"
        network.cut("me", "echo")
        connection.sendall(b"late\n")
        assert is_silent(connection)
        network.heal("me", "echo")
        assert connection.recv(4096) == b"late\n"


def test_a_new_connection_over_a_cut_is_neither_refused_nor_served(network: Network, echo: Echo) -> None:
    network.cut("me", "echo")
    with connect(network.door("echo", echo.port)) as connection:
        connection.sendall(b"hello\n")
        assert is_silent(connection)
        network.heal()
        assert connection.recv(4096) == b"hello\n"


def test_one_way_may_be_cut_alone(network: Network, echo: Echo) -> None:
    heard = threading.Event()
    serve, echo._serve = echo._serve, lambda connection: (heard.set(), serve(connection))[1]  # type: ignore[method-assign]
    network.cut_one_way("echo", "me")
    with connect(network.door("echo", echo.port)) as connection:
        connection.sendall(b"hello\n")
        assert heard.wait(10), "the request reaches whom it is for"
        assert is_silent(connection)
        network.heal()
        assert connection.recv(4096) == b"hello\n"


def test_the_end_of_a_side_does_not_pass_a_cut_either(network: Network, echo: Echo) -> None:
    connection = connect(network.door("echo", echo.port))
    assert ask(connection) == b"hello\n"
    network.cut("me", "echo")
    connection.close()
    time.sleep(QUIET_S)
    assert network.connections("me", "echo") == 1
    network.heal()
    wait_until(lambda: network.connections("me", "echo") == 0, timeout=5, what="the connection is forgotten")


def test_a_reset_tears_and_refuses_until_it_is_healed(network: Network, echo: Echo) -> None:
    door = network.door("echo", echo.port)
    with connect(door) as connection:
        assert ask(connection) == b"hello\n"
        network.reset("me", "echo")
        assert is_torn(connection)
    with connect(door) as refused:
        assert is_torn(refused)
    network.heal()
    with connect(door) as connection:
        assert ask(connection) == b"hello\n"


def test_a_slow_network_takes_its_time_both_ways(network: Network, echo: Echo) -> None:
    network.slow("me", "echo", 0.1)
    with connect(network.door("echo", echo.port)) as connection:
        began = time.monotonic()
        assert ask(connection) == b"hello\n"
        assert time.monotonic() - began >= 0.2


def test_others_are_not_touched_by_a_cut_between_two(network: Network, echo: Echo) -> None:
    network.cut("somebody", "echo")
    with connect(network.door("echo", echo.port, source="else")) as connection:
        assert ask(connection) == b"hello\n"


def test_the_end_of_a_server_is_the_end_for_who_is_connected(network: Network) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        door = network.door("server", server.getsockname()[1])
        with connect(door) as connection:
            accepted, _ = server.accept()
            accepted.close()
            assert connection.recv(4096) == b""


def test_what_still_waits_when_its_connection_is_torn_is_gone(
    network: Network, echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(network.door("echo", echo.port)) as connection:
        assert ask(connection) == b"hello\n"
        network.cut_one_way("me", "echo")
        connection.sendall(b"late\n")
        assert is_silent(connection)
        network.reset("me", "echo")
        network.heal()
        wait_until(lambda: network.connections("me", "echo") == 0, timeout=5, what="the connection is forgotten")
    assert caplog.records == []
