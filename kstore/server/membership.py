"""What the parts of a cluster's member ask of each other, so that none has to know the whole."""

from collections.abc import Mapping
from typing import Any, Protocol

from kstore.cluster.image import BrokerEndpoint, BrokerImage, ClusterImage
from kstore.cluster.zk.configs import ConfigStore
from kstore.cluster.zk.store import ClusterStore
from kstore.cluster.zk.wishes import Wishes
from kstore.server.topics import Decision


class Membership(Protocol):
    image: ClusterImage
    store: ClusterStore
    configs: ConfigStore
    wishes: Wishes
    broker_epoch: int
    is_stopping: bool

    def endpoint_of(self, broker_id: int) -> BrokerEndpoint:
        """Where a broker is reached. Raises BrokerUnreachableError for one that is not known to be alive."""

    async def ask_controller(self, request: Any, version: int, *, timeout_ms: int) -> Any:
        """The answer of the broker that controls. Raises BrokerUnreachableError."""

    def controller_is(self, controller_id: int) -> None:
        """What was asked of an earlier one is not waited for."""


class TopicChanges(Protocol):
    """Who changes topics, if this broker controls."""

    @property
    def is_active(self) -> bool: ...

    @property
    def brokers(self) -> Mapping[int, BrokerImage]:
        """Those that are alive. Raises NotControllerError."""

    async def change_topics(self, decide: Decision) -> None:
        """Raises KafkaError."""
