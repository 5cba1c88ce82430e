"""What systemd is told by a service of Type=notify; elsewhere nobody listens."""

import os
import socket


def notify(state: str) -> None:
    """Says `state` to systemd, such as READY=1 or WATCHDOG=1, where it listens.

    Source: sd_notify(3).
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect("\0" + address[1:] if address[0] == "@" else address)
        sender.sendall(state.encode())
