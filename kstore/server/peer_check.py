"""Whether a broker may join the brokers that are there: they speak as Kafka 3.9 does, and in plain text.

ZooKeeper does not tell `inter.broker.protocol.version`; each broker is asked for its own. One that cannot be asked is
taken at its registration.
"""

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping

from kstore.client.broker_client import BrokerClient
from kstore.cluster.image import BROKER_RESOURCE, BrokerEndpoint, BrokerImage
from kstore.errors import NONE, BrokerUnreachableError, ConfigError, InvalidRequestError
from kstore.protocol.messages.describe_configs import DescribeConfigsRequest

log = logging.getLogger(__name__)

DESCRIBE_CONFIGS_VERSION = 4
TIMEOUT_MS = 3000
PLAINTEXT = "PLAINTEXT"
LEAST = (3, 9)

VERSION, LISTENER, PROTOCOL = (
    "inter.broker.protocol.version",
    "inter.broker.listener.name",
    "security.inter.broker.protocol",
)


async def check_peers(brokers: Iterable[BrokerImage], listener: str, *, node_id: int) -> None:
    """Raises ConfigError, which names the broker and what it does otherwise."""
    others = [broker for broker in brokers if broker.id != node_id]
    for broker in others:
        if fault := endpoint_fault(broker, listener):
            raise ConfigError(fault)
    configs = await asyncio.gather(*(_configs_of(broker, listener) for broker in others))
    for broker, found in zip(others, configs, strict=True):
        if fault := config_fault(broker.id, found, listener):
            raise ConfigError(fault)


def endpoint_fault(broker: BrokerImage, listener: str) -> str | None:
    endpoint = broker.endpoint_of(listener)
    if endpoint is None:
        there = ", ".join(str(each) for each in broker.endpoints)
        return f"zookeeper.connect: broker {broker.id} has no listener {listener}, where brokers speak: {there}"
    if endpoint.protocol != PLAINTEXT:
        return (
            f"zookeeper.connect: broker {broker.id} speaks {endpoint.protocol} on {endpoint}; kstore has PLAINTEXT only"
        )
    return None


def config_fault(broker_id: int, configs: Mapping[str, str], listener: str) -> str | None:
    """`configs` are those of the three keys that are known."""
    version = configs.get(VERSION, "")
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) < LEAST:
        return f"zookeeper.connect: broker {broker_id} has {VERSION}={version}; kstore joins brokers of 3.9 only"
    name = configs.get(LISTENER) or configs.get(PROTOCOL) or listener
    if name.upper() != listener:
        return f"zookeeper.connect: broker {broker_id} speaks to brokers on {name}, this one on {listener}"
    return None


async def _configs_of(broker: BrokerImage, listener: str) -> dict[str, str]:
    endpoint = broker.endpoint_of(listener)
    assert endpoint is not None
    try:
        return await _ask(broker.id, endpoint)
    except (BrokerUnreachableError, InvalidRequestError) as error:
        log.warning("broker %d cannot be asked for its configuration: %s", broker.id, error)
        return {}


async def _ask(broker_id: int, endpoint: BrokerEndpoint) -> dict[str, str]:
    client = BrokerClient(endpoint.host, endpoint.port, client_id="kstore-joining")
    resource = DescribeConfigsRequest.DescribeConfigsResource(
        resource_type=BROKER_RESOURCE,
        resource_name=str(broker_id),
        configuration_keys=[VERSION, LISTENER, PROTOCOL],
    )
    try:
        asking = client.ask(
            DescribeConfigsRequest(resources=[resource]), DESCRIBE_CONFIGS_VERSION, timeout_ms=TIMEOUT_MS
        )
        answer = await asyncio.wait_for(asking, 2 * TIMEOUT_MS / 1000)
    except TimeoutError:
        raise BrokerUnreachableError(f"{endpoint} gave no answer") from None
    finally:
        client.close()
    return {
        entry.name: entry.value
        for result in answer.results
        if result.error_code == NONE
        for entry in result.configs
        if entry.value is not None
    }
