"""Use one extra alone, for what docs/extras.md says that it is for: `python extras.py sql`.

`nox -s extras` runs this with each extra in an empty environment.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import aplus_adapters
from aplus_adapters import Account, AplusPay, KeyRing, MemoryStore, PrivateKey


class Shop:
    def load_order(self, details): ...
    def payment_changed(self, details): ...
    def payment_conflict(self, details): ...


def make_pay():
    ours, theirs = PrivateKey.generate(), PrivateKey.generate()
    account = Account(
        client_id="CLIENT",
        private_key=ours,
        alipayplus_keys=KeyRing.of({"1": theirs.public_key}),
        gateway="https://gateway.example",
        notify_url="https://shop.example/aplus/notify",
    )
    return AplusPay(account=account, store=MemoryStore(), hooks=Shop())


def flask():
    from flask import Flask

    from aplus_adapters.flask import create_blueprint

    app = Flask("shop")
    app.register_blueprint(create_blueprint(make_pay()), url_prefix="/aplus")
    assert app.test_client().post("/aplus/notify", json={}).status_code == 400


def starlette():
    from aplus_adapters.starlette import create_routes

    assert len(create_routes(make_pay())) > 5


def fastapi():
    from aplus_adapters.fastapi import create_router

    assert create_router(make_pay()).routes


def sql():
    store = aplus_adapters.SQLStore("sqlite:///shop.db")
    store.set_up()
    store.close()


def postgresql():
    aplus_adapters.SQLStore("postgresql+psycopg://user@127.0.0.1/shop")


def mysql():
    aplus_adapters.SQLStore("mysql+pymysql://user@127.0.0.1/shop")


def asyncpg():
    aplus_adapters.AsyncSQLStore("postgresql+asyncpg://user@127.0.0.1/shop")


def asyncmy():
    aplus_adapters.AsyncSQLStore("mysql+asyncmy://user@127.0.0.1/shop")


def aiosqlite():
    async def make_tables():
        store = aplus_adapters.AsyncSQLStore("sqlite+aiosqlite:///shop.db")
        await store.set_up()
        await store.aclose()

    asyncio.run(make_tables())


def django():
    from django.conf import settings

    databases = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.db"}}
    settings.configure(INSTALLED_APPS=["aplus_adapters.django"], DATABASES=databases)
    __import__("django").setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    aplus_adapters.DjangoStore()


def page():
    aplus_adapters.PageDesign(css=":root { --accent: #b3002d }", texts={"en": {"waiting": "Scan"}})
    make_pay()


def httpx2():
    from aplus_adapters.runtime.http_clients import preferred_library

    assert preferred_library().__name__ == "httpx2"


def cli():
    aplus("codes", "SUCCESS")


def simulator():
    from aplus_adapters.simulator.process import SimulatorProcess

    with SimulatorProcess(Path("simulator")) as process:
        assert process.environ["APLUS_GATEWAY"].startswith("http://127.0.0.1:")


def demo():
    aplus("demo", "--once")


def everything():
    demo()
    fastapi()


def aplus(*words):
    subprocess.run([Path(sys.executable).with_name("aplus"), *words], check=True)


USES = {name: use for name, use in globals().items() if callable(use)} | {"all": everything}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        USES[sys.argv[1]]()
        os.chdir("/")
    print("the extra", sys.argv[1], "alone does what it is for")
