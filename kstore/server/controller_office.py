"""What the parts of a controller need of its office, so that none has to know the whole (cluster_controller.py)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from kstore.cluster.controller import Controller
from kstore.cluster.image import BrokerImage
from kstore.cluster.notices import Notice
from kstore.cluster.plan import Plan
from kstore.cluster.standing import Doubt
from kstore.cluster.zk.fencing import Elected
from kstore.model import TopicPartition
from kstore.server.log_ends import Heard

Told = list[asyncio.Future[Any]]


class Office(Protocol):
    @property
    def is_active(self) -> bool: ...

    def active(self) -> Controller:
        """Raises NotControllerError."""

    @property
    def elected(self) -> Elected:
        """Of the term of office that lasts. Raises NotControllerError."""

    def office(self) -> AbstractAsyncContextManager[Controller]:
        """What decides, for one event. Raises NotControllerError, also when the event ends the term of office."""

    async def in_office(self, event: Callable[[Controller], Awaitable[Any]], *, term: Controller | None = None) -> None:
        """Runs an event that nobody waits for."""

    def take_office(self, decisions: Controller, brokers: Mapping[int, BrokerImage]) -> None: ...

    def match_channels(self, brokers: Mapping[int, BrokerImage]) -> None: ...

    async def carry_out(self, plan: Plan) -> Told:
        """Writes, then tells; gives what completes when the brokers have answered."""

    async def settle(self, plan: Plan) -> Told:
        """As `carry_out`, and what follows when brokers or directories have come or gone."""

    def compare_ends(self) -> None:
        """Asks the replicas of what is doubted what they hold (rule 26)."""

    async def ask_ends(self, doubts: Mapping[TopicPartition, Doubt]) -> Heard:
        """What replicas hold. Raises NotControllerError."""

    async def elect_unclean(self) -> Told:
        """Leaders for what nobody in sync can lead, where that is allowed."""

    def tell(self, notices: Sequence[Notice]) -> Told: ...
