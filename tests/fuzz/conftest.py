"""The process that the tests of a module attack together: it has to outlive them all."""

from collections.abc import Iterator

import pytest

from tests.fuzz.target import Target


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    server = Target(tmp_path_factory.mktemp("target") / "data")
    server.start()
    # What is loaded on first use does not count as growth.
    for _ in range(3):
        server.serves()
    yield server
    server.serves()
    server.stop()
