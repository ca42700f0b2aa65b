"""Why ZooKeeper gave no answer: each of its members is tried once more, by hand, for kazoo does not tell."""

import socket
import ssl

from kstore.cluster.zk.security import Tls

DEFAULT_PORT = 2181
TRY_S = 2.0


def addresses(connect: str) -> list[tuple[str, int]]:
    """The members that `zookeeper.connect` names, without the chroot."""
    found = []
    for text in connect.partition("/")[0].split(","):
        host, colon, port = text.strip().rpartition(":")
        if not colon or text.strip().endswith("]"):
            host, port = text.strip(), str(DEFAULT_PORT)
        if host and port.isdecimal():
            found.append((host.strip("[]"), int(port)))
    return found


def why_not(connect: str, tls: Tls | None) -> str:
    """What stands between this process and each of the members; they may have come back meanwhile."""
    return "; ".join(f"{host}:{port} {_try(host, port, tls)}" for host, port in addresses(connect))


def _try(host: str, port: int, tls: Tls | None) -> str:
    try:
        with socket.create_connection((host, port), TRY_S) as connection:
            if tls is None:
                return "takes connections, and no session begins"
            with _context(tls).wrap_socket(connection, server_hostname=host) as encrypted:
                # A server that wants a certificate says so when it first has something to say (TLS 1.3).
                encrypted.settimeout(0.5)
                encrypted.recv(1)
                return "closed the connection behind the handshake"
    except TimeoutError:
        return "takes connections, and no session begins" if tls else "gives no sign"
    except OSError as error:
        return str(error.strerror or error)


def _context(tls: Tls) -> ssl.SSLContext:
    """As kazoo makes it (create_tcp_connection). Raises OSError for files that are none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = tls.check_hostname
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if tls.truststore:
        context.load_verify_locations(tls.truststore)
    if tls.keystore:
        context.load_cert_chain(tls.keystore, tls.keystore, tls.password)
    return context


def check_files(tls: Tls) -> str | None:
    """What is wrong with the files, or None."""
    for name in (tls.keystore, tls.truststore):
        if name is not None:
            try:
                open(name).close()
            except OSError as error:
                return f"{name}: {error.strerror}"
    try:
        _context(tls)
    except (OSError, ValueError) as error:
        return f"{tls.keystore or tls.truststore}: {error}"
    return None
