"""A notification that a fault holds back, and a form that is none, are told to the test."""

import pytest

from aplus_adapters import AplusPay, MemoryStore, State
from aplus_adapters.testing import Buyer, Notifications, Simulator
from support.shop import Shop


@pytest.fixture
def world():
    with Simulator() as simulator:
        pay = AplusPay(account=simulator.account, store=MemoryStore(), hooks=Shop())
        from flask import Flask

        from aplus_adapters.flask import create_blueprint

        app = Flask("shop")
        app.register_blueprint(create_blueprint(pay), url_prefix="/aplus")
        simulator.connect(pay, app)
        yield simulator, pay, Buyer(simulator)


@pytest.mark.parametrize("fault", ["never", "late", "out_of_order"])
@pytest.mark.parametrize("decide", ["pay", "refuse"])
def test_what_is_not_sent_is_not_acknowledged(world, fault, decide):
    simulator, pay, buyer = world
    attempt = buyer.press("A-1")
    simulator.fault(fault, call="notify", seconds=30 if fault == "late" else 0)
    delivery = getattr(buyer, decide)()
    assert (delivery.is_acknowledged, delivery.status) == (False, 0)
    assert delivery.outcome == "not sent: a fault holds the notification back"
    assert delivery.payment_request_id == attempt.payment_request_id
    assert pay.find(attempt.payment_request_id).state is State.PENDING
    simulator.clock.advance(seconds=31)
    pay.reconcile()
    assert pay.find(attempt.payment_request_id).state.is_final


@pytest.mark.parametrize("form", ["bogus", "", "SIGNED", None, "true"])
def test_a_form_that_is_none_sends_nothing(world, form):
    simulator, pay, buyer = world
    attempt = buyer.press("A-1")
    with pytest.raises(ValueError, match="expected one of signed, doubled, late"):
        Notifications(simulator).send(form)
    assert pay.find(attempt.payment_request_id).state is State.PENDING


def test_a_refusal_ordered_by_its_code_alone_ends_the_payment(world):
    simulator, _, buyer = world
    simulator.fault("result", call="pay", code="RISK_REJECT")
    assert buyer.press("A-1").state is State.FAILED
