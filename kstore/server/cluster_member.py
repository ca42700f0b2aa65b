"""This broker as a member of a cluster: registered in ZooKeeper, told by the controller what it leads and follows.

Requests of a controller that has been replaced, or meant for an earlier registration of this broker, change nothing
(rule 46; ReplicaManager.becomeLeaderOrFollower, ZkBrokerEpochManager).
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kstore.client.broker_client import BrokerClient
from kstore.cluster.image import TOPIC_RESOURCE, BrokerEndpoint, ClusterImage
from kstore.cluster.topic_names import validate_topic_name
from kstore.cluster.zk.configs import ConfigStore
from kstore.cluster.zk.log_dir_events import EVENT_PREFIX, log_dir_event_json
from kstore.cluster.zk.session import CONNECTED, LOST, SUSPENDED, Session
from kstore.cluster.zk.store import ClusterStore
from kstore.cluster.zk.wishes import Wishes
from kstore.errors import (
    NONE,
    BrokerUnreachableError,
    ConfigError,
    CoordinatorNotAvailableError,
    CorruptMetadataError,
    InvalidRequestError,
    InvalidTopicError,
    KafkaStorageError,
    SessionLostError,
    StaleBrokerEpochError,
    StaleControllerEpochError,
)
from kstore.log.incarnation import begin_incarnation, continue_incarnation, read_boot_id
from kstore.log.manager import LogManager
from kstore.log.meta_properties import read_meta_properties
from kstore.model import ZERO_UUID, TopicPartition, uuid_to_text
from kstore.protocol.messages.controlled_shutdown import ControlledShutdownRequest
from kstore.replica.effects import IsrProposed
from kstore.server.cluster_configs import ClusterConfigs
from kstore.server.cluster_controller import ClusterController
from kstore.server.cluster_image import updated
from kstore.server.config import ServerConfig
from kstore.server.isr_proposals import IsrProposals
from kstore.server.peer_check import check_peers
from kstore.server.replica_fetchers import ReplicaFetchers
from kstore.server.topics import log_config

if TYPE_CHECKING:
    from kstore.server.context import Context

log = logging.getLogger(__name__)

CONTROLLED_SHUTDOWN_VERSION = 3
SHUTDOWN_TIMEOUT_MS = 10_000
REGISTER_RETRY_S = 0.5


class ClusterMember:
    def __init__(self, context: "Context", config: ServerConfig, *, boot_id: str | None = None) -> None:
        assert config.zookeeper_connect is not None
        self._boot_id = boot_id or read_boot_id()
        self._incarnation = ""
        self._context = context
        self._config = config
        self.image = ClusterImage()
        self.broker_epoch = -1
        self.controller_epoch = 0
        self.is_stopping = False
        self.is_registered = False
        # Partitions whose replicas are being changed, as far as the controller has told this broker.
        self.reassigning: set[TopicPartition] = set()
        # Whether the controller has spoken to this registration of the broker: before that it may believe in what it
        # led before its session was over (rule 49).
        self.is_confirmed = False
        self._is_connected = False
        # To controllers: id, host and port of each.
        self._clients: dict[tuple[int, str, int], BrokerClient] = {}
        self.session = Session(
            config.zookeeper_connect,
            loop=context.loop,
            timeout_ms=config.zookeeper_session_timeout_ms,
            connection_timeout_ms=config.zookeeper_connection_timeout_ms,
            changed=self._session_changed,
            security=config.zookeeper_security,
        )
        self.store = ClusterStore(self.session)
        self.configs = ConfigStore(self.session)
        self.wishes = Wishes(self.session)
        self.controller = ClusterController(context, self)
        self.config_changes = ClusterConfigs(context, self, self.controller.watches.configs_changed)
        self.fetchers = ReplicaFetchers(context, self)
        self.proposals = IsrProposals(context, self)

    # --- joining and leaving ---

    async def connect(self, logs: LogManager) -> None:
        """Reads what has to be known before the logs are loaded. Raises ConfigError, CorruptMetadataError."""
        await self.session.start()
        await self.store.prepare()
        cluster_id = await self.store.cluster_id()
        for live in logs.live_dirs:
            refuse_kraft_mode(live.path)
        if logs.cluster_id not in (None, "", cluster_id):
            raise ConfigError(
                f"{logs.live_dirs[0].path} belongs to cluster {logs.cluster_id}, and zookeeper.connect leads to"
                f" {cluster_id}"
            )
        logs.write_owner(cluster_id, await self._id_of_its_own(logs), version=0)
        self._incarnation = continue_incarnation(logs.dirs, self._boot_id)
        await self.config_changes.read_all(logs.node_id)

    async def _id_of_its_own(self, logs: LogManager) -> int:
        """What the configuration says, else the directories, else a new one (KafkaServer.getOrGenerateBrokerId)."""
        config = self._config
        if logs.node_id >= 0:
            return logs.node_id
        if not config.broker_id_generation_enable:
            raise ConfigError("broker.id: none is given, and broker.id.generation.enable is false")
        broker_id = await self.store.generate_broker_id(config.reserved_broker_max_id)
        log.info("this broker has the new id %d", broker_id)
        return broker_id

    async def register(self) -> None:
        """From here on the controller may speak to this broker. Raises ConfigError."""
        dirs = self._context.replicas.logs.dirs
        if any(log_dir.has_lost_batches for log_dir in dirs):
            self._incarnation = begin_incarnation(dirs, self._boot_id)
        brokers = await self.store.brokers()
        await check_peers(brokers.values(), self._config.inter_broker_listener, node_id=self._context.node_id)
        await self._register()

    async def join(self) -> None:
        """Follows what happens in the cluster, and controls it if nobody does. To be called when it is registered."""
        await self.config_changes.follow()
        await self.controller.look()

    async def _register(self) -> None:
        endpoints = [BrokerEndpoint(each.listener, each.host, each.port) for each in self._context.advertised.values()]
        # The znode of a process that was killed stays until its session is over.
        loop = self._context.loop
        deadline = loop.time() + 2 * self._config.zookeeper_session_timeout_ms / 1000
        while True:
            expirations = self.session.expirations
            try:
                epoch = await self.store.register(
                    self._context.node_id,
                    endpoints,
                    rack=self._config.broker_rack,
                    incarnation=self._incarnation,
                    now_ms=self._context.clock.now_ms(),
                )
            except ConfigError as error:
                if loop.time() > deadline:
                    raise
                log.warning("waiting to be registered: %s", error)
                await asyncio.sleep(REGISTER_RETRY_S)
            else:
                if self.session.expirations != expirations:
                    # The registration went with the session, and the next one has none.
                    raise SessionLostError("the session ended while this broker was registered")
                self.broker_epoch, self.is_registered = epoch, True
                log.info("broker %d is registered with epoch %d", self._context.node_id, self.broker_epoch)
                return

    async def ask_to_shut_down(self) -> None:
        """Has the controller move elsewhere what this broker leads, as far as others are in sync; stops without that
        after some tries (KafkaServer.controlledShutdown)."""
        config = self._config
        if not config.controlled_shutdown_enable:
            return
        for left in reversed(range(config.controlled_shutdown_max_retries)):
            if await self._is_let_go():
                return
            if left:
                await asyncio.sleep(config.controlled_shutdown_retry_backoff_ms / 1000)
        log.warning("controlled shutdown: this broker stops without it")

    async def _is_let_go(self) -> bool:
        """Whether the controller has moved all that it could."""
        if not self._is_connected:
            log.warning("controlled shutdown: ZooKeeper is away, nobody can take over what this broker leads")
            return False
        request = ControlledShutdownRequest(broker_id=self._context.node_id, broker_epoch=self.broker_epoch)
        try:
            answer = await self.ask_controller(request, CONTROLLED_SHUTDOWN_VERSION, timeout_ms=SHUTDOWN_TIMEOUT_MS)
        except (BrokerUnreachableError, InvalidRequestError) as error:
            log.warning("controlled shutdown: %s", error)
            return False
        if answer.error_code == NONE and not answer.remaining_partitions:
            return True
        left = [f"{each.topic_name}-{each.partition_index}" for each in answer.remaining_partitions]
        log.warning("controlled shutdown: error %d, left: %s", answer.error_code, left)
        return False

    async def finish_controlling(self) -> None:
        """Waits until the others know what this broker has decided as their controller."""
        if self._is_connected:
            await self.controller.finish()

    def stop(self) -> None:
        """Fetches and proposes no more."""
        self.is_stopping = True
        self.fetchers.stop()
        self.controller.stop()
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    async def close(self) -> None:
        """Ends the session; this broker is not registered any more."""
        await self.session.close()

    # --- the session ---

    def _session_changed(self, state: str) -> None:
        log.info("the session with ZooKeeper is %s", state)
        self._is_connected = state == CONNECTED
        if state == SUSPENDED or self.is_stopping:
            return
        if state == LOST:
            self.is_registered = self.is_confirmed = False
            self.config_changes.lost()
            self.controller.resign("the session with ZooKeeper is over")
        elif state == CONNECTED and self._context.loop.is_running():
            self._context.start_task(self._reconnected())

    async def _reconnected(self) -> None:
        """Watches may have been lost meanwhile, and after an expired session the registration too (rule 48)."""
        if self.broker_epoch < 0:
            return  # the first connection
        while self._is_connected and not self.is_stopping:
            try:
                if not self.is_registered:
                    await self._register_again()
                await self.config_changes.follow()
                await self.controller.look(anew=True)
            except (SessionLostError, CorruptMetadataError) as error:
                # Nothing else would have this broker registered while the connection stays.
                log.warning("%s", error)
                await asyncio.sleep(REGISTER_RETRY_S)
            else:
                return

    async def _register_again(self) -> None:
        """As long as it takes: somebody else may have the id, or the address, for a while. Raises SessionLostError."""
        while not self.is_registered and not self.is_stopping:
            try:
                await self._register()
            except ConfigError as error:
                log.error("this broker is not registered: %s", error)
                await asyncio.sleep(REGISTER_RETRY_S)

    # --- other brokers ---

    def endpoint_of(self, broker_id: int) -> BrokerEndpoint:
        """Where a broker is reached. Raises BrokerUnreachableError for one that is not known to be alive."""
        broker = self.image.brokers.get(broker_id)
        endpoint = None if broker is None else broker.endpoint_of(self._config.inter_broker_listener)
        if endpoint is None:
            raise BrokerUnreachableError(f"broker {broker_id} is not alive, as far as the controller has told")
        return endpoint

    async def ask_controller(self, request: Any, version: int, *, timeout_ms: int) -> Any:
        """The answer of the broker that controls. Raises BrokerUnreachableError."""
        controller_id = self.controller.known_id
        if controller_id is None:
            controller_id = self.image.controller_id
        endpoint = self.endpoint_of(controller_id)
        key = (controller_id, endpoint.host, endpoint.port)
        client = self._clients.get(key)
        if client is None:
            name = f"broker-{self._context.node_id}-to-controller"
            client = self._clients[key] = BrokerClient(endpoint.host, endpoint.port, client_id=name)
        return await client.ask(request, version, timeout_ms=timeout_ms)

    def controller_is(self, controller_id: int) -> None:
        """What was asked of an earlier one is not waited for: it may be paused, and its answer counts no more."""
        for key in [key for key in self._clients if key[0] != controller_id]:
            self._clients.pop(key).close()

    async def claim_producer_ids(self) -> int:
        """A block of ids out of ZooKeeper itself; the controller would do the same. Raises KafkaError."""
        try:
            return await self.store.claim_producer_ids(self._context.node_id)
        except (SessionLostError, CorruptMetadataError) as error:
            raise CoordinatorNotAvailableError(str(error)) from None

    # --- what the replica floor has to say ---

    def following_began(self, topic_partition: TopicPartition, leader_id: int) -> None:
        self.fetchers.add(topic_partition, leader_id)

    def following_ended(self, topic_partition: TopicPartition) -> None:
        self.fetchers.remove(topic_partition)

    def isr_proposed(self, proposal: IsrProposed) -> None:
        self.proposals.add(proposal)

    def log_dir_failed(self) -> None:
        """Tells the controller, in the end."""

        async def tell() -> None:
            while not self.is_stopping:
                try:
                    await self.session.create(EVENT_PREFIX, log_dir_event_json(self._context.node_id), sequential=True)
                except SessionLostError as error:
                    log.warning("the controller is not told yet of a log directory that failed: %s", error)
                    await asyncio.sleep(REGISTER_RETRY_S)
                else:
                    return

        self._context.start_task(tell())

    # --- what the controller has to say ---

    def check_sender(self, request: Any) -> None:
        """Raises StaleControllerEpochError, StaleBrokerEpochError (rule 46)."""
        if request.controller_epoch < self.controller_epoch:
            raise StaleControllerEpochError(
                f"controller {request.controller_id} has epoch {request.controller_epoch}, and there is one with"
                f" {self.controller_epoch}"
            )
        if -1 < request.broker_epoch < self.broker_epoch:
            raise StaleBrokerEpochError(f"broker epoch {request.broker_epoch} is over, this is {self.broker_epoch}")
        self.controller_epoch = request.controller_epoch

    def confirmed(self, request: Any) -> None:
        """A LeaderAndIsr was taken: what this broker leads is what the controller says from here on."""
        if self.is_registered and request.broker_epoch in (-1, self.broker_epoch):
            self.is_confirmed = True

    async def know_configs(self, names: Iterable[str]) -> None:
        """Reads the configurations of topics that are new to this broker, before their logs are made."""
        await self.config_changes.know(names)

    def is_new_here(self, name: str, indexes: Iterable[int]) -> bool:
        return any((name, index) not in self._context.replicas.partitions for index in indexes)

    def lead_or_follow(self, key: TopicPartition, topic_id: bytes, state: Any) -> int:
        """Takes one partition's part of LeaderAndIsr; gives its error code. Raises KafkaError."""
        context = self._context
        replicas = context.replicas
        held = replicas.partitions.get(key)
        if held is None:
            # Directories are named after it: anybody may have written this request, and the znode that it tells of.
            validate_topic_name(key.topic)
            if key.partition < 0:
                raise InvalidTopicError(f"there is no partition {key}")
            if self._knows_later_epoch(key, topic_id, state.leader_epoch):
                return StaleControllerEpochError.code
        if held is not None and state.leader_epoch <= held.leader_epoch:
            if state.leader_epoch == held.leader_epoch and held.log.topic_id is None and topic_id != ZERO_UUID:
                held.log.assign_topic_id(topic_id)
                return NONE
            return StaleControllerEpochError.code
        config = log_config(context.config, self.image.topic_config(key.topic))
        now_ms = context.clock.now_ms()
        if state.leader == context.node_id:
            effects = replicas.lead(
                key,
                topic_id=topic_id,
                directory_id=None,
                config=config,
                epoch=state.leader_epoch,
                replicas=tuple(state.replicas),
                isr=frozenset(state.isr),
                is_new=state.is_new,
                now_ms=now_ms,
                monotonic_ms=context.clock.monotonic_ms(),
                partition_epoch=state.partition_epoch,
            )
        else:
            effects = replicas.follow(
                key,
                topic_id=topic_id,
                config=config,
                leader_id=state.leader,
                epoch=state.leader_epoch,
                is_new=state.is_new,
                now_ms=now_ms,
            )
        context.deliver(effects)
        is_changing = state.adding_replicas or state.removing_replicas
        (self.reassigning.add if is_changing else self.reassigning.discard)(key)
        if key in replicas.offline:
            return KafkaStorageError.code
        role = "leads" if state.leader == context.node_id else f"follows broker {state.leader}"
        log.info("%s: this broker %s in epoch %d, in sync are %s", key, role, state.leader_epoch, state.isr)
        return NONE

    def is_known(self, topic: str, index: int) -> bool:
        """Whether the controller has told of a partition, wherever it lies."""
        known = self.image.topics.get(topic)
        return known is not None and index in known.partitions

    def _knows_later_epoch(self, key: TopicPartition, topic_id: bytes, leader_epoch: int) -> bool:
        """Whether a replica that was let go of has gone on in other hands: what comes late must not bring it back."""
        topic = self.image.topics.get(key.topic)
        known = None if topic is None or topic.id != topic_id else topic.partitions.get(key.partition)
        return known is not None and leader_epoch < known.leader_epoch

    def know(self, told: Any) -> None:
        """Takes an UpdateMetadata."""
        before = self.image
        self.image = updated(before, told)
        if self.image.controller_id != before.controller_id:
            self.controller_is(self.image.controller_id)
        alive = self._context.replicas.alive
        assert alive is not None
        alive.clear()
        alive.update(self.image.brokers)
        self._let_go_of_what_others_have(told)
        gone = [name for name in before.topics if name not in self.image.topics]
        if gone:
            doomed = {(TOPIC_RESOURCE, name) for name in gone}
            configs = {key: found for key, found in self.image.configs.items() if key not in doomed}
            self.image = self.image._replace(configs=configs)
            self._context.groups.topics_deleted(gone)

    def _let_go_of_what_others_have(self, told: Any) -> None:
        """Stops what this broker is no replica of any more. A broker whose session had ended when its replica was taken
        from it was told nothing then, and would lead on for all who do not ask who leads."""
        context = self._context
        replicas = context.replicas
        for topic in told.topic_states:
            for state in topic.partition_states:
                key = TopicPartition(topic.topic_name, state.partition_index)
                held = replicas.partitions.get(key)
                if held is None:
                    continue
                if held.log.topic_id not in (None, ZERO_UUID, topic.topic_id) and topic.topic_id != ZERO_UUID:
                    why = f"there is another topic of this name, {uuid_to_text(topic.topic_id)}"
                elif state.leader_epoch > held.leader_epoch and context.node_id not in state.replicas:
                    why = f"its replicas are {list(state.replicas)} in epoch {state.leader_epoch}"
                else:
                    continue
                log.info("%s: this broker lets go of its replica: %s", key, why)
                context.deliver(replicas.stop(key))


def refuse_kraft_mode(path: str) -> None:
    """Raises ConfigError for a directory whose topics are written in itself."""
    found = read_meta_properties(path)
    if found is not None and found.version != 0:
        raise ConfigError(
            f"{path} belongs to a node that keeps its topics in the directory itself (meta.properties version"
            f" {found.version}); zookeeper.connect would forget them. Name an empty directory in log.dirs, or leave"
            " zookeeper.connect out"
        )
