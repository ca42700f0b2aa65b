"""`zookeeper.ssl.*` and `zookeeper.set.acl`, under Kafka's names: what of them kazoo can do, and nothing half.

Files are PEM: `keystore` with the key and its certificates, `truststore` with those that are believed. Kafka reads the
same files (type PEM). TLS is what Python's ssl module offers, 1.2 and 1.3.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kstore.cluster.zk.reach import check_files
from kstore.cluster.zk.security import NOTHING, Security, Tls
from kstore.errors import InvalidConfigError
from kstore.server.zookeeper_login import login_from

PREFIX = "zookeeper.ssl."
OFFERED = {"TLSv1.2", "TLSv1.3"}

Fault = Callable[[str, str], None]


def zookeeper_security(value: Callable[[str], Any], environment: Mapping[str, str], fault: Fault) -> Security:
    """What a broker with `zookeeper.connect` is to do; `fault(key, what is wrong)` is called for what it cannot."""
    tls = _tls(value, fault) if value("zookeeper.ssl.client.enable") else None
    try:
        login = login_from(environment)
    except InvalidConfigError as error:
        fault("zookeeper.connect", str(error))
        return NOTHING
    set_acl = bool(value("zookeeper.set.acl"))
    if set_acl and login is None and (tls is None or tls.keystore is None):
        fault(
            "zookeeper.set.acl",
            "znodes can belong only to somebody: give a JAAS file with a Client section in KAFKA_OPTS, or"
            " zookeeper.ssl.keystore.location",
        )
    return Security(tls, login, set_acl)


def _tls(value: Callable[[str], Any], tell: Fault) -> Tls:
    faults = 0

    def fault(key: str, what: str) -> None:
        nonlocal faults
        faults += 1
        tell(key, what)

    files = {}
    for name in ("keystore", "truststore"):
        location, kind = value(f"{PREFIX}{name}.location"), value(f"{PREFIX}{name}.type")
        if location and not (str(kind).upper() == "PEM" if kind else str(location).endswith(".pem")):
            said = f"is of type {kind}" if kind else f"{location} does not end in .pem"
            fault(f"{PREFIX}{name}.location", f"{said}; kstore reads PEM files, and so does Kafka with type PEM")
        files[name] = location or None
    if value(f"{PREFIX}truststore.password"):
        fault(f"{PREFIX}truststore.password", "certificates in a PEM file have no password; leave it out")
    for key in ("crl.enable", "ocsp.enable"):
        if value(PREFIX + key):
            fault(PREFIX + key, "kstore does not ask whether a certificate was revoked; leave it out")
    protocols = value(f"{PREFIX}enabled.protocols")
    if protocols and set(protocols) != OFFERED:
        fault(f"{PREFIX}enabled.protocols", "kstore offers TLSv1.2 and TLSv1.3, neither alone; leave it out")
    if value(f"{PREFIX}cipher.suites"):
        fault(f"{PREFIX}cipher.suites", "kstore offers those that Python's ssl module does; leave it out")
    algorithm = str(value(f"{PREFIX}endpoint.identification.algorithm") or "")
    if algorithm.upper() not in ("", "HTTPS"):
        fault(f"{PREFIX}endpoint.identification.algorithm", f"{algorithm!r} is neither HTTPS nor empty")
    tls = Tls(files["keystore"], value(f"{PREFIX}keystore.password"), files["truststore"], algorithm.upper() == "HTTPS")
    if not faults and (wrong := check_files(tls)):
        fault(f"{PREFIX}client.enable", wrong)
    return tls
