"""What a handler may reach: one object, built by `app`, handed to every handler."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from kstore.clock import Clock
from kstore.cluster.metadata_log import MetadataLog
from kstore.replica.manager import ReplicaManager
from kstore.server.cold_reads import ColdReads
from kstore.server.config import ServerConfig
from kstore.server.deliver import Deliver
from kstore.server.endpoints import Endpoint
from kstore.server.fetch_session import FetchSessionCache
from kstore.server.flusher import Flusher
from kstore.server.topics import Catalog
from kstore.server.traffic import Traffic


class Context:
    """Every attribute is set once, when the broker starts, but for `config`, which changes whole."""

    __slots__ = (
        "advertised",
        "clock",
        "cluster",
        "cluster_id",
        "cold_reads",
        "config",
        "deliver",
        "fetch_sessions",
        "flusher",
        "groups",
        "log_dir_moves",
        "loop",
        "metadata",
        "node_id",
        "producer_ids",
        "replicas",
        "start_task",
        "topics",
        "traffic",
    )

    # Listener name -> the endpoint that clients are told.
    advertised: dict[str, Endpoint]
    clock: Clock
    # ClusterMember; None for a broker on its own.
    cluster: Any
    cluster_id: str
    cold_reads: ColdReads
    config: ServerConfig
    deliver: Deliver
    fetch_sessions: FetchSessionCache
    flusher: Flusher
    # Groups, LogDirMoves and ProducerIds, which stand on this themselves.
    groups: Any
    log_dir_moves: Any
    loop: asyncio.AbstractEventLoop
    # None in a cluster, which keeps its metadata in ZooKeeper.
    metadata: MetadataLog | None
    node_id: int
    producer_ids: Any
    replicas: ReplicaManager
    # Runs a coroutine in the background; a failure is logged.
    start_task: Callable[[Coroutine[Any, Any, None]], Any]
    topics: Catalog
    traffic: Traffic
