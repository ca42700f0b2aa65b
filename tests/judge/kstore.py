"""A real `kstore-server` process on a directory: what users run, with nothing of it imported here.

with KstoreServer(tmp_path / "data") as server:
    server.bootstrap, server.port, server.log_directory, server.pid
    server.stop(); server.kill(); server.start()
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.judge import home
from tests.judge.java import free_port
from tests.judge.process import MetadataProbe, ServerProcess


class KstoreServer(ServerProcess):
    """`kstore-server --data-dir DIR --port N [--override key=value]...`; its output lies beside DIR."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        overrides: Mapping[str, str] | None = None,
        arguments: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        """`arguments` replace all that follows the program; `wrapper` stands before it (taskset ...)."""
        super().__init__("kstore-server", directory.with_name(f"{directory.name}.run") / "server.log")
        self.log_directory = directory
        self.port = port or free_port()
        self.overrides = dict(overrides or {})
        self.arguments = arguments
        self.environment = environment
        self.wrapper = wrapper

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def partition_directory(self, topic: str, partition: int = 0) -> Path:
        return self.log_directory / f"{topic}-{partition}"

    def command(self) -> list[str]:
        arguments = self.arguments
        if arguments is None:
            arguments = ["--data-dir", str(self.log_directory), "--port", str(self.port)]
            for key, value in self.overrides.items():
                arguments += ["--override", f"{key}={value}"]
        return [*self.wrapper, sys.executable, "-m", "kstore.server.main", *arguments]

    def spawn_only(self) -> None:
        """Starts the process without waiting for its readiness, for who measures that."""
        environment = {**os.environ, "PYTHONPATH": str(home.REPOSITORY), **(self.environment or {})}
        self.spawn(self.command(), environment)

    def start(self, timeout: float = 30) -> None:
        self.spawn_only()
        self.wait_for_answer(MetadataProbe(self.port), timeout)
