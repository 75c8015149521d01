"""Flows against a scripted gateway, with time that stands still until a flow sleeps."""

import pytest

from aplus_adapters import AplusPay, State, Visitor
from aplus_adapters.payments.flows.initiate import initiate
from support.gateway import PAID, Gateway, asked, inquired, notified

BROWSER = Visitor(user_agent="Mozilla/5.0", client_ip="203.0.113.9")


@pytest.fixture
def gateway(account, their_key, clock):
    return Gateway(account, their_key, clock)


@pytest.fixture
def pay(account, store, shop, clock, gateway):
    made = AplusPay(account=account, store=store, hooks=shop, clock=clock)
    made.performer._table[_send()] = lambda effect: gateway.send(effect.request, effect.timeout)
    return made


def _send():
    from aplus_adapters.payments.effects import Send

    return Send


@pytest.fixture
def start(pay):
    return lambda order_ref="A-1": pay.run(initiate(pay.config, order_ref, BROWSER))


@pytest.fixture
def tell(pay, alipayplus, clock):
    """Notify the shop of an attempt's success, or of what differs from it."""

    def tell(attempt, **changes):
        body = alipayplus.notification(attempt, **changes)
        assert notified(pay, alipayplus, clock, body).status == 200
        return pay.find(attempt.payment_request_id)

    return tell


@pytest.fixture
def paid(pay, gateway, start, clock):
    attempt = start()
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID)]
    clock.moment = attempt.next_call_at
    assert asked(pay, attempt).state is State.SUCCEEDED
    gateway.sent.clear()
    return attempt
