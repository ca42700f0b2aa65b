"""Real `kstore-server` processes: one shared by a session, and ones of a test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fix_kafka import SHARED
from tests.judge.kstore import KstoreServer

StartKstore = Callable[..., KstoreServer]


@pytest.fixture(scope="session")
def kstore_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KstoreServer]:
    """A kstore-server shared by the session; tests use topic names of their own and nothing else."""
    directory = tmp_path_factory.mktemp("kstore") / "data"
    overrides = SHARED | {"node.id": "1", "group.initial.rebalance.delay.ms": "0"}
    with KstoreServer(directory, overrides=overrides) as server:
        yield server


@pytest.fixture
def start_kstore(tmp_path: Path) -> Iterator[StartKstore]:
    """Starts servers of this test's own: `start_kstore(directory, **options of KstoreServer)`.

    Without a directory a fresh one. What still runs at the end of the test is killed.
    """
    servers: list[KstoreServer] = []

    def start(directory: Path | None = None, **options: object) -> KstoreServer:
        where = directory if directory is not None else tmp_path / f"kstore-{len(servers)}"
        server = KstoreServer(where, **options)  # type: ignore[arg-type]
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()
