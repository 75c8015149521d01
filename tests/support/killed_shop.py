"""An example shop that dies by SIGKILL at a step of its database, one step later each time.

    python killed_shop.py flask_sqlalchemy_shop

The shop's settings are those of the examples; ALIPAYPLUS_KEY names the file of the simulator's key.
Each line that is printed is one death, as JSON. A step is a statement (before it and after it), a
COMMIT (before it) and the return of a connection (after its COMMIT). What Django does itself has
the same steps: a statement of its ORM, before it and after it, and its COMMIT.
"""

import importlib
import json
import os
import signal
import sys
from contextlib import nullcontext
from itertools import count
from pathlib import Path

import httpx
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.pool import NullPool, Pool

from aplus_adapters import Account, PrivateKey
from aplus_adapters.testing.served_shop import AsgiClient
from aplus_adapters.testing.signer import AlipayPlus

MOST = 60  # steps of one notification
JSON = {"Accept": "application/json"}
BOTH = text(
    "SELECT p.state, o.status FROM aplus_payments p JOIN orders o ON o.ref = p.order_ref "
    "WHERE p.payment_request_id = :id"
)


class Shop:
    """The example with its client; each use is in a process of its own."""

    def __init__(self, name):
        if os.environ["DATABASE"].startswith("mysql") and name == "django_shop":
            import pymysql

            pymysql.install_as_MySQLdb()
        module = importlib.import_module(name)
        self.store, self.is_asgi = module.store, False
        self._make_tables = getattr(module, "make_tables", lambda: None)
        if hasattr(module, "application"):
            self.app, self.context, self._metadata = module.application, nullcontext, None
        elif hasattr(module, "create_app"):
            self.app = module.create_app()
            self.context, self._metadata = self.app.app_context, module.Base.metadata
        else:
            self.app, self.context, self._metadata = module.app, nullcontext, None
            self.is_asgi = True
            module.engine.dispose()  # children have connections of their own
        key = PrivateKey.load(Path(os.environ["ALIPAYPLUS_KEY"]).read_bytes())
        self.alipayplus = AlipayPlus(Account.from_env(), key)

    def client(self):
        if self.is_asgi:
            return AsgiClient(self.app, "http://shop")
        return httpx.Client(transport=httpx.WSGITransport(self.app), base_url="http://127.0.0.1")

    def make_tables(self):
        self._make_tables()
        if self._metadata is not None:
            engine = create_engine(os.environ["DATABASE"])
            self._metadata.create_all(engine)

    def press_pay(self):
        client = self.client()
        ref = client.post("/orders", data={"item": "Ticket"}).headers["location"].rpartition("/")[2]
        payment = client.post("/aplus/pay", data={"order_ref": ref}, headers=JSON).json()
        return payment["paymentRequestId"]

    def notify(self, request_id, die_at=None):
        """Deliver Alipay+'s notification; return whether it is acknowledged."""
        with self.context():  # the first use of a process is none of the steps
            body = self.alipayplus.notification(self.store.get(request_id))
        headers = self.alipayplus.sign(body)
        if die_at is not None:
            self._die_at(die_at)
        reply = self.client().post("/aplus/notify", content=body, headers=headers)
        return self.alipayplus.accepts(reply.status_code, reply.headers, reply.content)

    def _die_at(self, step):
        steps = count(1)

        def die(*_event):
            if next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
            event.listen(Engine, name, die)
        event.listen(Pool, "checkin", die)
        if "django.db" in sys.modules:
            _die_in_django(die)

    def press_pay_often(self, times):
        return [self.press_pay() for _ in range(times)]

    def notify_all(self, request_ids):
        return [self.notify(request_id) for request_id in request_ids]


def _die_in_django(die):
    from django.db import connection

    def around(execute, *arguments):
        die()
        try:
            return execute(*arguments)
        finally:
            die()

    connection.execute_wrappers.append(around)
    commit = connection.commit

    def committing():
        die()
        commit()
        die()

    connection.commit = committing


def stored(request_id):
    """Return the payment's state and the order's, as anybody may read them."""
    engine = create_engine(os.environ["DATABASE"], poolclass=NullPool)
    with engine.connect() as connection:
        return list(connection.execute(BOTH, {"id": request_id}).one())


def in_child(call, *arguments):
    """Return what a call returns in a forked process, None if that was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        code = 1
        try:
            os.write(writer, json.dumps(call(*arguments)).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None
    assert os.WEXITSTATUS(status) == 0, "the shop raised"
    return json.loads(answer)


def main(name):
    shop = Shop(name)
    in_child(shop.make_tables)
    ids = in_child(shop.press_pay_often, MOST)
    deaths = []
    for step, request_id in enumerate(ids, 1):
        survived = in_child(shop.notify, request_id, step)
        deaths.append({"survived": survived, "after_death": stored(request_id)})
        if survived:
            break
    acknowledged = in_child(shop.notify_all, ids[: len(deaths)])
    for death, request_id, is_acknowledged in zip(deaths, ids, acknowledged, strict=False):
        death |= {"acknowledged": is_acknowledged, "in_the_end": stored(request_id)}
        print(json.dumps(death))


if __name__ == "__main__":
    main(sys.argv[1])
