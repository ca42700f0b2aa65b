"""The broker's configuration: `server.properties`, overrides and changes made at run time, as attributes.

A ServerConfig never changes: `with_dynamic` gives a new one. An attribute is called as Kafka's key with
underscores for dots, so `socket.request.max.bytes` is `socket_request_max_bytes`; what needs more than its
type has a name of its own (`listeners`, `log_dirs`, `metadata_dir`, `topic_defaults`). A value is the
broker's own dynamic one, else the cluster's dynamic one, else what file and arguments say, else the default
(KIP-226).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from kstore.cluster.zk.security import NOTHING, Security
from kstore.config_def import ConfigKey, ConfigValue
from kstore.errors import ConfigError, InvalidConfigError
from kstore.log.topic_keys import TOPIC_KEYS, broker_default
from kstore.replica.read_replica import SELECTORS
from kstore.server.config_check import faults_in, notes_on
from kstore.server.config_keys import broker_key, split_listener_prefix
from kstore.server.endpoints import Endpoint, parse_endpoints, parse_ip_overrides, parse_protocol_map
from kstore.server.properties_file import Property, parse_overrides, read_properties

# One broker on its own holds one replica of everything.
ONE_BROKER_DEFAULTS = {
    "offsets.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.replication.factor": "1",
}

DURATIONS = (("segment.ms", "log.roll.ms", 1), ("segment.jitter.ms", "log.roll.jitter.ms", 0))

MIB = 1024 * 1024

UNTIL = "until it has TLS and SASL"
META_PROPERTIES = "meta.properties"

Parsed = TypeVar("Parsed")


class ServerConfig:
    """What this broker was told, in effect; `notes` is what to log once at start."""

    node_id: int  # -1: what meta.properties says
    listeners: tuple[Endpoint, ...]  # those to bind: a controller's listener is not among them
    advertised_listeners: tuple[Endpoint, ...]  # the same names in the same order
    log_dirs: tuple[str, ...]
    metadata_dir: str
    topic_defaults: dict[str, ConfigValue]  # topic key -> value, from the broker's own keys
    ip_connection_limits: dict[str, int]  # max.connections.per.ip.overrides
    listener_connection_limits: dict[str, int]  # listener.name.<listener>.max.connections
    inter_broker_listener: str
    zookeeper_connection_timeout_ms: int
    zookeeper_security: Security
    notes: list[str]

    alter_log_dirs_replication_quota_window_num: int
    alter_log_dirs_replication_quota_window_size_seconds: int
    auto_create_topics_enable: bool
    auto_leader_rebalance_enable: bool
    broker_id_generation_enable: bool
    broker_rack: str | None
    connections_max_idle_ms: int
    controlled_shutdown_enable: bool
    controlled_shutdown_max_retries: int
    controlled_shutdown_retry_backoff_ms: int
    default_replication_factor: int
    delete_topic_enable: bool
    fetch_max_bytes: int
    follower_replication_throttled_rate: int
    group_initial_rebalance_delay_ms: int
    group_max_session_timeout_ms: int
    group_max_size: int
    group_min_session_timeout_ms: int
    leader_imbalance_check_interval_seconds: int
    leader_imbalance_per_broker_percentage: int
    leader_replication_throttled_rate: int
    log_cleaner_backoff_ms: int
    log_cleaner_dedupe_buffer_size: int
    log_cleaner_enable: bool
    log_cleaner_io_buffer_load_factor: float
    log_cleaner_io_buffer_size: int
    log_cleaner_io_max_bytes_per_second: float
    log_cleaner_threads: int
    log_flush_offset_checkpoint_interval_ms: int
    log_flush_scheduler_interval_ms: int
    log_flush_start_offset_checkpoint_interval_ms: int
    log_retention_check_interval_ms: int
    max_connections: int
    max_connections_per_ip: int
    max_incremental_fetch_session_cache_slots: int
    max_request_partition_size_limit: int
    message_max_bytes: int
    metadata_log_max_record_bytes_between_snapshots: int
    num_partitions: int
    num_replica_fetchers: int
    offset_metadata_max_bytes: int
    offsets_commit_required_acks: int
    offsets_commit_timeout_ms: int
    offsets_load_buffer_size: int
    offsets_retention_check_interval_ms: int
    offsets_retention_minutes: int
    offsets_topic_compression_codec: int
    offsets_topic_num_partitions: int
    offsets_topic_replication_factor: int
    offsets_topic_segment_bytes: int
    producer_id_expiration_check_interval_ms: int
    producer_id_expiration_ms: int
    queued_max_request_bytes: int  # -1: no bound
    replica_alter_log_dirs_io_max_bytes_per_second: int
    replica_fetch_backoff_ms: int
    replica_fetch_max_bytes: int
    replica_fetch_min_bytes: int
    replica_fetch_response_max_bytes: int
    replica_fetch_wait_max_ms: int
    replica_high_watermark_checkpoint_interval_ms: int
    replica_lag_time_max_ms: int
    replica_selector_class: str | None
    replica_socket_receive_buffer_bytes: int
    replica_socket_timeout_ms: int
    replication_quota_window_num: int
    replication_quota_window_size_seconds: int
    reserved_broker_max_id: int
    socket_listen_backlog_size: int
    socket_receive_buffer_bytes: int  # -1: the system's
    socket_request_max_bytes: int
    socket_send_buffer_bytes: int  # -1: the system's
    zookeeper_connect: str | None  # None for a broker on its own
    zookeeper_session_timeout_ms: int

    def __init__(
        self,
        properties: Sequence[Property],
        *,
        defaults: Mapping[str, str] | None = None,
        cluster: Mapping[str, str] | None = None,
        broker: Mapping[str, str] | None = None,
    ) -> None:
        self.properties = properties
        self.static = {entry.key: entry.value.strip() for entry in properties}
        for name, other in (("node.id", "broker.id"), ("broker.id", "node.id")):
            # Either says both (KafkaConfig.populateSynonyms).
            if name in self.static:
                self.static.setdefault(other, self.static[name])
        self.defaults = dict(defaults or {})
        self.cluster = dict(cluster or {})
        self.broker = dict(broker or {})
        if faults := faults_in(properties):
            raise ConfigError("\n".join(faults))
        for attribute in ServerConfig.__annotations__:
            if key := broker_key(attribute.replace("_", ".")):
                setattr(self, attribute, self.value(key.name))
        self.notes = notes_on(properties)
        self._faults: list[str] = []
        self._set_identity()
        self._set_listeners()
        self._set_limits()
        self._set_groups()
        self._set_storage()
        self._set_cluster()
        if self._faults:
            raise ConfigError("\n".join(self._faults))

    @classmethod
    def from_file(cls, path: str, overrides: Sequence[str] = ()) -> "ServerConfig":
        """The configuration in the file at `path`, changed by `key=value` overrides. Raises ConfigError."""
        return cls([*read_properties(path), *parse_overrides(tuple(overrides))])

    @classmethod
    def from_arguments(
        cls, data_dir: str, port: int, overrides: Sequence[str] = (), *, host: str = "127.0.0.1"
    ) -> "ServerConfig":
        """One broker for itself over `data_dir`, without a file: every replication factor is 1."""
        address = f"[{host}]" if ":" in host else host
        arguments = [
            Property("listeners", f"PLAINTEXT://{address}:{port}", "--port"),
            Property("log.dirs", data_dir, "--data-dir"),
        ]
        return cls([*arguments, *parse_overrides(tuple(overrides))], defaults=ONE_BROKER_DEFAULTS)

    def with_dynamic(self, cluster: Mapping[str, str], broker: Mapping[str, str]) -> "ServerConfig":
        """This configuration under the dynamic values of the cluster and of this broker."""
        return ServerConfig(self.properties, defaults=self.defaults, cluster=cluster, broker=broker)

    def with_node_id(self, node_id: int) -> "ServerConfig":
        """This configuration of the node that its directories belong to, where nobody else said its number."""
        if self.node_id >= 0:
            return self
        found = Property("node.id", str(node_id), META_PROPERTIES)
        return ServerConfig([*self.properties, found], defaults=self.defaults, cluster=self.cluster, broker=self.broker)

    def default_of(self, key: ConfigKey) -> str | None:
        if key.name == "queued.max.request.bytes" and int(self.static.get("socket.request.max.bytes", 0)):
            # The largest request must fit, or it would wait for ever.
            return str(max(int(key.default or 0), int(self.static["socket.request.max.bytes"])))
        return self.defaults.get(key.name, key.default)

    def text_of(self, key: ConfigKey) -> str | None:
        """What is in effect for `key`, as it was written."""
        for layer in (self.broker, self.cluster, self.static):
            if key.name in layer:
                return layer[key.name]
        return self.default_of(key)

    def value(self, name: str) -> Any:
        """What is in effect for the key `name`."""
        key = broker_key(name)
        assert key is not None, f"{name} is not in the table of broker keys"
        return key.parse(self.text_of(key))

    def is_set(self, name: str) -> bool:
        return name in self.broker or name in self.cluster or name in self.static

    def _parsed(self, name: str, parser: Callable[[str], Parsed]) -> Parsed:
        try:
            return parser(self.value(name) or "")
        except InvalidConfigError as error:
            self._fault(name, str(error))
            return parser("")

    def _fault(self, name: str, message: str) -> None:
        origins = [entry.origin for entry in self.properties if entry.key == name]
        self._faults.append(f"{origins[-1] if origins else 'default'}: {name}: {message}")

    def _set_identity(self) -> None:
        node_id, broker_id = self.value("node.id"), self.value("broker.id")
        if node_id >= 0 and broker_id >= 0 and node_id != broker_id:
            self._fault("broker.id", f"{broker_id} is not node.id, {node_id}; leave one of the two out")
        self.node_id = node_id if node_id >= 0 else broker_id
        roles = self.value("process.roles")
        if roles and "broker" not in roles:
            self._fault("process.roles", "kstore is a broker; write broker,controller")
        if roles and "controller" not in roles:
            self._fault("process.roles", "kstore is its own controller; write broker,controller")
        voters = self.value("controller.quorum.voters")
        if len(voters) > 1:
            self._fault("controller.quorum.voters", f"names {len(voters)} voters; kstore is its own and only one")
        elif voters and voters[0].partition("@")[0] != str(self.node_id):
            self._fault("controller.quorum.voters", f"{voters[0]!r} is not of the form {self.node_id}@host:port")
        if len(servers := self.value("controller.quorum.bootstrap.servers")) > 1:
            self._fault("controller.quorum.bootstrap.servers", f"names {len(servers)}; kstore is its own and only one")

    def _set_listeners(self) -> None:
        """`listeners` and `advertised_listeners`, without a controller's, which kstore does not bind."""
        names = self.value("controller.listener.names") or ""
        controllers = {name.strip().upper() for name in names.split(",")}
        listeners = self._parsed("listeners", parse_endpoints)
        self.listeners = tuple(endpoint for endpoint in listeners if endpoint.listener not in controllers)
        for endpoint in listeners:
            if endpoint.listener in controllers:
                self.notes.append(f"listener {endpoint} is not bound: this broker is its own controller")
        if listeners and not self.listeners:
            self._fault("listeners", "none is left for clients; write for example PLAINTEXT://:9092")
        self._check_protocols()
        advertised = listeners
        if self.value("advertised.listeners"):
            advertised = self._parsed("advertised.listeners", parse_endpoints)
        self._set_advertised({each.listener: each for each in advertised if each.listener not in controllers})

    def _check_protocols(self) -> None:
        protocols = self._parsed("listener.security.protocol.map", parse_protocol_map)
        for endpoint in self.listeners:
            protocol = protocols.get(endpoint.listener)
            if protocol is None:
                self._fault("listeners", f"{endpoint.listener} is not in listener.security.protocol.map")
            elif protocol != "PLAINTEXT":
                self._fault("listeners", f"{endpoint} is {protocol}; kstore has PLAINTEXT only, {UNTIL}")
        if self.value("security.inter.broker.protocol") != "PLAINTEXT":
            self._fault("security.inter.broker.protocol", f"kstore has PLAINTEXT only, {UNTIL}")

    def _set_advertised(self, advertised: Mapping[str, Endpoint]) -> None:
        names = [endpoint.listener for endpoint in self.listeners]
        where = "advertised.listeners" if self.value("advertised.listeners") else "listeners"
        for name in advertised:
            if name not in names:
                self._fault(where, f"{name} is not among listeners")
        told = [advertised[name] for name in names if name in advertised]
        if any(endpoint.host == "0.0.0.0" for endpoint in told):
            self._fault(where, "no client can reach 0.0.0.0; set advertised.listeners")
        inter_broker = self.value("inter.broker.listener.name")
        if inter_broker and inter_broker.upper() not in advertised:
            self._fault("inter.broker.listener.name", f"{inter_broker} is not among {where}")
        self.advertised_listeners = tuple(
            endpoint._replace(host=endpoint.host or _own_host_name()) for endpoint in told
        )

    def _set_limits(self) -> None:
        largest = self.socket_request_max_bytes
        if 0 < self.queued_max_request_bytes < largest:
            self._fault("queued.max.request.bytes", f"is less than socket.request.max.bytes, {largest}")
        overrides = "max.connections.per.ip.overrides"
        self.ip_connection_limits = self._parsed(overrides, parse_ip_overrides)
        if self.max_connections_per_ip == 0 and not self.ip_connection_limits:
            self._fault("max.connections.per.ip", f"0 lets in only those in {overrides}, which is empty")
        self.listener_connection_limits = {}
        for layer in (self.static, self.cluster, self.broker):
            for name, text in layer.items():
                prefixed = split_listener_prefix(name)
                if prefixed and prefixed.name == "max.connections":
                    self.listener_connection_limits[prefixed.listener.upper()] = int(text)

    def _set_groups(self) -> None:
        if not 0 <= self.offsets_topic_compression_codec <= 4:
            self._fault("offsets.topic.compression.codec", "must be 0 none, 1 gzip, 2 snappy, 3 lz4 or 4 zstd")
        if self.group_max_session_timeout_ms < self.group_min_session_timeout_ms:
            least = self.group_min_session_timeout_ms
            self._fault("group.max.session.timeout.ms", f"is less than group.min.session.timeout.ms, {least}")
        if not -1 <= self.offsets_commit_required_acks <= self.offsets_topic_replication_factor:
            self._fault("offsets.commit.required.acks", "must be -1, or from 0 to offsets.topic.replication.factor")

    def _set_storage(self) -> None:
        directories = self.value("log.dirs") or self.value("log.dir")
        self.log_dirs = tuple(dict.fromkeys(filter(None, map(str.strip, directories.split(",")))))
        if not self.log_dirs:
            self._fault("log.dirs", "must name a directory")
        self.metadata_dir = self.value("metadata.log.dir") or (self.log_dirs or ("",))[0]
        if self.log_cleaner_threads < 1:
            self._fault("log.cleaner.threads", "must be 1 or more; log.cleaner.enable=false is for no cleaning")
        elif self.log_cleaner_dedupe_buffer_size // self.log_cleaner_threads < MIB:
            self._fault("log.cleaner.dedupe.buffer.size", "must be 1 MiB or more for each of log.cleaner.threads")
        self.topic_defaults = {name: broker_default(name, self.value) for name in TOPIC_KEYS}
        for name, broker_name, least in DURATIONS:
            milliseconds = self.topic_defaults[name]
            assert isinstance(milliseconds, int)
            if milliseconds < least:
                self._fault(broker_name, f"{milliseconds} ms is less than {least} ms")
        if self.topic_defaults["retention.ms"] == 0:
            self._fault("log.retention.ms", "must be -1 for ever, or 1 and more; not 0")

    def _set_cluster(self) -> None:
        """With `zookeeper.connect` the broker is a member of a cluster; `inter_broker_listener` is where the others
        reach it."""
        name = self.value("inter.broker.listener.name") or self.value("security.inter.broker.protocol")
        self.inter_broker_listener = str(name).upper()
        if self.replica_selector_class not in (None, *SELECTORS):
            known = " or ".join(SELECTORS)
            self._fault("replica.selector.class", f"kstore has {known}, not {self.replica_selector_class}")
        if self.num_replica_fetchers < 1:
            self._fault("num.replica.fetchers", "must be 1 or more")
        timeout_ms = self.value("zookeeper.connection.timeout.ms")
        self.zookeeper_connection_timeout_ms = int(timeout_ms or self.zookeeper_session_timeout_ms)
        self.zookeeper_security = NOTHING
        if not self.zookeeper_connect:
            return
        self._check_broker_id()
        if self.value("process.roles"):
            self._fault("process.roles", "kstore is a member of a ZooKeeper cluster, or a node of its own; not both")
        version = self.value("inter.broker.protocol.version")
        if not str(version).startswith("3.9"):
            self._fault("inter.broker.protocol.version", f"kstore speaks 3.9 with other brokers, not {version}")
        if not any(endpoint.listener == self.inter_broker_listener for endpoint in self.advertised_listeners):
            self._fault("listeners", f"{self.inter_broker_listener}, for the other brokers, is not among them")
        if self.value("zookeeper.metadata.migration.enable"):
            self._fault("zookeeper.metadata.migration.enable", "kstore does not do this yet; leave it out")
        # What a broker on its own does not load.
        from kstore.server.zookeeper_security import zookeeper_security

        self.zookeeper_security = zookeeper_security(self.value, os.environ, self._fault)

    def _check_broker_id(self) -> None:
        """Ids above `reserved.broker.max.id` are those that are made up, and then stand in meta.properties."""
        most = self.reserved_broker_max_id
        is_given = any(
            entry.key in ("broker.id", "node.id") and entry.origin != META_PROPERTIES and int(entry.value) >= 0
            for entry in self.properties
        )
        if is_given and self.broker_id_generation_enable and self.node_id > most:
            self._fault("broker.id", f"{self.node_id} is above reserved.broker.max.id, {most}: such ids are made up")


def _own_host_name() -> str:
    import socket

    return socket.getfqdn()
