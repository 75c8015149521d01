"""The played gateway as a server, and as a transport inside a process."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

import httpx

from aplus_adapters.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from aplus_adapters.conformance.gateway import Answer, PlayedGateway

    Receive = Callable[[str, str, Mapping[str, str], bytes], Answer]

__all__ = ["GatewayServer", "transport_of"]

_MAX_BODY = 1_000_000  # bytes; a legal call has a few thousand


class GatewayServer:
    """A server, by default on loopback; port 0 takes a free one.

    Raise ConfigurationError if it cannot listen there.
    """

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        try:
            self._server = _Server((host, port), _Handler)
        except OSError as error:
            raise ConfigurationError(
                f"{host} port {port}: cannot be used ({error.strerror or error}); choose another "
                "--port or --host"
            ) from None
        self.address = f"http://{host}:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop listening."""
        self._server.server_close()

    @contextmanager
    def serving(self, receive: Receive) -> Iterator[None]:
        """Answer with what `receive` returns, until the end of the block."""
        self._server.receive = receive
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self.close()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receive: Receive

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave out that a shop went away: its missing messages are the evidence."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds; a connection that says nothing any more is closed
    wbufsize = -1  # headers and body leave together, so that no packet waits for another

    def _respond(self) -> None:
        length = self.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > _MAX_BODY:
            self.close_connection = True
            return
        body = self.rfile.read(int(length))
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            key = name.lower()
            headers[key] = f"{headers[key]},{value}" if key in headers else value
        path = self.path.partition("?")[0]
        answer = cast("_Server", self.server).receive(self.command, path, headers, body)
        if answer.cut:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _respond  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
        """Log nothing: the evidence holds it all."""


def transport_of(gateway: PlayedGateway) -> httpx.MockTransport:
    """Return the transport of a shop in this process, whose calls then need no socket."""

    def handle(request: httpx.Request) -> httpx.Response:
        answer = gateway.receive(
            request.method, request.url.path, dict(request.headers), request.read()
        )
        if answer.cut:
            raise httpx.RemoteProtocolError("the connection was cut", request=request)
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    return httpx.MockTransport(handle)
