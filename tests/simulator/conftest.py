"""A shop beside a simulated Alipay+ in this process; the order's description chooses the outcome."""

from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest

from aplus_adapters import Account, Amount, AplusPay, Client, MemoryStore, OrderToPay
from aplus_adapters.messages import Merchant
from aplus_adapters.runtime.http_clients import preferred_library
from aplus_adapters.simulator.process import SimulatorProcess
from aplus_adapters.wsgi import AplusMiddleware
from support.shop import Shop


class DescribedShop(Shop):
    """A shop whose orders carry the description that a test gave; it notes refunds as well."""

    def __init__(self):
        super().__init__()
        self.description = "2 tickets"
        self.refunds = []

    def load_order(self, details):
        return OrderToPay(
            amount=Amount("USD", 4200),
            description=self.description,
            merchant=Merchant(reference_merchant_id="M-77", merchant_name="Harbour Cinema"),
        )

    def refund_changed(self, details):
        self.refunds.append(details.refund.state.value)


class World:
    """Both sides, and what a test looks at."""

    def __init__(self, simulator):
        self.simulator, self.shop = simulator, DescribedShop()
        self.alipayplus = simulator.alipayplus
        self.pay = AplusPay(account=simulator.account, store=MemoryStore(), hooks=self.shop)
        simulator.connect(self.pay)

    def start(self, description="2 tickets", ref="A-1"):
        self.shop.description = f"2 tickets {description}".strip()
        return self.pay.start(ref)

    def client(self, account=None):
        """Return the core alone, which leads here too."""
        library = preferred_library()
        http = library.Client(transport=self.simulator.transport(library), trust_env=False)
        return Client(account or self.simulator.account, client=http, clock=self.simulator.clock)

    def order(self, attempt):
        return self.alipayplus.books.orders[attempt.payment_request_id]

    def decide(self, attempt, decision="pay"):
        """Let the buyer decide, and send what is due."""
        self.alipayplus.decide(self.order(attempt), decision)
        return [sent.outcome for sent in self.simulator.deliver()]

    def state(self, attempt):
        return self.pay.find(attempt.payment_request_id).state.value

    def calls(self, name):
        """Return the calls of one name that reached Alipay+, oldest first."""
        rows = self.alipayplus.books.log.newest(1000)
        return [row for row in reversed(rows) if row["name"] == name]

    def bodies(self, name):
        return {row["request"]["body"] for row in self.calls(name)}

    def settle(self, attempt, minutes=30):
        """Let time pass and the shop's worker run, until nothing is open any more."""
        for _ in range(minutes * 4):
            self.pay.reconcile()
            if self.pay.find(attempt.payment_request_id).state.is_final:
                return self.state(attempt)
            self.simulator.clock.advance(seconds=15)
        return self.state(attempt)


@pytest.fixture
def world():
    from aplus_adapters.testing.simulator import Simulator

    with Simulator() as simulator:
        yield World(simulator)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_values):
        pass


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A simulator in its own process, and a shop in a thread of this one."""
    with SimulatorProcess(tmp_path_factory.mktemp("pages"), time_scale=1000) as simulator:
        server = make_server("127.0.0.1", 0, lambda *_request: [b""], handler_class=Quiet)
        address = f"http://127.0.0.1:{server.server_port}"
        account = Account.from_env(
            {**simulator.environ, "APLUS_NOTIFY_URL": f"{address}/aplus/notify"}
        )
        shop = DescribedShop()
        pay = AplusPay(account=account, store=MemoryStore(), hooks=shop)
        server.set_app(AplusMiddleware(lambda *_request: [b""], pay, prefix="/aplus"))
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        with httpx.Client(
            base_url=simulator.address, trust_env=False, follow_redirects=True
        ) as desk:
            yield simulator, pay, shop, desk
        server.shutdown()
        thread.join()
        server.server_close()
        pay.close()


@pytest.fixture
def start(both):
    simulator, pay, shop, _ = both
    shop.changes.clear()
    simulator.fault()

    def start(description="", ref="A-1"):
        shop.description = f"2 tickets {description}".strip()
        attempt = pay.start(ref)
        return attempt, simulator.order(attempt.payment_request_id)

    return start


def settled(both, attempt):
    """Return the order once its notification was answered."""
    simulator = both[0]
    while simulator.wait_for("notification_answered")["id"] != attempt.payment_request_id:
        pass
    return simulator.order(attempt.payment_request_id)
