"""Which brokers are joined: those that speak as 3.9 does, in plain text, where this one speaks."""

import pytest

from kstore.cluster.image import BrokerEndpoint, BrokerImage
from kstore.server.peer_check import config_fault, endpoint_fault


def broker(*endpoints: tuple[str, str]) -> BrokerImage:
    return BrokerImage(2, tuple(BrokerEndpoint(name, "h", 9092, protocol) for name, protocol in endpoints))


def test_a_plain_listener_of_the_same_name_is_needed() -> None:
    assert endpoint_fault(broker(("PLAINTEXT", "PLAINTEXT")), "PLAINTEXT") is None
    # What its clients use is not our affair.
    assert endpoint_fault(broker(("PLAINTEXT", "PLAINTEXT"), ("OUT", "SASL_SSL")), "PLAINTEXT") is None
    fault = endpoint_fault(broker(("OUT", "SASL_SSL")), "PLAINTEXT")
    assert fault is not None
    assert "broker 2 has no listener PLAINTEXT, where brokers speak: OUT://h:9092" in fault
    fault = endpoint_fault(broker(("INTERNAL", "SSL")), "INTERNAL")
    assert fault is not None
    assert "broker 2 speaks SSL on INTERNAL://h:9092" in fault


@pytest.mark.parametrize("version", ["3.8", "3.8-IV0", "2.8-IV1", "0.11.0"])
def test_an_older_protocol_is_refused(version: str) -> None:
    fault = config_fault(2, {"inter.broker.protocol.version": version}, "PLAINTEXT")
    assert fault is not None
    assert f"broker 2 has inter.broker.protocol.version={version}" in fault


@pytest.mark.parametrize(
    "configs",
    [
        {},
        {"inter.broker.protocol.version": "3.9-IV0", "security.inter.broker.protocol": "PLAINTEXT"},
        {"inter.broker.protocol.version": "3.10", "inter.broker.listener.name": "plaintext"},
    ],
)
def test_what_is_as_it_should_be_is_joined(configs: dict[str, str]) -> None:
    assert config_fault(2, configs, "PLAINTEXT") is None


def test_brokers_that_speak_to_each_other_elsewhere_are_refused() -> None:
    fault = config_fault(2, {"inter.broker.listener.name": "OTHER"}, "PLAINTEXT")
    assert fault == "zookeeper.connect: broker 2 speaks to brokers on OTHER, this one on PLAINTEXT"
