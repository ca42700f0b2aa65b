"""How many connections may be open: of all, of a listener, of an address."""

import pytest

from kstore.server.config import ServerConfig
from kstore.server.connection_limits import ConnectionLimits


def config(*overrides):
    return ServerConfig.from_arguments("/nowhere", 0, overrides)


def let_in(limits, settings, *clients):
    """Opens what is let in; True or False for each (ip, listener)."""
    outcomes = []
    for ip, listener in clients:
        refusal = limits.refusal(ip, listener, settings)
        if refusal is None:
            limits.opened(ip, listener)
        outcomes.append(refusal is None)
    return outcomes


def test_all_together_have_a_limit():
    limits, settings = ConnectionLimits(), config("max.connections=2")
    assert let_in(limits, settings, ("1", "A"), ("2", "B"), ("3", "A")) == [True, True, False]
    limits.closed("1", "A")
    assert let_in(limits, settings, ("3", "A"), ("4", "A")) == [True, False]


def test_an_address_has_a_limit():
    limits, settings = ConnectionLimits(), config("max.connections.per.ip=1")
    assert let_in(limits, settings, ("1", "A"), ("1", "B"), ("2", "A")) == [True, False, True]
    limits.closed("1", "A")
    assert let_in(limits, settings, ("1", "B")) == [True]


def test_an_address_may_have_a_limit_of_its_own():
    settings = config("max.connections.per.ip=1", "max.connections.per.ip.overrides=10.0.0.1:2,10.0.0.2:0")
    clients = [("10.0.0.1", "A"), ("10.0.0.1", "A"), ("10.0.0.1", "A"), ("10.0.0.2", "A"), ("10.0.0.3", "A")]
    assert let_in(ConnectionLimits(), settings, *clients) == [True, True, False, False, True]


def test_a_listener_may_have_a_limit_of_its_own():
    settings = config("listener.name.inside.max.connections=1")
    clients = [("1", "INSIDE"), ("2", "INSIDE"), ("3", "OUTSIDE"), ("4", "OUTSIDE")]
    assert let_in(ConnectionLimits(), settings, *clients) == [True, False, True, True]


def test_an_ipv4_client_of_an_ipv6_socket_is_the_same_client():
    limits, settings = ConnectionLimits(), config("max.connections.per.ip=1")
    assert let_in(limits, settings, ("10.0.0.1", "A"), ("::ffff:10.0.0.1", "B")) == [True, False]


@pytest.mark.parametrize("key", ["max.connections", "max.connections.per.ip"])
def test_the_limit_is_finite_unless_somebody_says_so(key):
    assert 0 < config().value(key) <= 10_000


def test_nothing_is_kept_of_who_has_gone():
    limits, settings = ConnectionLimits(), config()
    for number in range(1000):
        let_in(limits, settings, (str(number), "A"))
        limits.closed(str(number), "A")
    assert not limits._by_ip
