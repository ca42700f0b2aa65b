"""systemd hears when the broker answers and when it stops."""

import signal
import socket
from pathlib import Path

import pytest

from kstore.server.service_manager import notify
from tests.fix_kstore import StartKstore


@pytest.fixture
def manager(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(30)
        yield sock


def test_a_real_broker_tells_that_it_is_ready_and_that_it_stops(
    start_kstore: StartKstore, tmp_path: Path, manager: socket.socket
) -> None:
    server = start_kstore(tmp_path / "data", environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
    assert manager.recv(100) == b"READY=1"
    server.signal(signal.SIGTERM)
    assert manager.recv(100) == b"STOPPING=1"
    assert server.wait_for_end(10) == 0


def test_an_abstract_socket_is_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("")  # the kernel chooses an abstract name
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + sock.getsockname()[1:].decode())
        notify("READY=1")
        assert sock.recv(100) == b"READY=1"


def test_nobody_to_tell_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")
