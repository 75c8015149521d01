"""Connections belong to one process and one event loop: what is left of them when these end."""

import asyncio
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from aplus_adapters.runtime.senders import AsyncSender
from support.http_requests import request_to

FORKING = """
import importlib, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from aplus_adapters import Account, AplusPay, MemoryStore, PrivateKey
from aplus_adapters.payments.effects import Send
from aplus_adapters.protocol.signed_messages import SignedRequest
from aplus_adapters.runtime.senders import Sender
library, kind = sys.argv[1:]
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        seen.append(self.client_address[1])
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
class Shop:
    def load_order(self, details): ...
    def payment_changed(self, details): ...
    def payment_conflict(self, details): ...
seen = []
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_address[1]}"
request = SignedRequest(client_id="C", url=address + "/pay", path="/pay", headers=(), body=b"{}")
client = importlib.import_module(library).Client()
if kind == "Sender":
    sender = Sender(client)
    send = lambda: sender.send(request, 5.0)
else:
    key = PrivateKey.generate()
    account = Account(client_id="C", private_key=key, gateway="https://gateway.example",
                      alipayplus_keys=PrivateKey.generate().public_key,
                      notify_url="https://shop.example/notify")
    pay = AplusPay(account=account, store=MemoryStore(), hooks=Shop(), client=client)
    send = lambda: pay.performer(Send(request, 5.0))
send()
send()
child = os.fork()
if child == 0:
    send()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
send()
assert seen[0] == seen[1] == seen[3] != seen[2], seen
os._exit(0)
"""


@pytest.mark.parametrize("kind", ["Sender", "AplusPay"])
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_forked_process_uses_no_connection_that_the_shops_client_opened_before(library, kind):
    pytest.importorskip(library)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, library, kind],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def finish(self):
        super().finish()
        self.server.ended.release()

    def log_message(self, *_):
        pass


def test_connections_are_closed_with_their_event_loop():
    """As where a job calls `asyncio.run(pay.reconcile_async())` again and again."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.ended = threading.Semaphore(0)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        sender = AsyncSender()
        request = request_to(f"http://127.0.0.1:{server.server_address[1]}")
        for _ in range(3):
            assert asyncio.run(sender.send(request, 5.0)).status == 200
            assert server.ended.acquire(timeout=5)
        assert len(sender._loops) == 1
        server.shutdown()
        thread.join()
