"""A server process: started on a directory, waited for, stopped or killed; its output goes to a file."""

import contextlib
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.judge.java import JudgeError


class Probe:
    """Asks a port whether the server behind it is ready to serve."""

    def __init__(self, port: int, request: bytes) -> None:
        self.port = port
        self.request = request

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.settimeout(5)
                connection.sendall(self.request)
                return self.is_ready(connection)
        except OSError:
            return False

    def is_ready(self, connection: socket.socket) -> bool:
        raise NotImplementedError


class MetadataProbe(Probe):
    """A broker is ready when its metadata (version 1, no topics) names at least one broker."""

    def __init__(self, port: int) -> None:
        body = struct.pack(">hhih", 3, 1, 1, -1) + struct.pack(">i", 0)
        super().__init__(port, struct.pack(">i", len(body)) + body)

    def is_ready(self, connection: socket.socket) -> bool:
        answer = b""
        while len(answer) < 12:
            part = connection.recv(4096)
            if not part:
                return False
            answer += part
        return int(struct.unpack_from(">i", answer, 8)[0]) > 0


class ServerProcess:
    """What brokers and ZooKeeper have in common. Subclasses say how they start and stop."""

    def __init__(self, name: str, log_file: Path) -> None:
        self.name = name
        self.log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def spawn(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        assert not self.is_running, f"{self.name} runs already"
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def wait_for_answer(self, probe: Probe, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not probe.answers():
            if not self.is_running:
                raise JudgeError(f"{self.name} ended while starting\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise JudgeError(f"{self.name} gave no answer within {timeout:.0f} s\n{self.log_tail()}")
            time.sleep(0.005)

    def wait_for_end(self, timeout: float = 60) -> int:
        """The exit code of a process that ends by itself."""
        assert self._process is not None, f"{self.name} was not started"
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise JudgeError(f"{self.name} still runs after {timeout:.0f} s\n{self.log_tail()}") from None
        self._process = None
        return code

    def signal(self, number: int) -> None:
        assert self._process is not None, f"{self.name} is not running"
        self._process.send_signal(number)

    def end(self, number: int, timeout: float) -> int:
        """Sends a signal and waits for the end; the exit code (0 where nothing ran)."""
        if self._process is None:
            return 0
        process, self._process = self._process, None
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise JudgeError(f"{self.name} did not end within {timeout:.0f} s\n{self.log_tail()}") from None

    def start(self, timeout: float = 90) -> None:
        raise NotImplementedError

    def stop(self, timeout: float = 60) -> None:
        """A clean shutdown."""
        code = self.end(signal.SIGTERM, timeout)
        if code not in (0, 128 + signal.SIGTERM, -signal.SIGTERM):
            raise JudgeError(f"{self.name} ended with {code}\n{self.log_tail()}")

    def kill(self) -> None:
        """kill -9."""
        self.end(signal.SIGKILL, 10)

    def log_text(self) -> str:
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    def log_tail(self, lines: int = 60) -> str:
        return "\n".join(self.log_text().splitlines()[-lines:]) or "(no log)"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
