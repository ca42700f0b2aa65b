"""What the parts of a cluster's member ask of each other, so that none has to know the whole."""

from typing import Any, Protocol

from kstore.cluster.image import BrokerEndpoint, ClusterImage
from kstore.cluster.zk.store import ClusterStore
from kstore.server.topics import Decision


class Membership(Protocol):
    image: ClusterImage
    store: ClusterStore
    broker_epoch: int
    is_stopping: bool

    def endpoint_of(self, broker_id: int) -> BrokerEndpoint:
        """Where a broker is reached. Raises BrokerUnreachableError for one that is not known to be alive."""

    async def ask_controller(self, request: Any, version: int, *, timeout_ms: int) -> Any:
        """The answer of the broker that controls. Raises BrokerUnreachableError."""


class TopicChanges(Protocol):
    """Who changes topics, if this broker controls."""

    @property
    def is_active(self) -> bool: ...

    async def change_topics(self, decide: Decision) -> None:
        """Raises KafkaError."""
