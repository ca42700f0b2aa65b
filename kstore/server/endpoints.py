"""Listeners: where to bind and what to tell clients, as `listeners` and its companions write them.

A listener has a name and, by `listener.security.protocol.map`, a protocol (KIP-103); kstore speaks PLAINTEXT.
"""

import re
from typing import NamedTuple

from kstore.errors import InvalidConfigError

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


class Endpoint(NamedTuple):
    listener: str
    host: str  # empty: every address
    port: int  # 0: any that is free

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.listener}://{host}:{self.port}"


def parse_endpoints(text: str) -> tuple[Endpoint, ...]:
    """`NAME://host:port,...`. Raises InvalidConfigError."""
    endpoints: list[Endpoint] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([^:/]+)://\[?([0-9a-zA-Z\-%._:]*?)\]?:([0-9]+)", part)
        if match is None or int(match[3]) > 65535:
            raise InvalidConfigError(f"{part!r} is not of the form NAME://host:port")
        endpoint = Endpoint(match[1].upper(), match[2], int(match[3]))
        if any(endpoint.listener == other.listener for other in endpoints):
            raise InvalidConfigError(f"two listeners have the name {endpoint.listener}")
        if any(endpoint.port and endpoint[1:] == other[1:] for other in endpoints):
            raise InvalidConfigError(f"two listeners have the address {endpoint.host}:{endpoint.port}")
        endpoints.append(endpoint)
    return tuple(endpoints)


def parse_protocol_map(text: str) -> dict[str, str]:
    """`NAME:PROTOCOL,...`. Raises InvalidConfigError."""
    protocols: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        listener, _, protocol = (word.strip().upper() for word in part.partition(":"))
        if not listener or protocol not in PROTOCOLS:
            raise InvalidConfigError(f"{part!r} is not of the form NAME:PROTOCOL with {', '.join(PROTOCOLS)}")
        protocols[listener] = protocol
    return protocols


def parse_ip_overrides(text: str) -> dict[str, int]:
    """`host:connections,...`. Raises InvalidConfigError."""
    limits: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        host, separator, count = part.rpartition(":")
        if not separator or not host or not re.fullmatch(r"[0-9]+", count.strip()):
            raise InvalidConfigError(f"{part!r} is not of the form host:connections")
        limits[host.strip()] = int(count)
    return limits
