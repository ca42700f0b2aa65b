"""The process: how it starts, refuses to start, and stops."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kstore.server.app import App
from kstore.server.config import ServerConfig
from tests.fix_kstore import StartKstore

CLEAN = ".kafka_cleanshutdown"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kstore.server.main", *arguments], capture_output=True, text=True, timeout=30
    )


def test_one_line_says_that_the_broker_is_ready(start_kstore: StartKstore, tmp_path: Path) -> None:
    server = start_kstore(tmp_path / "data")
    ready = [line for line in server.log_file.read_text().splitlines() if " ready " in line]
    assert len(ready) == 1
    assert re.search(
        rf"version=\S+ listeners=PLAINTEXT://127.0.0.1:{server.port} log.dirs={tmp_path}/data partitions=0 "
        r"started_ms=\d+",
        ready[0],
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_broker_cleanly(start_kstore: StartKstore, number: signal.Signals) -> None:
    server = start_kstore()
    assert not (server.log_directory / CLEAN).exists()
    server.signal(number)
    assert server.wait_for_end(10) == 0
    assert (server.log_directory / CLEAN).exists()


def test_a_second_signal_ends_the_broker_at_once(tmp_path: Path) -> None:
    async def ask_twice() -> list[int]:
        app = App(ServerConfig.from_arguments(str(tmp_path), 0))
        codes: list[int] = []
        app.ask_to_stop(codes.append)
        assert app.stopping.is_set()
        assert codes == []
        app.ask_to_stop(codes.append)
        return codes

    assert asyncio.run(ask_twice()) == [1]


def test_a_directory_in_use_refuses_the_start_and_is_named(start_kstore: StartKstore) -> None:
    server = start_kstore()
    refused = run("--data-dir", str(server.log_directory), "--port", "0")
    assert refused.returncode == 1
    assert f"failed to acquire the lock {server.log_directory}/.lock" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_port_in_use_refuses_the_start_and_leaves_the_directory_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run("--data-dir", str(tmp_path / "data"), "--port", str(port))
    assert refused.returncode == 1
    assert f"cannot listen on PLAINTEXT://127.0.0.1:{port}" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data-dir", "x", "--override", "log.retention.hours=soon"], "log.retention.hours"),
        (["--data-dir", "x", "--override", "no.such.key=1"], "no.such.key"),
        (["--data-dir", "x", "--override", "nonsense"], "nonsense"),
        (["missing.properties"], "missing.properties"),
        ([], "--data-dir"),
        (["some.properties", "--data-dir", "x"], "--data-dir"),
    ],
)
def test_bad_arguments_are_named_and_end_with_code_2(arguments: list[str], said: str) -> None:
    refused = run(*arguments)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_when_every_log_directory_has_failed_the_broker_ends_with_an_error(tmp_path: Path) -> None:
    async def lose_the_disk() -> App:
        app = App(ServerConfig.from_arguments(str(tmp_path / "data"), 0))
        await app.start()
        for log_dir in app.logs.dirs:
            log_dir.fail("a test", OSError(5, "Input/output error"))
        await app.tasks.tend_logs()
        await app.stop()
        return app

    app = asyncio.run(lose_the_disk())
    assert app.stopping.is_set()
    assert app.failure == "every log directory has failed"
    assert not (tmp_path / "data" / CLEAN).exists()
