"""A log to test, once over files and once over memory; managers of logs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kstore.log.config import LogConfig
from kstore.log.manager import LogManager
from kstore.log.memory_directory import MemoryDirectory
from kstore.log.partition_log import PartitionLog
from tests.log.build import NOW, TP, open_log

MakeLog = Callable[..., PartitionLog]
MakeManager = Callable[..., LogManager]


@pytest.fixture(params=["disk", "memory"])
def make_log(request: pytest.FixtureRequest, tmp_path: Path) -> MakeLog:
    """Opens the log of this test: `make_log(segment_bytes=..., ...)`, the same directory at each call.

    Keyword arguments that LogConfig has are its fields, the others go to PartitionLog.open.
    """
    memory = MemoryDirectory(str(tmp_path / "topic-0"))

    def make(**arguments: object) -> PartitionLog:
        config = LogConfig(**{k: arguments.pop(k) for k in list(arguments) if k in LogConfig._fields})  # type: ignore[arg-type]
        if request.param == "disk":
            return open_log(tmp_path / "topic-0", config, **arguments)
        return PartitionLog.open(memory, TP, config, **{"now_ms": NOW, **arguments})  # type: ignore[arg-type]

    return make


@pytest.fixture
def managers() -> Iterator[MakeManager]:
    """Makes managers, and lets their directories go at the end."""
    made: list[LogManager] = []

    def make(*dirs: Path, load: bool = True, **arguments: object) -> LogManager:
        manager = LogManager([str(path) for path in dirs], **arguments)  # type: ignore[arg-type]
        made.append(manager)
        if load:
            manager.load_all(NOW)
        return manager

    yield make
    for manager in made:
        manager.close_handles()
