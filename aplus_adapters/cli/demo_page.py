"""The page of `aplus demo`: shop, desk and wallet side by side in one window."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from functools import partial
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PATH", "side_by_side"]

PATH = "/side-by-side"
"""Where the page is; every other path is the shop's own."""

_TIMEOUT = 60.0  # seconds for the shop's answer: its calls to Alipay+ are part of it
_LONGEST_BODY = 1 << 20  # bytes of a form
# They belong to one connection, or to a coding that was taken off.
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding"}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>aplus demo</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark }}
body {{ margin: 0; height: 100vh; display: grid; gap: 1px; background: #888;
  grid-template-columns: repeat(3, 1fr); font: 1rem/1.5 system-ui, sans-serif }}
section {{ display: flex; flex-direction: column; min-width: 0; background: Canvas }}
h1 {{ margin: 0; padding: .5rem 1rem; font-size: 1rem }}
iframe {{ flex: 1; border: 0; min-height: 80vh }}
button {{ font: inherit; float: inline-end }}
@media (max-width: 60rem) {{ body {{ height: auto; grid-template-columns: 1fr }} }}
</style>
{frames}
<script>
document.querySelector("button").onclick = async () => {{
  const shown = frames.Shop.location.pathname.replace(/[/]status$/, "");
  const answer = await fetch(shown, {{headers: {{Accept: "application/json"}}}});
  const code = answer.ok && /json/.test(answer.headers.get("Content-Type"))
    ? (await answer.json()).code : null;
  if (code) document.querySelector("iframe[name=Wallet]").src = code;
  else alert("The shop shows no code: buy something and press Pay.");
}};
</script>
"""
_FRAME = """<section>
<h1>{button}<a href="{address}" target="_blank" rel="noopener">{name}</a>: {what}</h1>
<iframe name="{name}" title="{name}" src="{address}"></iframe></section>"""

_SCAN = "<button>Scan the shop's code</button>"  # a wallet's camera cannot see its own screen


@contextmanager
def side_by_side(shop: str, simulator: str) -> Iterator[str]:
    """Serve the page on a free loopback port for the block; yield its address.

    `shop` and `simulator` are their addresses. The page of an order code forbids to be framed, as
    it must in production. So the shop is shown through this server, which allows frames to its own
    page alone and changes nothing else.
    """
    frames = [
        ("Shop", "/", "buy something and press Pay", ""),
        ("Desk", f"{simulator}/", "what Alipay+ sees and sends", ""),
        ("Wallet", f"{simulator}/wallet", "pay or refuse", _SCAN),
    ]
    page = _PAGE.format(
        frames="\n".join(
            _FRAME.format(name=name, address=escape(address), what=what, button=button)
            for name, address, what, button in frames
        )
    ).encode()
    with httpx.Client(base_url=shop, trust_env=False, timeout=_TIMEOUT) as client:
        handler = partial(_Handler, client, page)
        server = _Server(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True, name="aplus-demo-page")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{PATH}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave out that a browser has gone, as when a tab is closed."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers with the page, and passes everything else on to the shop."""

    def __init__(self, client: httpx.Client, page: bytes, *connection: Any) -> None:
        self._client, self._page = client, page
        super().__init__(*connection)  # this answers at once

    def do_GET(self) -> None:
        """Answer a GET, HEAD or POST."""
        if self.path == PATH:
            self._write(200, [("Content-Type", "text/html; charset=utf-8")], self._page)
        else:
            self._relay()

    do_HEAD = do_POST = do_GET  # noqa: N815  # the standard library's names

    def _relay(self) -> None:
        """Pass the request on as it came, Host and Origin included, and bring the answer back."""
        if not self.path.startswith("/"):  # such as http://elsewhere.example/, for a proxy
            self._write(400, [], b"this page passes requests on to the shop alone")
            return
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > _LONGEST_BODY:
            self._write(413, [], b"this page passes on 1 MiB at most")
            return
        sent = [(name, value) for name, value in self.headers.items() if name.lower() not in _HOP]
        sent = [pair for pair in sent if pair[0].lower() != "accept-encoding"]
        body = self.rfile.read(int(length))
        try:
            answer = self._client.request(
                self.command, self.path, headers=[*sent, ("Accept-Encoding", "identity")],
                content=body,
            )  # fmt: skip
        except httpx.HTTPError as error:
            self._write(502, [], f"the shop does not answer: {error}".encode())
            return
        headers = [
            (name, value.replace("frame-ancestors 'none'", "frame-ancestors 'self'"))
            for name, value in answer.headers.multi_items()
            if name.lower() not in _HOP
        ]
        self._write(answer.status_code, headers, answer.content)

    def _write(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Log nothing: the demo prints what happens."""
