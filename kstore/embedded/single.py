"""A directory that is one log: `.lock`, checkpoints, and one partition. See `Log.open`.

    events/.lock
    events/recovery-point-offset-checkpoint ...    as in every log directory
    events/log-0/00000000000000000000.log ...      as in every partition

It has no meta.properties and no metadata log, so no broker takes it for its own; `LogStore.open` takes it in, as its
first topic, and then it has.
"""

import os
from collections.abc import Mapping

from kstore.clock import Clock, SystemClock
from kstore.embedded.host import LocalHost
from kstore.embedded.options import OptionValue, log_config, topic_configs
from kstore.embedded.ram import discard, memory_directory, remove_with
from kstore.errors import ConfigError, KafkaStorageError
from kstore.log.config import LogConfig
from kstore.log.directory import (
    DELETE_DIR_SUFFIX,
    FUTURE_DIR_SUFFIX,
    LOG_SUFFIX,
    STRAY_DIR_SUFFIX,
    parse_partition_dir_name,
)
from kstore.log.manager import LogManager
from kstore.log.meta_properties import META_PROPERTIES
from kstore.model import TopicPartition
from kstore.replica.partition import Partition

ONLY = TopicPartition("log", 0)
NODE = 0
SET_ASIDE = (DELETE_DIR_SUFFIX, FUTURE_DIR_SUFFIX, STRAY_DIR_SUFFIX)


def open_single(
    path: str | os.PathLike[str] | None,
    options: Mapping[str, OptionValue],
    *,
    clock: Clock | None,
    background: bool,
) -> tuple[LocalHost, Partition]:
    config = log_config(topic_configs(options))
    clock = clock or SystemClock()
    directory = memory_directory() if path is None else os.fspath(path)
    try:
        host, partition = open_directory(directory, config, clock, background=background)
    except BaseException:
        if path is None:
            discard(directory)
        raise
    if path is None:
        host.on_closed = remove_with(host, directory)
    return host, partition


def open_directory(directory: str, config: LogConfig, clock: Clock, *, background: bool) -> tuple[LocalHost, Partition]:
    refuse_others(directory)
    logs = LogManager([directory], config)
    try:
        logs.load_all(clock.now_ms())
        partition = lead_only(logs, directory, clock.now_ms())
    except BaseException:
        logs.close_handles()
        raise
    host = LocalHost(f"the log in {directory}", logs, clock, background=background)
    host.partitions[partition.topic_partition] = partition
    host.begin_tending()  # from now on it is known when what is due
    return host, partition


def refuse_others(directory: str) -> None:
    """Raises ConfigError for a directory that is not one log's."""
    names = os.listdir(directory) if os.path.isdir(directory) else []
    if META_PROPERTIES in names:
        raise ConfigError(f"{directory} belongs to a broker or a store of several topics: LogStore.open opens it")
    if any(name.endswith(LOG_SUFFIX) for name in names):
        raise ConfigError(
            f"{directory} is a partition of the log directory {os.path.dirname(os.path.abspath(directory))}:"
            " LogStore.open opens that"
        )
    partitions = [name for name in names if parse_partition_dir_name(name) and not name.endswith(SET_ASIDE)]
    if len(partitions) > 1:
        raise ConfigError(f"{directory} holds {len(partitions)} logs: LogStore.open opens it")


def lead_only(logs: LogManager, directory: str, now_ms: int) -> Partition:
    """The one partition, made where there is none. Raises KafkaStorageError when it cannot be served."""
    for topic_partition, reason in logs.offline.items():
        raise KafkaStorageError(f"{directory}: {topic_partition} cannot be opened: {reason}")
    log = logs.get_or_create(next(iter(logs.logs), ONLY), now_ms=now_ms)
    partition = Partition(log)
    # Readers elsewhere notice a lost tail by the epoch (KIP-320).
    epoch = max(log.latest_epoch, 0) + log.recovered_from_crash
    partition.become_leader(broker_id=NODE, epoch=epoch, replicas=(NODE,), isr=frozenset((NODE,)))
    return partition
