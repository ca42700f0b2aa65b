"""Clusters of a test's own: three kstore brokers, a ZooKeeper, and a network between them."""

import gc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.cluster import Cluster, StartCluster


@pytest.fixture
def start_cluster(tmp_path: Path) -> Iterator[StartCluster]:
    """`start_cluster(**options of Cluster)`; what runs at the end is killed."""
    with ExitStack() as stack:

        def start(**options: object) -> Cluster:
            return stack.enter_context(Cluster(tmp_path, **options))  # type: ignore[arg-type]

        yield start
    # Clients that are forgotten and not yet gone go on connecting, and take descriptors that later tests count.
    gc.collect()


@pytest.fixture
def cluster(start_cluster: StartCluster) -> Cluster:
    return start_cluster()
