"""The same shop in every way of mounting it, and behind real servers."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

from aplus_adapters.simulator.ports import ReservedPort
from aplus_adapters.testing.adapter_contract import NOTIFY_URL
from aplus_adapters.testing.served_shop import make_pay, reach
from support import served as shops
from support.leaks import LEAKS

OUTER = "http://shop.example/outer"
SUBDOMAIN = "http://pay.shop.example"


def mounted(make, address="http://shop.example", root_path=""):
    """Serve by an application in this process, without a server."""

    @contextmanager
    def serve(database, account, _tmp, _simulator):
        pay = make_pay(database, account)
        with reach(make(pay), pay, address, root_path) as client:
            yield client
        pay.store.close()

    return serve


def behind(*command):
    """Serve by a server, as a process of its own; it is told of `{port}`."""

    @contextmanager
    def serve(database, _account, tmp, simulator):
        reserved = ReservedPort()
        port = reserved.number
        words = [sys.executable, *(word.format(port=port) for word in command)]
        environ = {
            **os.environ,
            **simulator.environ,
            "APLUS_NOTIFY_URL": NOTIFY_URL,
            "DATABASE": str(database),
            "PYTHONPATH": str(Path(__file__).parent),
        }
        with (tmp / "server.log").open("wb") as log:
            process = subprocess.Popen(words, env=environ, stdout=log, stderr=log)
        # A connection that the server may be about to close for idleness is not used again.
        limits = httpx.Limits(keepalive_expiry=1.0)
        address = f"http://127.0.0.1:{port}"
        try:
            with httpx.Client(base_url=address, trust_env=False, limits=limits) as client:
                wait_for(client, process, tmp / "server.log")
                client.server_pid = process.pid
                yield client
        finally:
            process.terminate()
            process.wait(timeout=20)
            LEAKS.read((tmp / "server.log").read_text(errors="replace"))
            reserved.release()

    return serve


def wait_for(client, process, log):
    for _ in range(400):
        assert process.poll() is None, log.read_text()[-500:]
        try:
            client.get("/aplus/assets/page.css")
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(log.read_text()[-500:])


def gunicorn(*options):
    return behind("-m", "gunicorn", "--bind", "127.0.0.1:{port}", *options, "served:flask_served()")


def uvicorn(*options):
    return behind(
        "-m", "uvicorn", "--port", "{port}", *options, "--factory", "served:starlette_served"
    )


def granian(interface, app):
    return behind(
        "-m", "granian", "--port", "{port}", "--interface", interface, "--factory", f"served:{app}"
    )


SERVERS = {
    "flask-gunicorn": gunicorn("--workers", "2"),
    "flask-gunicorn-gthread": gunicorn("--workers", "2", "--threads", "4"),
    "flask-waitress": behind(
        "-m", "waitress", "--listen=127.0.0.1:{port}", "--call", "served:flask_served"
    ),
    "flask-granian": granian("wsgi", "flask_served"),
    "flask-wsgiref": behind("-m", "served", "{port}"),
    "starlette-uvicorn-h11": uvicorn("--http", "h11"),
    "starlette-uvicorn-httptools": uvicorn("--http", "httptools"),
    # A proxy that strips the prefix, and a server that is told of it.
    "starlette-uvicorn-stripped": uvicorn("--root-path", "/outer"),
    "starlette-hypercorn": behind(
        "-m", "hypercorn", "--bind", "127.0.0.1:{port}", "served:starlette_served()"
    ),
    "starlette-granian": granian("asgi", "starlette_served"),
}
FORMS = {
    "flask": mounted(shops.flask_application),
    "flask-nested": mounted(shops.flask_nested, OUTER),
    "flask-script-name": mounted(shops.flask_below_script_name, OUTER),
    "flask-subdomain": mounted(shops.flask_subdomain, SUBDOMAIN),
    "wsgi-middleware": mounted(shops.wsgi_application),
    "wsgi-middleware-script-name": mounted(shops.wsgi_below_script_name, OUTER),
    "django-wsgi": mounted(shops.django_wsgi),
    "django-urls": mounted(shops.django_urls),
    "starlette": mounted(shops.starlette_application),
    "starlette-nested": mounted(shops.starlette_nested, OUTER),
    "starlette-root-path": mounted(shops.starlette_application, OUTER, "/outer"),
    "starlette-subdomain": mounted(shops.starlette_subdomain, SUBDOMAIN),
    "fastapi": mounted(shops.fastapi_application),
    "fastapi-mounted": mounted(shops.fastapi_mounted, OUTER),
    "fastapi-root-path": mounted(shops.fastapi_application, OUTER, "/outer"),
    "asgi-middleware": mounted(shops.asgi_application),
    "asgi-middleware-mounted": mounted(shops.asgi_mounted, OUTER),
    "asgi-middleware-root-path": mounted(shops.asgi_application, OUTER, "/outer"),
    "django-asgi": mounted(shops.django_asgi),
    "litestar": mounted(shops.litestar_application),
    "quart": mounted(shops.quart_application),
    **SERVERS,
}

# Where the host decides which application answers, a strange one never gets to ours.
ANY_HOST = [form for form in FORMS if not form.endswith("subdomain")]
