"""Java processes that judge kstore: how a JVM of a Kafka version is started, and one that runs its tools.

Everything listens on 127.0.0.1 and ends by its own process id.
"""

import os
import random
import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.judge import home

# Short-lived and lightly loaded JVMs: start-up counts, not peak speed. Benchmarks bring flags of their own.
QUICK_JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-XX:-UsePerfData")


class JudgeError(Exception):
    """A process of the judge failed, did not come up or answered too late; the message ends with its log."""


def free_port() -> int:
    """A port that nobody listens on, outside the range from which the kernel takes ports for clients."""
    for _ in range(200):
        port = random.SystemRandom().randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise JudgeError("no free port between 15000 and 32000")


def wait_until(condition: Callable[[], bool], *, timeout: float, what: str, interval: float = 0.02) -> None:
    """Returns when `condition` holds; JudgeError naming `what` when it does not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise JudgeError(f"waited {timeout:.0f} s in vain: {what}")
        time.sleep(interval)


def java_command(version: str, *, heap: str, log_level: str = "WARN", flags: Sequence[str] = QUICK_JVM) -> list[str]:
    jars = home.jar_directory(version)
    return [
        "java",
        f"-Xmx{heap}",
        *flags,
        f"-Djudge.log.level={log_level}",
        f"-Dlog4j.configuration=file:{home.JUDGE / 'log4j.properties'}",
        f"-Dlog4j2.configurationFile={home.JUDGE / 'log4j2.properties'}",
        "-cp",
        f"{compiled_tool_server(version)}:{jars}/*",
    ]


def compiled_tool_server(version: str) -> Path:
    """The directory of our own Java's classes, compiled again only when a source is newer."""
    sources = sorted([*home.JUDGE.glob("*.java"), *home.SEED.glob("*.java")])
    classes = home.cache_directory() / f"tool-server-{version}"
    compiled = classes / "ToolServer.class"
    newest = max(source.stat().st_mtime for source in sources)
    if compiled.exists() and compiled.stat().st_mtime > newest:
        return classes
    staging = classes.with_name(f"{classes.name}.{os.getpid()}")
    jars = home.jar_directory(version)
    command = ["javac", "-cp", f"{jars}/*", "-d", str(staging), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise JudgeError(f"javac: {done.stderr}")
    classes.mkdir(exist_ok=True)
    # Each rename is atomic, for several test processes may do this at once; ToolServer's comes last and is the sign.
    for file in sorted(staging.iterdir(), key=lambda file: file.name == compiled.name):
        file.replace(classes / file.name)
    staging.rmdir()
    return classes


class ToolResult(NamedTuple):
    code: int
    out: str
    err: str


class ToolServer:
    """One JVM that runs the command-line tools of one Kafka version, one after the other."""

    def __init__(self, version: str) -> None:
        self.version = version
        self._process: subprocess.Popen[bytes] | None = None

    def run(
        self, main_class: str, *arguments: object, stdin: str = "", timeout: float = 60, check: bool = True
    ) -> ToolResult:
        """Runs a tool to its end. JudgeError when it fails (unless `check` is False) or passes `timeout`."""
        words = [main_class, *map(str, arguments)]
        result = self._ask(words, stdin, timeout)
        if check and result.code:
            raise JudgeError(f"{' '.join(words)}: exit code {result.code}\n{result.out}\n{result.err}")
        return result

    def _ask(self, words: list[str], stdin: str, timeout: float) -> ToolResult:
        if self._process is None or self._process.poll() is not None:
            self._start()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        request = struct.pack(">i", len(words))
        for text in (*words, stdin):
            encoded = text.encode()
            request += struct.pack(">i", len(encoded)) + encoded
        deadline = time.monotonic() + timeout
        try:
            process.stdin.write(request)
            process.stdin.flush()
            (code,) = struct.unpack(">i", self._read(4, deadline))
            out, err = self._read_text(deadline), self._read_text(deadline)
        except (JudgeError, OSError) as lost:
            self.close()
            raise JudgeError(f"{' '.join(words)}: {lost}") from lost
        return ToolResult(code, out, err)

    def _start(self) -> None:
        command = [*java_command(self.version, heap="512m"), "ToolServer"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def _read(self, size: int, deadline: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        parts = []
        while size:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise JudgeError("no answer in time")
            part = os.read(descriptor, size)
            if not part:
                raise JudgeError("the JVM ended")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _read_text(self, deadline: float) -> str:
        (size,) = struct.unpack(">i", self._read(4, deadline))
        return self._read(size, deadline).decode("utf-8", "replace")

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
