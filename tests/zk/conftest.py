"""A ZooKeeper for each test: clusters are made and broken there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.judge.kafka import ZooKeeper


@pytest.fixture
def zookeeper_of_its_own(tmp_path: Path) -> Iterator[ZooKeeper]:
    with ZooKeeper(tmp_path / "zookeeper") as server:
        yield server
