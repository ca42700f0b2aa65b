"""`--metrics-port`: pages for Prometheus and for whoever asks whether the broker is well."""

import asyncio
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from kstore.server import metrics_server
from kstore.server.metrics_server import MetricsServer
from tests.fix_kstore import StartKstore
from tests.judge.java import free_port, wait_until


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    server = MetricsServer("127.0.0.1", 0)
    yield server
    server.close()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_broker_that_starts_is_alive_and_not_ready(server: MetricsServer) -> None:
    assert get(server.port, "/healthz") == (200, "alive\n")
    assert get(server.port, "/readyz")[0] == 503
    assert "process_resident_memory_bytes" in get(server.port, "/metrics")[1]


def test_a_broker_is_ready_until_it_stops(server: MetricsServer, loop: asyncio.AbstractEventLoop) -> None:
    server.ready(loop, lambda: [GaugeMetricFamily("answers", "Test", value=42)])
    assert get(server.port, "/readyz") == (200, "ready\n")
    assert get(server.port, "/healthz") == (200, "alive\n")
    assert "\nanswers 42.0\n" in get(server.port, "/metrics")[1]
    server.not_ready()
    assert get(server.port, "/readyz")[0] == 503


def test_a_loop_that_hangs_is_not_alive(
    server: MetricsServer, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server, "PATIENCE_S", 0.1)
    server.ready(loop, list)
    release = threading.Event()
    loop.call_soon_threadsafe(release.wait)
    try:
        assert get(server.port, "/healthz")[0] == 503
        assert get(server.port, "/metrics")[0] == 503
    finally:
        release.set()
    assert get(server.port, "/healthz")[0] == 200


def test_metrics_are_gathered_once_a_second_whoever_asks(
    server: MetricsServer, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server, "FRESH_S", 3600)
    gathered = []

    def gather() -> list[GaugeMetricFamily]:
        gathered.append(1)
        return [GaugeMetricFamily("answers", "Test", value=42)]

    server.ready(loop, gather)
    for _ in range(3):
        assert "\nanswers 42.0\n" in get(server.port, "/metrics")[1]
    assert len(gathered) == 1


def test_one_client_too_many_is_turned_away_and_slow_ones_are_cut_off(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server, "CLIENT_TIMEOUT_S", 2)
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(metrics_server.MAX_CLIENTS)]
    try:
        for client in slow:
            client.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as newcomer:
            assert newcomer.recv(1) == b""
        for client in slow:
            while client.recv(1000):
                pass  # until it is cut off
    finally:
        for client in slow:
            client.close()
    wait_until(lambda: get_or_none(server.port, "/healthz") == (200, "alive\n"), timeout=30, what="others are served")


def get_or_none(port: int, path: str) -> tuple[int, str] | None:
    try:
        return get(port, path)
    except OSError:
        return None


def test_other_pages_say_what_there_is(server: MetricsServer) -> None:
    assert get(server.port, "/") == (404, "there are /metrics, /healthz and /readyz\n")


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen for metrics on 127.0.0.1:{port}"):
            MetricsServer("127.0.0.1", port)


def test_a_real_broker_shows_its_metrics(start_kstore: StartKstore, tmp_path: Path) -> None:
    port, metrics_port = free_port(), free_port()
    arguments = ["--data-dir", str(tmp_path / "data"), "--port", str(port), "--metrics-port", str(metrics_port)]
    start_kstore(tmp_path / "data", port=port, arguments=arguments)
    status, text = get(metrics_port, "/metrics")
    assert status == 200
    families = {family.name for family in text_string_to_metric_families(text)}
    assert {
        "kafka_server_replicamanager_partitioncount",
        "kafka_network_requestmetrics_totaltime_seconds",
        "kafka_server_brokertopicmetrics_bytesin",
        "process_resident_memory_bytes",
    } <= families
    assert get(metrics_port, "/readyz") == (200, "ready\n")
