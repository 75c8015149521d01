"""What hooks answer, and what an application has read before us, opens nothing and breaks nothing."""

import flask
import pytest

from aplus_adapters import AplusPay, InvalidValue, MemoryStore, Rendering
from aplus_adapters.flask import create_blueprint
from aplus_adapters.payments.effects import Send
from support.gateway import Gateway, notified
from support.shop import Shop

JSON = {"Accept": "application/json"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def serve(account, their_key, clock):
    """Return what makes an AplusPay and a client of its blueprint; `before` runs before requests."""

    gateway = Gateway(account, their_key, clock)

    def make(hooks, before=None):
        pay = AplusPay(account=account, store=MemoryStore(), hooks=hooks, clock=clock)
        pay.performer._table[Send] = lambda effect: gateway.send(effect.request, effect.timeout)
        app = flask.Flask("shop")
        app.register_blueprint(create_blueprint(pay), url_prefix="/aplus")
        if before is not None:
            app.before_request(before)
        return pay, app.test_client()

    return make


class MayPayOnly(Shop):
    """Anybody may pay, nobody may look at a payment."""

    def authorize(self, details):
        return details.attempt is None


def test_who_may_pay_an_order_is_not_told_of_its_payment(serve, alipayplus, clock):
    pay, client = serve(MayPayOnly())
    attempt = pay.start("A-1")
    notified(pay, alipayplus, clock, alipayplus.notification(attempt))
    page = client.get(f"/aplus/payments/{attempt.payment_request_id}", headers=JSON)
    assert page.status_code == 404
    pressed = client.post("/aplus/pay", json={"order_ref": "A-1"}, headers=JSON)
    assert pressed.status_code == 200
    assert set(pressed.json) == {"page", "status"}


class MayPayAndFails(Shop):
    def authorize(self, details):
        return details.attempt is None or 1 / 0


def test_a_hook_that_fails_after_alipayplus_was_called_costs_the_buyer_nothing(serve, caplog):
    pay, client = serve(MayPayAndFails())
    pressed = client.post("/aplus/pay", json={"order_ref": "A-1"}, headers=JSON)
    assert (pressed.status_code, set(pressed.json)) == (200, {"page", "status"})
    assert pay.latest("A-1").order_code is not None
    (line,) = [one for one in caplog.records if one.levelname == "ERROR"]
    assert (line.event, line.route) == ("request_failed", "payment")


@pytest.mark.parametrize(
    ("body", "order_ref"),
    [
        ("order_ref=A%7E1", "A~1"),
        ("order_ref=%41-1&csrf_token=%41%42", "A-1"),
        ("order_ref=A-1&&", "A-1"),
        ("order_ref=%E6%94%AF", "支"),
    ],
)
def test_a_form_that_the_application_has_parsed_is_taken_however_it_was_escaped(
    serve, body, order_ref
):
    def protect():  # as Flask-WTF's CSRFProtect does
        flask.request.form.get("csrf_token")

    pay, client = serve(Shop(), protect)
    assert client.post("/aplus/pay", data=body, content_type=FORM).status_code == 303
    assert pay.latest(order_ref) is not None


WRONG = {
    "text": {"body": "<p>"},
    "nothing": {"body": None},
    "no headers": {"body": b"x", "headers": None},
    "a number": {"body": b"x", "headers": {"X-A": 1}},
    "two lines": {"body": b"x", "headers": {"X-A": "a\nb"}},
    "a dash": {"body": b"x", "headers": {"X-A": "a — b"}},
    "no type": {"body": b"x", "content_type": None},
    "a type of two lines": {"body": b"x", "content_type": "text/html\r\nX-A: b"},
}


@pytest.mark.parametrize("what", WRONG)
def test_a_page_that_cannot_be_sent_is_refused_in_the_hook_and_ours_is_shown(serve, what, caplog):
    class Shows(Shop):
        def render_order_code(self, details):
            return Rendering(**WRONG[what])

    with pytest.raises(InvalidValue, match=r"^Rendering"):
        Rendering(**WRONG[what])
    pay, client = serve(Shows())
    attempt = pay.start("A-1")
    shown = client.get(f"/aplus/payments/{attempt.payment_request_id}")
    assert shown.status_code == 200
    assert "<svg" in shown.text
    assert "hook render_order_code: raised InvalidValue" in caplog.text
