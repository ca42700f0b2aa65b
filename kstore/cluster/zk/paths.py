"""The znodes of a Kafka cluster and the JSON in them, exactly as Kafka 3.9 has them (ZkData.scala).

What cannot be understood raises CorruptMetadataError with the znode's path: nothing is guessed, nothing overwritten.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kstore.cluster.image import NO_LEADER, PROTOCOL_IDS, BrokerEndpoint, BrokerImage, PartitionImage
from kstore.cluster.topic_names import validate_topic_name
from kstore.errors import CorruptMetadataError, InvalidTopicError
from kstore.model import TopicPartition, uuid_from_text, uuid_to_text

BROKER_IDS = "/brokers/ids"
TOPICS = "/brokers/topics"
CONTROLLER = "/controller"
CONTROLLER_EPOCH = "/controller_epoch"
CLUSTER_ID = "/cluster/id"
CONFIG_CHANGES = "/config/changes"
CONFIG_TOPICS = "/config/topics"
CONFIG_BROKERS = "/config/brokers"
DELETE_TOPICS = "/admin/delete_topics"
REASSIGN_PARTITIONS = "/admin/reassign_partitions"
PREFERRED_ELECTION = "/admin/preferred_replica_election"
ISR_CHANGES = "/isr_change_notification"
LOG_DIR_EVENTS = "/log_dir_event_notification"
PRODUCER_IDS = "/latest_producer_id_block"
SEQUENCE_OF_IDS = "/brokers/seqid"
CHANGE_PREFIX = "/config/changes/config_change_"

# What a broker makes if it is not there (ZkData.PersistentZkPaths).
PERSISTENT = (
    "/consumers",
    BROKER_IDS,
    TOPICS,
    CONFIG_CHANGES,
    DELETE_TOPICS,
    SEQUENCE_OF_IDS,
    ISR_CHANGES,
    PRODUCER_IDS,
    LOG_DIR_EVENTS,
    CONFIG_TOPICS,
    "/config/clients",
    "/config/users",
    CONFIG_BROKERS,
    "/config/ips",
)

PLAINTEXT = "PLAINTEXT"
# Fields of kstore's own.
INCARNATION = "kstore_incarnation"
ISR_INCARNATIONS = "kstore_isr_incarnations"

INT32_MAX, INT64_MAX = 2**31 - 1, 2**63 - 1
MOST_PORT = 2**16 - 1
# Behind the last block of producer ids there has to be room for another one.
MOST_PRODUCER_IDS = 1 << 20


def broker(broker_id: int) -> str:
    return f"{BROKER_IDS}/{broker_id}"


def topic(name: str) -> str:
    return f"{TOPICS}/{name}"


def partitions(name: str) -> str:
    return f"{TOPICS}/{name}/partitions"


def partition(name: str, index: int) -> str:
    return f"{TOPICS}/{name}/partitions/{index}"


def state(name: str, index: int) -> str:
    return f"{partition(name, index)}/state"


def topic_config(name: str) -> str:
    return f"{CONFIG_TOPICS}/{name}"


def deletion(name: str) -> str:
    return f"{DELETE_TOPICS}/{name}"


def parse(path: str, data: bytes) -> dict[str, Any]:
    """The JSON object in a znode. Raises CorruptMetadataError."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptMetadataError(f"znode {path} holds {data[:64]!r}, which is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise CorruptMetadataError(f"znode {path} holds {data[:64]!r}, which is no JSON object")
    return found


def _number(value: Any, low: int = 0, high: int = INT32_MAX) -> int:
    """What is written on, and told to others, has to fit. Raises ValueError."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{value!r} is no number from {low} to {high}")
    return value


def _text(value: Any) -> str:
    """What others can be told. Raises TypeError, ValueError."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    value.encode()  # half of a character beyond U+FFFF is JSON, and cannot be sent
    return value


def _broker_ids(found: Any, *, low: int = 0) -> tuple[int, ...]:
    """Raises ValueError, TypeError."""
    return tuple(_number(each, low) for each in found)


def _dump(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


# --- brokers ---


def broker_json(endpoints: Sequence[BrokerEndpoint], *, rack: str | None, incarnation: str = "", now_ms: int) -> bytes:
    """A registration, version 5. `host` and `port` are those of the first listener without encryption. The incarnation
    (kstore/log/incarnation.py) is kstore's: Kafka passes over fields that it does not know."""
    plain = next((endpoint for endpoint in endpoints if endpoint.protocol == PLAINTEXT), None)
    found: dict[str, Any] = {
        "features": {},
        "listener_security_protocol_map": {endpoint.listener: endpoint.protocol for endpoint in endpoints},
        "endpoints": [str(endpoint) for endpoint in endpoints],
        "jmx_port": -1,
        "port": plain.port if plain else -1,
        "host": plain.host if plain else None,
        "version": 5,
        "timestamp": str(now_ms),
    }
    if rack is not None:
        found["rack"] = rack
    if incarnation:
        found[INCARNATION] = incarnation
    return _dump(found)


def parse_broker(broker_id: int, data: bytes, *, epoch: int) -> BrokerImage:
    """Raises CorruptMetadataError, also for a registration from before there were listeners."""
    path = broker(broker_id)
    found = parse(path, data)
    try:
        if found["version"] < 2:
            raise ValueError(f"version {found['version']} is not known")
        protocols = found.get("listener_security_protocol_map") or {}
        endpoints = tuple(_endpoint(_text(each), protocols) for each in found["endpoints"])
        rack = None if found.get("rack") is None else _text(found["rack"])
        return BrokerImage(_number(broker_id), endpoints, rack, epoch, _incarnation(found.get(INCARNATION)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptMetadataError(f"znode {path} is no registration of a broker: {error!r}") from None


def _endpoint(text: str, protocols: Mapping[str, str]) -> BrokerEndpoint:
    """Raises ValueError, also for a security protocol that others could not be told of."""
    listener, _, address = text.partition("://")
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdecimal()):
        raise ValueError(f"{text!r} has no port")
    protocol = protocols.get(listener, listener)
    if protocol not in PROTOCOL_IDS:
        raise ValueError(f"security protocol {protocol!r} is not known")
    return BrokerEndpoint(listener, host.strip("[]"), _number(int(port), 1, MOST_PORT), protocol)


# --- the controller ---


class ControllerEpoch(NamedTuple):
    epoch: int
    version: int  # of the znode


def controller_json(broker_id: int, now_ms: int) -> bytes:
    return _dump({"version": 2, "brokerid": broker_id, "timestamp": str(now_ms), "kraftControllerEpoch": -1})


def parse_controller(data: bytes) -> int:
    """The controller's broker id. Raises CorruptMetadataError."""
    found = parse(CONTROLLER, data)
    try:
        broker_id = _number(found.get("brokerid"))
        kraft_epoch = _number(found.get("kraftControllerEpoch", -1), -1)
    except ValueError as error:
        raise CorruptMetadataError(f"znode {CONTROLLER} names no broker: {error}") from None
    if kraft_epoch > 0:
        raise CorruptMetadataError(f"znode {CONTROLLER} belongs to a KRaft controller: the cluster is being migrated")
    return broker_id


def parse_controller_epoch(data: bytes, version: int) -> ControllerEpoch:
    try:
        # The next one has to fit too.
        return ControllerEpoch(_number(int(data), high=INT32_MAX - 1), version)
    except ValueError:
        raise CorruptMetadataError(f"znode {CONTROLLER_EPOCH} holds {data[:64]!r}, not a number") from None


# --- the cluster ---


def cluster_id_json(cluster_id: str) -> bytes:
    return _dump({"version": "1", "id": cluster_id})


def parse_cluster_id(data: bytes) -> str:
    found = parse(CLUSTER_ID, data).get("id")
    if not isinstance(found, str):
        raise CorruptMetadataError(f"znode {CLUSTER_ID} holds no id: {data[:64]!r}")
    return found


def producer_ids_json(broker_id: int, start: int, end: int) -> bytes:
    """`end` is the last id of the block."""
    return _dump({"version": 1, "broker": broker_id, "block_start": str(start), "block_end": str(end)})


def parse_producer_ids_end(data: bytes) -> int:
    try:
        return _number(int(parse(PRODUCER_IDS, data)["block_end"]), high=INT64_MAX - MOST_PRODUCER_IDS)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise CorruptMetadataError(f"znode {PRODUCER_IDS} holds no block: {data[:64]!r}") from None


# --- topics ---


class TopicAssignment(NamedTuple):
    """`partitions`, `adding` and `removing` map partitions to replicas."""

    topic_id: bytes | None
    partitions: Mapping[int, tuple[int, ...]]
    adding: Mapping[int, tuple[int, ...]] = {}
    removing: Mapping[int, tuple[int, ...]] = {}


def topic_json(assignment: TopicAssignment) -> bytes:
    found: dict[str, Any] = {
        "removing_replicas": {str(index): list(members) for index, members in assignment.removing.items()},
        "partitions": {str(index): list(members) for index, members in assignment.partitions.items()},
        "adding_replicas": {str(index): list(members) for index, members in assignment.adding.items()},
        "version": 3,
    }
    if assignment.topic_id is not None:
        found = {"topic_id": uuid_to_text(assignment.topic_id), **found}
    return _dump(found)


def parse_topic(name: str, data: bytes) -> TopicAssignment:
    """Raises CorruptMetadataError, also for a name that no topic can have: it is to be that of directories."""
    found = parse(topic(name), data)
    try:
        validate_topic_name(name)
        topic_id = found.get("topic_id")
        return TopicAssignment(
            None if topic_id is None else uuid_from_text(topic_id),
            _replicas(found["partitions"], fewest=1),
            _replicas(found.get("adding_replicas") or {}, fewest=0),
            _replicas(found.get("removing_replicas") or {}, fewest=0),
        )
    except (KeyError, TypeError, ValueError, AttributeError, InvalidTopicError) as error:
        raise CorruptMetadataError(f"znode {topic(name)} is no assignment of a topic: {error!r}") from None


def _replicas(found: Mapping[str, Sequence[int]], *, fewest: int) -> dict[int, tuple[int, ...]]:
    """Partition -> `fewest` brokers or more, none twice; as many partitions at least. Raises ValueError, TypeError."""
    replicas = {_number(int(index)): _broker_ids(found[index]) for index in sorted(found, key=int)}
    if len(replicas) < fewest:
        raise ValueError("there are no partitions")
    odd = [index for index, members in replicas.items() if len(members) < fewest or len(set(members)) < len(members)]
    if odd:
        raise ValueError(f"partitions {odd} have no replicas, or one twice")
    return replicas


def state_json(partition: PartitionImage) -> bytes:
    """Version 1. A controller of Kafka's leaves out the incarnations when it writes it anew: then they are unknown."""
    found: dict[str, Any] = {
        "controller_epoch": partition.controller_epoch,
        "leader": partition.leader,
        "version": 1,
        "leader_epoch": partition.leader_epoch,
        "isr": list(partition.isr),
    }
    if partition.leader_recovery_state:
        found["leader_recovery_state"] = partition.leader_recovery_state
    if partition.incarnations:
        found[ISR_INCARNATIONS] = {str(replica): partition.incarnations[replica] for replica in partition.incarnations}
    return _dump(found)


def parse_state(path: str, data: bytes, *, version: int, replicas: tuple[int, ...]) -> PartitionImage:
    """The znode's version is the partition's epoch. Raises CorruptMetadataError."""
    found = parse(path, data)
    try:
        return PartitionImage(
            replicas=replicas,
            isr=_broker_ids(found["isr"]),
            leader=_number(found["leader"], NO_LEADER),
            # The next one has to fit too.
            leader_epoch=_number(found["leader_epoch"], high=INT32_MAX - 1),
            partition_epoch=version,
            leader_recovery_state=_number(found.get("leader_recovery_state") or 0, high=1),
            controller_epoch=_number(found["controller_epoch"], -1),
            incarnations=_incarnations(found.get(ISR_INCARNATIONS)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptMetadataError(f"znode {path} is no state of a partition: {error!r}") from None


def _incarnations(found: Any) -> dict[int, str]:
    """What cannot be read is not known: Kafka's controllers do not look at it either."""
    if not isinstance(found, dict):
        return {}
    return {int(id): name for id, name in found.items() if id.isdecimal() and _incarnation(name)}


def _incarnation(found: Any) -> str:
    return found if isinstance(found, str) else ""


# --- wishes and news for the controller ---


def parse_partitions(path: str, data: bytes) -> list[TopicPartition]:
    """What /admin/preferred_replica_election and /isr_change_notification name. Raises CorruptMetadataError."""
    try:
        return [_key(each) for each in parse(path, data)["partitions"]]
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptMetadataError(f"znode {path} names no partitions: {error!r}") from None


def _key(found: Mapping[str, Any]) -> TopicPartition:
    """Raises KeyError, TypeError, ValueError."""
    return TopicPartition(str(found["topic"]), _number(found["partition"]))


def reassignment_json(targets: Mapping[TopicPartition, Sequence[int]]) -> bytes:
    found = [{"topic": key.topic, "partition": key.partition, "replicas": list(to)} for key, to in targets.items()]
    return _dump({"version": 1, "partitions": found})


def parse_reassignment(data: bytes) -> dict[TopicPartition, tuple[int, ...]]:
    """Raises CorruptMetadataError."""
    try:
        return {
            # A broker below 0 is refused with a reason, and taken out of the wish.
            _key(each): _broker_ids(each["replicas"], low=-INT32_MAX)
            for each in parse(REASSIGN_PARTITIONS, data)["partitions"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptMetadataError(f"znode {REASSIGN_PARTITIONS} is no reassignment: {error!r}") from None


def parse_log_dir_event(path: str, data: bytes) -> int:
    """The broker that has lost a directory. Raises CorruptMetadataError."""
    try:
        return _number(parse(path, data).get("broker"))
    except ValueError as error:
        raise CorruptMetadataError(f"znode {path} names no broker: {error}") from None


# --- configurations ---


def config_json(configs: Mapping[str, str]) -> bytes:
    return _dump({"version": 1, "config": dict(configs)})


def parse_config(path: str, data: bytes) -> dict[str, str]:
    """Raises CorruptMetadataError."""
    found = parse(path, data).get("config")
    if not isinstance(found, dict):
        raise CorruptMetadataError(f"znode {path} holds no configuration: {data[:64]!r}")
    return {str(key): str(value) for key, value in found.items()}


def config_change_json(entity_path: str) -> bytes:
    """`entity_path` is `topics/orders`."""
    return _dump({"version": 2, "entity_path": entity_path})


def parse_config_change(path: str, data: bytes) -> str:
    found = parse(path, data).get("entity_path")
    if not isinstance(found, str):
        raise CorruptMetadataError(f"znode {path} names no entity: {data[:64]!r}")
    return found
