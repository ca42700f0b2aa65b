"""The broker's configuration: `server.properties`, overrides and changes made at run time, as attributes.

A ServerConfig never changes: `with_dynamic` gives a new one. An attribute is called as Kafka's key with
underscores for dots, so `socket.request.max.bytes` is `socket_request_max_bytes`; what needs more than its
type has a name of its own (`listeners`, `log_dirs`, `metadata_dir`, `topic_defaults`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kstore.errors import ConfigError

MIB = 1024 * 1024


class Endpoint(NamedTuple):
    """One listener: where to bind, or what to tell clients."""

    listener: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.listener}://{host}:{self.port}"


# Kafka's defaults, but for the first three, which Kafka leaves without a bound.
DEFAULTS: dict[str, Any] = {
    "max.connections": 10_000,
    "max.connections.per.ip": 5_000,
    "queued.max.request.bytes": 64 * MIB,
    "auto.create.topics.enable": True,
    "broker.rack": None,
    "connections.max.idle.ms": 600_000,
    "default.replication.factor": 1,
    "delete.topic.enable": True,
    "fetch.max.bytes": 55 * MIB,
    "log.flush.offset.checkpoint.interval.ms": 60_000,
    "log.flush.start.offset.checkpoint.interval.ms": 60_000,
    "log.initial.task.delay.ms": 30_000,
    "log.retention.check.interval.ms": 300_000,
    "max.incremental.fetch.session.cache.slots": 1000,
    "num.partitions": 1,
    "num.recovery.threads.per.data.dir": 1,
    "producer.id.expiration.check.interval.ms": 600_000,
    "producer.id.expiration.ms": 86_400_000,
    "queued.max.requests": 500,
    "replica.high.watermark.checkpoint.interval.ms": 5000,
    "request.timeout.ms": 30_000,
    "socket.listen.backlog.size": 50,
    "socket.receive.buffer.bytes": 102_400,
    "socket.request.max.bytes": 100 * MIB,
    "socket.send.buffer.bytes": 102_400,
}


class ServerConfig:
    """What this broker was told, in effect; `static` holds it as it was written, `notes` what to log at start."""

    node_id: int  # -1: what meta.properties says
    listeners: tuple[Endpoint, ...]
    advertised_listeners: tuple[Endpoint, ...]
    log_dirs: tuple[str, ...]
    metadata_dir: str
    topic_defaults: dict[str, str]  # topic key -> value, from the broker's own keys

    auto_create_topics_enable: bool
    broker_rack: str | None
    connections_max_idle_ms: int
    default_replication_factor: int
    delete_topic_enable: bool
    fetch_max_bytes: int
    log_flush_offset_checkpoint_interval_ms: int
    log_flush_start_offset_checkpoint_interval_ms: int
    log_initial_task_delay_ms: int
    log_retention_check_interval_ms: int
    max_connections: int
    max_connections_per_ip: int
    max_incremental_fetch_session_cache_slots: int
    num_partitions: int
    num_recovery_threads_per_data_dir: int
    producer_id_expiration_check_interval_ms: int
    producer_id_expiration_ms: int
    queued_max_request_bytes: int
    queued_max_requests: int
    replica_high_watermark_checkpoint_interval_ms: int
    request_timeout_ms: int
    socket_listen_backlog_size: int
    socket_receive_buffer_bytes: int
    socket_request_max_bytes: int
    socket_send_buffer_bytes: int

    def __init__(self, static: Mapping[str, str]) -> None:
        self.static = dict(static)
        self.notes: list[str] = []
        for name, default in DEFAULTS.items():
            setattr(
                self,
                name.replace(".", "_"),
                parse(name, static[name], default) if name in static else default,
            )
        self.node_id = int(static.get("node.id", static.get("broker.id", "-1")))
        self.listeners = parse_endpoints(static.get("listeners", "PLAINTEXT://:9092"))
        advertised = static.get("advertised.listeners")
        self.advertised_listeners = parse_endpoints(advertised) if advertised else self.listeners
        directories = static.get("log.dirs") or static.get("log.dir") or "/tmp/kafka-logs"
        self.log_dirs = tuple(part.strip() for part in directories.split(",") if part.strip())
        self.metadata_dir = static.get("metadata.log.dir") or self.log_dirs[0]
        self.topic_defaults = {}

    @classmethod
    def from_file(cls, path: str, overrides: Sequence[str] = ()) -> "ServerConfig":
        """The configuration in the properties file at `path`, changed by `key=value` overrides."""
        import javaproperties

        with open(path, encoding="latin-1") as file:
            static: dict[str, str] = javaproperties.load(file)
        return cls(static | parse_overrides(overrides))

    @classmethod
    def from_arguments(
        cls, data_dir: str, port: int, overrides: Sequence[str] = (), *, host: str = "127.0.0.1"
    ) -> "ServerConfig":
        """One broker for itself over `data_dir`, without a file: every replication factor is 1."""
        static = {"listeners": f"PLAINTEXT://{host}:{port}", "log.dirs": data_dir}
        return cls(static | parse_overrides(overrides))


def parse_overrides(overrides: Sequence[str]) -> dict[str, str]:
    values = {}
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"--override {override}: is not of the form key=value")
        values[key.strip()] = value.strip()
    return values


def parse(name: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        return text.strip().lower() == "true"
    return int(text) if isinstance(default, int) else text


def parse_endpoints(text: str) -> tuple[Endpoint, ...]:
    """The PLAINTEXT endpoints in `text`; a CONTROLLER listener has no use here."""
    endpoints = []
    for part in text.split(","):
        listener, _, address = part.strip().partition("://")
        host, _, port = address.rpartition(":")
        if listener != "CONTROLLER":
            endpoints.append(Endpoint(listener, host.strip("[]"), int(port)))
    return tuple(endpoints)
