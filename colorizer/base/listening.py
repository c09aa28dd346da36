"""Listening sockets of servers, whose errors are reported before anything is loaded."""

import errno
import socket

from colorizer.base.errors import ColorizerError

BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises :class:`ColorizerError` if it is taken, or not allowed.

    Connections wait in it until the server accepts them.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = (
                f"port {port} is in use by another program; choose another by --port (make: PORT=…)"
            )
        elif isinstance(error, PermissionError):
            reason = f"port {port} needs administrator's rights; choose one above 1023 by --port"
        else:
            reason = f"--host {host} can't be bound ({error.strerror})"
        raise ColorizerError(reason) from None
