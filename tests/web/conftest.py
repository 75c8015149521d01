"""The same shop behind a WSGI transport, an ASGI transport, gunicorn and uvicorn."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from aplus_adapters import SQLStore
from aplus_adapters.testing.ports import ReservedPort
from served import (
    asgi_application,
    asgi_mounted,
    fastapi_application,
    fastapi_mounted,
    flask_application,
    flask_below_script_name,
    make_pay,
    starlette_application,
    starlette_nested,
    wsgi_application,
    wsgi_below_script_name,
)

NOTIFY_URL = "http://127.0.0.1:9/aplus/notify"


class AsgiClient:
    """A blocking face of an async client, whose loop runs in a thread."""

    def __init__(self, app, base="", root_path=""):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        transport = httpx.ASGITransport(app, root_path=root_path)
        self.client = httpx.AsyncClient(transport=transport, base_url=f"http://shop.example{base}")

    def request(self, *arguments, **options):
        return self.wait(self.client.request(*arguments, **options))

    def get(self, *arguments, **options):
        return self.request("GET", *arguments, **options)

    def post(self, *arguments, **options):
        return self.request("POST", *arguments, **options)

    def wait(self, awaitable):
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result(30)

    def close(self):
        self.wait(self.client.aclose())
        self.wait(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class ServedShop:
    """What the behaviour suite needs of a shop: a client, its database, and Alipay+'s pen."""

    def __init__(self, form, client, database, alipayplus, simulator):
        self.form, self.client, self.database = form, client, database
        self.alipayplus, self.simulator = alipayplus, simulator
        self.store = SQLStore(f"sqlite:///{database}")

    @property
    def is_async(self):
        return isinstance(self.client, AsgiClient)

    @property
    def is_wsgi_transport(self):
        return not self.is_async and isinstance(self.client._transport, httpx.WSGITransport)

    def pay(self, order_ref):
        response = self.client.post("/aplus/pay", json={"order_ref": order_ref}, headers=JSON)
        assert response.status_code == 200, response.text
        return response.json()

    def attempt(self, payment_request_id):
        return self.store.get(payment_request_id)

    def changes(self, order_ref):
        connection = sqlite3.connect(self.database)
        try:
            query = "SELECT state FROM changes WHERE ref = ?"
            return [state for (state,) in connection.execute(query, (order_ref,))]
        finally:
            connection.close()

    def notify(self, body, headers=None, **changes):
        signed = {**(headers or self.alipayplus.sign(body)), **changes}
        return self.client.post("/aplus/notify", content=body, headers=signed)

    def acknowledged(self, response):
        return self.alipayplus.accepts(response.status_code, response.headers, response.content)


JSON = {"Accept": "application/json"}


def wsgi(make, base=""):
    def serve(database, account, tmp, simulator):
        pay = make_pay(database, account)
        client = httpx.Client(
            transport=httpx.WSGITransport(make(pay)), base_url=f"http://shop.example{base}"
        )
        yield client
        client.close()
        pay.close()

    return serve


def asgi(make, base="", root_path=""):
    def serve(database, account, tmp, simulator):
        pay = make_pay(database, account)
        client = AsgiClient(make(pay), base, root_path)
        yield client
        client.wait(pay.aclose())
        client.close()

    return serve


def gunicorn(database, account, tmp, simulator):
    yield from _process(
        database, tmp, simulator,
        ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--threads", "4",
         "served:flask_from_environment()"],
    )  # fmt: skip


def uvicorn(*options):
    def serve(database, account, tmp, simulator):
        yield from _process(
            database, tmp, simulator,
            ["uvicorn", "--port", "{port}", *options, "--factory", "served:starlette_from_environment"],
        )  # fmt: skip

    return serve


def _process(database, tmp, simulator, command):
    reserved = ReservedPort()
    port = reserved.number
    command = [sys.executable, "-m", *(word.format(port=port) for word in command)]
    environ = {
        **os.environ,
        **simulator.environ,
        "APLUS_NOTIFY_URL": NOTIFY_URL,
        "DATABASE": str(database),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    with (tmp / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            for _ in range(200):
                try:
                    client.get("/aplus/assets/page.css")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield client
    finally:
        process.terminate()
        process.wait(timeout=10)
        reserved.release()


# Every framework in every way of mounting, and two of them behind real servers.
FORMS = {
    "flask": wsgi(flask_application),
    "flask-script-name": wsgi(flask_below_script_name, "/outer"),
    "flask-gunicorn": gunicorn,
    "wsgi-middleware": wsgi(wsgi_application),
    "wsgi-middleware-script-name": wsgi(wsgi_below_script_name, "/outer"),
    "starlette": asgi(starlette_application),
    "starlette-nested": asgi(starlette_nested, "/outer"),
    "starlette-root-path": asgi(starlette_application, "/outer", "/outer"),
    "starlette-uvicorn": uvicorn(),
    # A proxy that strips the prefix, and a server that is told of it.
    "starlette-uvicorn-stripped": uvicorn("--root-path", "/outer"),
    "fastapi": asgi(fastapi_application),
    "fastapi-mounted": asgi(fastapi_mounted, "/outer"),
    "fastapi-root-path": asgi(fastapi_application, "/outer", "/outer"),
    "asgi-middleware": asgi(asgi_application),
    "asgi-middleware-mounted": asgi(asgi_mounted, "/outer"),
    "asgi-middleware-root-path": asgi(asgi_application, "/outer", "/outer"),
}


@pytest.fixture(scope="module", params=FORMS)
def served(request, tmp_path_factory, simulator, simulated_account, simulated_alipayplus):
    tmp = tmp_path_factory.mktemp(request.param)
    database = tmp / "shop.db"
    serving = FORMS[request.param](database, simulated_account, tmp, simulator)
    client = next(serving)
    shop = ServedShop(request.param, client, database, simulated_alipayplus, simulator)
    yield shop
    shop.store.close()
    next(serving, None)
