"""One payment's page on loopback, with the headers of the real thing, as a browser's test needs it."""

import json
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.results import Reason
from aplus_adapters.web.page import PageDesign, asset, draw_code, render_error, render_page
from aplus_adapters.web.view import PageState, PageView

CODE = "https://codes.example/281000000000000000000000000000000000"
MARK = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">
<rect width="10" height="10" rx="2" fill="#c00"/><path d="M2 5h6M5 2v6" stroke="#fff"/></svg>"""
LOCALES = {"en": "en-GB", "zh": "zh-CN", "ar": "ar-EG"}
PAYMENT = "0123456789abcdef"


class Shop(ThreadingHTTPServer):
    """One payment on loopback, with the headers of the real thing."""

    daemon_threads = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Answer)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.asked = []
        self.reset()

    def handle_error(self, request, client_address):
        """Say nothing of a browser that closed its page while it was answered."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def reset(self, state=PageState.WAITING, seconds=600.0):
        self.state = self.told = PageState(state)
        self.broken = self.hangs = False
        self.design = PageDesign(return_after=None)
        self.poll_seconds = 2.0
        self.events_url = ""
        self.expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
        self.asked.clear()

    def becomes(self, state):
        self.state = self.told = PageState(state)

    def view(self):
        over = self.state.is_over and self.state not in (PageState.PAID, PageState.CONFLICT)
        paid = self.state.has_receipt
        waiting = self.state is PageState.WAITING
        return PageView(
            state=self.state,
            payment_request_id="0123456789abcdef",
            order_ref="ORDER-2026-000123",
            description="Two tickets for the evening boat",
            shop_name="Harbour Tours",
            amount=Amount("JPY", 12800),
            code_text=CODE if waiting else None,
            expires_at=self.expires_at,
            now=datetime.now(UTC),
            status_url="0123456789abcdef/status",
            assets_url="../assets",
            new_code_url="0123456789abcdef/new" if over else None,
            return_url=f"{self.address}/cart",
            wallet_url=CODE if waiting else None,
            reason=Reason.BALANCE if self.state is PageState.FAILED else None,
            poll_seconds=self.poll_seconds,
            save_url="0123456789abcdef/code.svg" if waiting else None,
            paid_at=datetime(2026, 11, 23, 12, 1, 7, tzinfo=UTC) if paid else None,
            payment_id="2026112319401080010018800000000001" if paid else None,
            wallet="SOMEWALLET" if paid else None,
            refunded=Amount("JPY", 12800) if self.state is PageState.REFUNDED else None,
        )


class Answer(BaseHTTPRequestHandler):
    """Routes of the page, its assets and its status."""

    server: Shop

    def do_GET(self):
        self.server.asked.append(self.path)
        name = self.path.rpartition("/")[2]
        if self.path == "/frame":  # a page of the shop's own, which shows ours inside of it
            page = f'<!doctype html><title>Shop</title><iframe src="payments/{PAYMENT}"></iframe>'
            self.reply(200, {"Content-Type": "text/html"}, page.encode())
        elif name == "code.svg":
            drawing = draw_code(self.server.view(), "Code", self.server.design)
            svg = drawing.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
            self.reply(200, {"Content-Type": "image/svg+xml"}, svg.encode())
        elif name in ("page.css", "page.js"):
            content, kind = asset(name, self.server.design)
            self.reply(200, {"Content-Type": kind}, content)
        elif name == "events":  # something on the way keeps them back
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            time.sleep(60)
        elif self.path.startswith("/error/"):
            language = self.headers.get("Accept-Language")
            design, repeats = self.server.design, "post" if name == "shop" else None
            page = render_error(
                f"error_{name}",
                "400: no",
                language,
                design,
                assets_url="../assets",
                repeats=repeats,
            )
            self.reply(200, dict(design.headers), page)
        elif name == "status":
            if self.server.hangs:
                time.sleep(8)
            status = {
                "state": self.server.told,
                "expiresAt": self.server.expires_at.isoformat(),
                "serverTime": datetime.now(UTC).isoformat(),
            }
            code = 503 if self.server.broken else 200
            self.reply(code, {"Content-Type": "application/json"}, json.dumps(status).encode())
        else:
            language = self.headers.get("Accept-Language")
            shop = self.server
            page = render_page(shop.view(), language, shop.design, shop.events_url)
            self.reply(200, dict(shop.design.headers), page)

    def do_POST(self):
        self.server.asked.append(f"POST {self.path}")
        self.server.becomes(PageState.WAITING)
        self.reply(303, {"Location": "../0123456789abcdef"}, b"")

    def reply(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def serving(port=0):
    """Serve the page until the end of the block."""
    with Shop(port) as shop:
        thread = Thread(target=shop.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield shop
        finally:
            shop.shutdown()
            thread.join()
