"""Ports on the loopback interface, reserved even while the process that listens restarts."""

from __future__ import annotations

import socket
import sys

__all__ = ["ReservedPort"]


class ReservedPort:
    """A port of this machine's loopback interface that the system gives to no other program.

    Its socket is bound and never listens. A server that sets SO_REUSEADDR can listen on the same
    port, and the port stays reserved between a kill of the server and its restart. `port` 0 takes a
    free one. Raise OSError if the port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.number: int = self._socket.getsockname()[1]
        if sys.platform != "linux":  # elsewhere a second socket could not be bound beside it
            self._socket.close()

    def release(self) -> None:
        """Free the port for other programs."""
        self._socket.close()
