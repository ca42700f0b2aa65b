"""Tells systemd how the broker is: READY=1 when requests are answered, STOPPING=1 when it stops (sd_notify(3))."""

import os
import socket


def notify(state: str) -> None:
    """Sends a line such as READY=1 to the manager that started this process. Nobody there is no error."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect("\0" + address[1:] if address[0] == "@" else address)
            sock.sendall(state.encode())
        except OSError:
            return
