"""TCP ports on this machine."""

import socket

from hazardloop.service.errors import ServiceError


class PortOccupied(ServiceError):
    """Somebody else listens where we are to listen."""


def require_free(host: str, port: int, option: str) -> None:
    """PortOccupied unless `host`:`port` can be listened on; `option` is how to choose another."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        # As servers do: a connection that was closed a moment ago does not occupy the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except PermissionError as error:
            raise PortOccupied(
                f"port {port} on {host} needs more rights: take one above 1023 with {option}"
            ) from error
        except OSError as error:
            raise PortOccupied(
                f"port {port} on {host} cannot be used ({error.strerror}): stop what uses it,"
                f" or take another with {option}"
            ) from error


def any_free() -> int:
    """A port of the loopback that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(host: str, port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection((reachable(host), port), timeout=1.0).close()
    except OSError:
        return False
    return True


def reachable(host: str) -> str:
    """Where to connect to a server on this machine that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
