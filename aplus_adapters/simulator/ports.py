"""Ports on the loopback interface that stay ours while the process that listens there restarts."""

from __future__ import annotations

import socket
import sys

__all__ = ["ReservedPort"]


class ReservedPort:
    """A port of this machine's loopback interface, kept from every other program.

    It is bound and never listened on: another process that sets SO_REUSEADDR, as servers do, can
    listen there, while nobody else is given the port, not even between a kill and a restart.
    `port` 0 takes a free one. Raises OSError if the port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.number: int = self._socket.getsockname()[1]
        if sys.platform != "linux":  # elsewhere a second socket could not be bound beside it
            self._socket.close()

    def release(self) -> None:
        """Let others have the port."""
        self._socket.close()
