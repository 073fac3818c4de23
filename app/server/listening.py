"""The socket that the service listens on: opened before anything else, so that a port in use is found at once."""

import errno
import socket

from app.core.hosts import MAX_PORT

WHAT_TO_DO = {
    errno.EADDRINUSE: "it is in use. Stop what uses it ('lsof -i :{port}' names it), or choose another port: "
    "PORT={other} make run",
    errno.EACCES: "it may not be used by this user. Choose a PORT of 1024 or more",
    errno.EADDRNOTAVAIL: "this machine has no such address. Correct HOST",
    **dict.fromkeys((socket.EAI_NONAME, socket.EAI_AGAIN), "the name has no address. Correct HOST"),
}


class PortUnavailable(Exception):
    """The address is in use, or can't be listened on; the message says what to do."""


def listen(host: str, port: int) -> socket.socket:
    """Return the socket that all processes accept from. Clients that connect before wait. Raises PortUnavailable."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        what = WHAT_TO_DO.get(error.errno or 0, "{error.strerror}").format(
            port=port, other=port + 1 if port < MAX_PORT else port - 1, error=error
        )
        raise PortUnavailable(f"Can't listen on port {port} of {host}: {what}.") from error
