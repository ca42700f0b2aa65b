"""`--metrics-port`: an HTTP server on a thread of its own for /metrics, /healthz and /readyz.

It is there before the first log is loaded, so that who watches can tell a broker that recovers from one that is dead:
/healthz is 200 while the process can do its work, /readyz once requests are answered. What a page shows is gathered on
the loop, the only owner of what is counted; text is made of it here.
"""

import asyncio
import concurrent.futures
import contextlib
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import make_wsgi_app
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

# A loop that is busy for longer than this counts as dead.
PATIENCE_S = 10
# Whoever sends half a request, or takes no answer, holds a thread for so long.
CLIENT_TIMEOUT_S = 30
# Clients at a time; one more is turned away.
MAX_CLIENTS = 16
# Metrics that are younger are shown again: gathering them is the loop's work.
FRESH_S = 1.0

Gather = Callable[[], Iterable[Metric]]


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._free = threading.BoundedSemaphore(MAX_CLIENTS)
        super().__init__(*arguments, **options)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        deadline = threading.Timer(CLIENT_TIMEOUT_S, _cut_off, [request])
        deadline.daemon = True
        deadline.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            deadline.cancel()
            self._free.release()

    def server_bind(self) -> None:
        """Without the look-up of the host's name that HTTPServer makes: it may wait for a name server."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()


def _cut_off(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = CLIENT_TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


class MetricsServer(Collector):
    """`gather` gives the metrics once the broker is ready; it is called on `loop`."""

    def __init__(self, host: str, port: int) -> None:
        """Listens at once. Raises OSError."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gather: Gather | None = None
        self._gathering = threading.Lock()
        self._gathered: list[Metric] = []
        self._gathered_at = float("-inf")
        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        self._metrics = make_wsgi_app(registry)
        try:
            kind = _Server6 if ":" in host else _Server
            self._server = make_server(host, port, self._answer, server_class=kind, handler_class=_Handler)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen for metrics on {host}:{port}: {error.strerror}") from error
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        log.info("metrics listen on %s:%d", host, self.port)

    def ready(self, loop: asyncio.AbstractEventLoop, gather: Gather) -> None:
        self._loop, self._gather = loop, gather

    def not_ready(self) -> None:
        """To be called when the broker begins to stop."""
        self._gather = None

    def close(self) -> None:
        """Returns within half a second; a page that is being sent is broken off at the end of the process."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        gather = self._gather
        if gather is None:
            return []
        with self._gathering:
            if time.monotonic() - self._gathered_at > FRESH_S:
                self._gathered = list(self._on_loop(gather))
                self._gathered_at = time.monotonic()
            return self._gathered

    def _on_loop(self, work: Callable[[], Any]) -> Any:
        """Raises TimeoutError when the loop does not come to it."""
        assert self._loop is not None

        async def run() -> Any:
            return work()

        future = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            return future.result(PATIENCE_S)
        except TimeoutError:
            future.cancel()
            raise

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        try:
            if path == "/metrics":
                return self._metrics(environ, start_response)  # type: ignore[no-any-return]
            status, text = self._state(path)
        except (TimeoutError, concurrent.futures.CancelledError):
            status, text = "503 Service Unavailable", f"the broker's loop was busy for {PATIENCE_S} s"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [text.encode() + b"\n"]

    def _state(self, path: str) -> tuple[str, str]:
        is_ready = self._gather is not None
        if path == "/healthz":
            if is_ready:
                self._on_loop(lambda: None)
            return "200 OK", "alive"
        if path == "/readyz":
            return ("200 OK", "ready") if is_ready else ("503 Service Unavailable", "not ready: starting or stopping")
        return "404 Not Found", "there are /metrics, /healthz and /readyz"
