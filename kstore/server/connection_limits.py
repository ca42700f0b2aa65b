"""How many connections there may be: of all, of one listener, of one address.

One address cannot take all places, and all together cannot take the machine (KIP-306, KIP-402;
ConnectionQuotas in SocketServer.scala). Counts are of connections that were let in and have not gone.
"""

from collections import Counter

from kstore.server.config import ServerConfig

MAPPED_IPV4 = "::ffff:"


class ConnectionLimits:
    def __init__(self) -> None:
        self._by_ip: Counter[str] = Counter()
        self._by_listener: Counter[str] = Counter()

    def refusal(self, ip: str, listener: str, config: ServerConfig) -> str | None:
        """Why one more connection is too many, or None."""
        limit = config.max_connections
        if self._by_listener.total() >= limit:
            return f"max.connections is {limit}"
        of_listener = config.listener_connection_limits.get(listener, limit)
        if self._by_listener[listener] >= of_listener:
            return f"max.connections of listener {listener} is {of_listener}"
        address = plain(ip)
        of_ip = config.ip_connection_limits.get(address, config.max_connections_per_ip)
        if self._by_ip[address] >= of_ip:
            return f"max.connections.per.ip is {of_ip} for {address}"
        return None

    def opened(self, ip: str, listener: str) -> None:
        self._by_ip[plain(ip)] += 1
        self._by_listener[listener] += 1

    def closed(self, ip: str, listener: str) -> None:
        self._by_listener[listener] -= 1
        address = plain(ip)
        self._by_ip[address] -= 1
        if not self._by_ip[address]:
            del self._by_ip[address]


def plain(ip: str) -> str:
    """An IPv4 client has one address, whichever socket it came in by."""
    return ip.removeprefix(MAPPED_IPV4)
