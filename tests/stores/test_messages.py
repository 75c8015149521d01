"""How many messages each step sends to PostgreSQL, counted in the server's own log."""

import asyncio
import re
import time
from pathlib import Path

import pytest

from aplus_adapters import AplusPay, AsyncSQLStore, SQLStore, State, Visitor
from aplus_adapters.payments.effects import Send, get
from aplus_adapters.payments.flows.follow_up import follow_up
from aplus_adapters.payments.flows.initiate import initiate
from aplus_adapters.payments.flows.notification import receive
from support.gateway import OPEN, Gateway, inquired
from support.shop import AsyncShop, Clock, Shop

psycopg = pytest.importorskip("psycopg")
RESTED = 1.2  # seconds in the pool, after which a connection is checked
VISITOR = Visitor(user_agent="Mozilla/5.0")
MOST = {"initiate": 6, "notification": 5, "duplicate": 4, "status": 1, "inquiry": 6}
DRIVERS = ["psycopg", "psycopg2", "await psycopg", "await asyncpg"]


class Server:
    """A database whose server logs every message, and what was logged since the last look."""

    def __init__(self, cluster):
        self.address = cluster.database()
        self._name = self.address.rpartition("/")[2]
        self._log = Path(cluster.folder) / "log"
        with psycopg.connect(self.address.replace("+psycopg", ""), autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {self._name} SET log_statement = 'all'")
            admin.execute("ALTER SYSTEM SET log_line_prefix = '%d>'")
            admin.execute("SELECT pg_reload_conf()")
        self._read = 0

    def messages(self):
        time.sleep(0.2)  # the server writes its log a little later
        text = self._log.read_text()
        new, self._read = text[self._read :], len(text)
        sent = re.findall(
            rf"^{self._name}>LOG:  (?:statement|execute [^:]*): (.*)$", new, re.MULTILINE
        )
        return [line[:60] for line in sent]


class Payment:
    """A payment that is done step by step, by a blocking store or by one that awaits."""

    def __init__(self, account, their_key, alipayplus, driver, server):
        scheme = server.address.replace("+psycopg", f"+{driver.rpartition(' ')[2]}")
        self._awaits = driver.startswith("await")
        self.clock = Clock()
        self.gateway = Gateway(account, their_key, self.clock)
        store = AsyncSQLStore(scheme) if self._awaits else SQLStore(scheme)
        hooks = AsyncShop() if self._awaits else Shop()
        self.pay = AplusPay(account=account, store=store, hooks=hooks, clock=self.clock)
        performer = self.pay.async_performer if self._awaits else self.pay.performer
        send = self.gateway.send_async if self._awaits else self.gateway.send
        performer._table[Send] = lambda effect: send(effect.request, effect.timeout)
        self.alipayplus = alipayplus
        self._loop = asyncio.new_event_loop()
        self.attempt = None

    def run(self, flow):
        if not self._awaits:
            return self.pay.run(flow)
        return self._loop.run_until_complete(self.pay.run_async(flow))

    def initiate(self):
        self.attempt = self.run(initiate(self.pay.config, f"A-{self.clock.made}", VISITOR))
        assert self.attempt.state is State.PENDING

    def status(self):
        assert self.stored().order_code is not None

    def stored(self):
        return self.run(get(self.attempt.payment_request_id))

    def inquiry(self):
        attempt = self.stored()
        self.gateway.script["inquiryPayment"] = [inquired(attempt, OPEN)]
        self.clock.moment = attempt.next_call_at
        self.attempt = self.run(follow_up(self.pay.config, attempt))
        assert self.attempt.state is State.PENDING

    def notification(self):
        body = self.alipayplus.notification(self.attempt)
        headers = self.alipayplus.sign(body, at=self.clock.now())
        assert self.run(receive(self.pay.config, tuple(headers.items()), body)).status == 200
        assert self.stored().state is State.SUCCEEDED

    def close(self):
        if self._awaits:
            self._loop.run_until_complete(self.pay.aclose())
            self._loop.run_until_complete(self.pay.store.aclose())
        else:
            self.pay.close()
            self.pay.store.close()
        self._loop.close()


@pytest.mark.process
@pytest.mark.parametrize("rest", [0, RESTED], ids=["at once", "after a rest"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_step_sends_few_messages_to_postgresql(
    postgres, account, their_key, alipayplus, driver, rest
):
    pytest.importorskip(driver.rpartition(" ")[2])
    server = Server(postgres)
    payment = Payment(account, their_key, alipayplus, driver, server)
    payment.initiate()  # connects, makes the tables
    counted = {}
    for step in ("initiate", "status", "inquiry", "inquiry", "notification", "duplicate"):
        server.messages()
        time.sleep(rest)
        getattr(payment, "notification" if step == "duplicate" else step)()
        sent = server.messages()
        if step in ("notification", "duplicate"):
            sent.pop()  # our own look at the result
        counted[step] = sent
    payment.close()
    print(driver, {step: len(sent) for step, sent in counted.items()})
    # Only psycopg sends BEGIN by itself, which a rested connection can be checked by.
    ping = 1 if rest and not driver.endswith("psycopg") else 0
    too_many = {step: sent for step, sent in counted.items() if len(sent) > MOST[step] + ping}
    assert too_many == {}
