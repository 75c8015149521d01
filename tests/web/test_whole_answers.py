"""Each answer whole: its status, all its headers in their order, and its body."""

import json
import logging
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from aplus_adapters import Amount, AplusPay, LogIn, MemoryStore, Rendering
from aplus_adapters.web.http import MAX_BODY, HttpRequest
from aplus_adapters.web.page import PAGE_HEADERS, PageDesign
from aplus_adapters.web.routing import ROUTES
from support.gateway import CLOSED, OPEN, PAID, Gateway, inquired
from support.shop import NOON, Shop

BY_NAME = {route.name: route for route in ROUTES}
JSON = ("Accept", "application/json")
NOTHING_NEW = b":\n\n"  # a comment of the stream
TYPE = ("Content-Type", "application/json")
ID = "pay0000000000000000000000000000000000000001"
NO_STORE, NOSNIFF = ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")
IS_JSON = (("Content-Type", "application/json"), NO_STORE, NOSNIFF)
IS_PROBLEM = (("Content-Type", "application/problem+json"), NO_STORE, NOSNIFF)
IS_TEXT = (("Content-Type", "text/plain; charset=utf-8"), NO_STORE, NOSNIFF)
LANGUAGES = {"en": "en", "ja": "ja", "ko": "ko", "zh": "zh", "ar": "ar"}
STATUS = {
    "paymentRequestId": ID,
    "orderRef": "A-1",
    "state": "waiting",
    "amount": {"currency": "USD", "value": "4200"},
    "description": "2 tickets",
    "code": "https://codes.example/281",
    "codeImages": {"BIGIMAGE": "https://codes.example/i"},
    "expiresAt": "2026-11-23T12:03:00+00:00",
    "serverTime": "2026-11-23T12:00:00+00:00",
    "reason": None,
    "message": None,
    "paidAt": None,
    "paymentId": None,
    "wallet": None,
    "refunded": None,
    "brand": "Alipay+ Partner",
}


@pytest.fixture
def gateway(account, their_key, clock):
    return Gateway(account, their_key, clock)


@pytest.fixture
def hooks():
    return Shop()


@pytest.fixture
def pay(account, hooks, clock, gateway):
    from aplus_adapters.payments.effects import Send

    made = AplusPay(
        account=account,
        store=MemoryStore(),
        hooks=hooks,
        clock=clock,
        page=PageDesign(events=True),
    )
    made.performer._table[Send] = lambda effect: gateway.send(effect.request, effect.timeout)
    return made


@pytest.fixture
def ask(pay):
    """Send a request to a route and return its answer."""

    def ask(name, *headers, body=b"", method=None, can_stream=False, parameter=ID):
        route = BY_NAME[name]
        path = "/aplus" + route.path.replace("{payment_request_id}", parameter)
        if body and not any(key == "Content-Length" for key, _ in headers):
            headers = (*headers, ("Content-Length", str(len(body))))
        request = HttpRequest(
            method=method or route.method,
            path=path,
            headers=headers,
            body=body,
            can_stream=can_stream,
        )
        return pay.handle(route, request, parameter if "{" in route.path else "")

    return ask


def order(ref="A-1"):
    return json.dumps({"order_ref": ref}).encode()


def form(**fields):
    return urlencode(fields).encode()


FORM = ("Content-Type", "application/x-www-form-urlencoded")


def fails(gateway, ask):
    """Start a payment that Alipay+ refuses for a reason that its buyer may know."""
    no = {"resultCode": "USER_BALANCE_NOT_ENOUGH", "resultStatus": "F", "resultMessage": "no"}
    gateway.script["pay"] = [{"result": no}]
    return ask("pay", JSON, TYPE, body=order())


def test_a_press_leads_to_the_page(ask):
    answer = ask("pay", FORM, body=form(order_ref="A-1"))
    assert (answer.status, answer.body) == (303, b"")
    assert answer.headers == (("Location", f"payments/{ID}"), NO_STORE)


def test_a_press_of_a_till_gets_the_whole_status_and_where_to_go_on(ask):
    answer = ask("pay", JSON, TYPE, body=order())
    assert (answer.status, answer.headers) == (200, IS_JSON)
    more = {"page": f"payments/{ID}", "status": f"payments/{ID}/status"}
    assert json.loads(answer.body) == {**STATUS, **more}
    again = ask("new_code", JSON, TYPE, body=b"{}")
    more = {"page": f"../{ID}", "status": f"../{ID}/status"}
    assert json.loads(again.body) == {**STATUS, **more}


@pytest.mark.parametrize("name", ["payment", "status"])
def test_the_status_is_whole(ask, name, clock):
    ask("pay", JSON, TYPE, body=order())
    clock.moment += timedelta(seconds=7)
    answer = ask(name, JSON)
    assert (answer.status, answer.headers) == (200, IS_JSON)
    assert json.loads(answer.body) == {**STATUS, "serverTime": "2026-11-23T12:00:07+00:00"}


def test_the_status_of_what_is_paid_has_its_time_and_no_code(ask, pay, gateway, clock):
    ask("pay", JSON, TYPE, body=order())
    attempt = pay.store.get(ID)
    paid = "2026-11-23T20:00:09+08:00"
    gateway.script["inquiryPayment"] = [inquired(attempt, PAID, paymentTime=paid)]
    clock.moment = NOON + timedelta(seconds=20)
    assert json.loads(ask("status", JSON).body) == {
        **STATUS,
        "state": "paid",
        "code": None,
        "codeImages": {},
        "serverTime": "2026-11-23T12:00:20+00:00",
        "paidAt": paid,
        "paymentId": "P-0001",
    }


def test_the_status_of_a_failure_has_its_reason_and_its_sentence(ask, gateway):
    answer = json.loads(fails(gateway, ask).body)
    assert {**answer, "message": None} == {
        **STATUS,
        "state": "failed",
        "code": None,
        "codeImages": {},
        "reason": answer["reason"],
        "page": f"payments/{ID}",
        "status": f"payments/{ID}/status",
    }
    assert answer["reason"]
    assert answer["message"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_buyers_language_reaches_every_page_and_every_sentence(
    ask, gateway, pay, clock, language
):
    speaks = ("Accept-Language", language)
    started = json.loads(_fails_in(ask, gateway, speaks).body)
    assert f'<html lang="{language}"' in ask("payment", speaks).body.decode()
    texts = {
        "start": started["message"],
        "payment": json.loads(ask("payment", JSON, speaks).body)["message"],
        "status": json.loads(ask("status", JSON, speaks).body)["message"],
    }
    stream = ask("events", JSON, speaks, can_stream=True)
    texts["events"] = json.loads(pay.run(stream.next_chunk()).removeprefix(b"data: "))["message"]
    again = ask("new_code", JSON, TYPE, speaks, body=b"{}")
    texts["again"] = json.loads(again.body)["message"]
    assert len(set(texts.values())) == 1, texts
    english = json.loads(ask("status", JSON, ("Accept-Language", "en")).body)["message"]
    assert (texts["status"] == english) is (language == "en")


def _fails_in(ask, gateway, speaks):
    no = {"resultCode": "USER_BALANCE_NOT_ENOUGH", "resultStatus": "F", "resultMessage": "no"}
    gateway.script["pay"] = [{"result": no}]
    return ask("pay", JSON, TYPE, speaks, body=order())


def test_the_page_has_all_its_headers_and_the_address_of_its_events_if_they_can_be_sent(ask):
    ask("pay", JSON, TYPE, body=order())
    for can_stream in (False, True):
        answer = ask("payment", can_stream=can_stream)
        assert (answer.status, answer.headers) == (200, tuple(PAGE_HEADERS.items()))
        assert (f"{ID}/events" in answer.body.decode()) is can_stream


@pytest.mark.parametrize(("name", "kind"), [("style", "text/css"), ("script", "text/javascript")])
def test_the_pages_style_and_script_may_be_kept(ask, name, kind):
    answer = ask(name)
    assert answer.status == 200
    assert answer.headers == (
        ("Content-Type", f"{kind}; charset=utf-8"),
        ("Cache-Control", "public, max-age=3600"),
        NOSNIFF,
    )
    assert len(answer.body) > 500


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_events_are_sent_as_they_come_and_kept_by_nobody(ask, pay, clock, method):
    ask("pay", JSON, TYPE, body=order())
    answer = ask("events", method=method, can_stream=True)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers == (
        ("Content-Type", "text/event-stream"),
        ("Cache-Control", "no-store, no-transform"),
        ("X-Accel-Buffering", "no"),
        NOSNIFF,
    )
    if method == "HEAD":
        assert answer.next_chunk is None
        return
    first = pay.run(answer.next_chunk())
    assert (first[:6], first[-2:]) == (b"data: ", b"\n\n")
    assert json.loads(first[6:]) == STATUS
    assert clock.slept == []


def test_events_follow_each_change_with_a_second_between_and_end_with_the_payment(
    ask, pay, gateway, clock
):
    ask("pay", JSON, TYPE, body=order())
    attempt = pay.store.get(ID)
    gateway.script["inquiryPayment"] = [inquired(attempt, OPEN), inquired(attempt, CLOSED)]
    clock.moment = NOON + timedelta(seconds=18)
    answer = ask("events", can_stream=True)
    chunks = []
    while chunk := pay.run(answer.next_chunk()):
        chunks.append(chunk if chunk == NOTHING_NEW else json.loads(chunk[6:])["state"])
    # Inquired after 20 and 24 seconds.
    assert chunks == ["waiting", *[NOTHING_NEW] * 5, "expired"]
    assert clock.slept == [1.0] * 6


def test_events_end_after_a_while_as_the_page_asks_again_by_itself(ask, pay, gateway, clock):
    ask("pay", JSON, TYPE, body=order())
    gateway.script["inquiryPayment"] = [inquired(pay.store.get(ID), OPEN)]
    answer = ask("events", can_stream=True)
    assert pay.run(answer.next_chunk()).startswith(b"data: ")
    assert [pay.run(answer.next_chunk()) for _ in range(8)] == [*[NOTHING_NEW] * 7, b""]
    assert clock.slept == [1.0] * 7


def test_events_of_a_shop_that_cannot_answer_go_on(ask, pay, clock, caplog, monkeypatch):
    ask("pay", JSON, TYPE, body=order())
    answer = ask("events", can_stream=True)
    asked = []

    def get(request_id, original=pay.store.get):
        asked.append(request_id)
        if len(asked) == 1:
            raise OSError("away")
        return original(request_id) if len(asked) == 2 else None

    monkeypatch.setattr(pay.store, "get", get)
    assert pay.run(answer.next_chunk()) == NOTHING_NEW
    assert json.loads(pay.run(answer.next_chunk())[6:])["state"] == "waiting"
    assert f"events of payment {ID}: store get: raised OSError" in caplog.text
    assert pay.run(answer.next_chunk()) == b""  # it is no longer stored
    assert asked == [ID] * 3


# What is asked, and the status, the title and the further headers of its refusal.
TEXT = ("Content-Type", "text/plain")
REFUSALS = {
    "another media type": (
        lambda ask: ask("pay", TEXT, JSON, body=b"x"),
        (415, "expected application/x-www-form-urlencoded or application/json"),
    ),
    "no JSON": (
        lambda ask: ask("pay", TYPE, JSON, body=b"{"),
        (400, "the body cannot be read"),
    ),
    "no text": (
        lambda ask: ask("pay", FORM, JSON, body=b"order_ref=\xff"),
        (400, "the body cannot be read"),
    ),
    "two orders": (
        lambda ask: ask("pay", FORM, JSON, body=b"order_ref=A-1&order_ref=A-2"),
        (400, "the body cannot be read"),
    ),
    "two orders in JSON": (
        lambda ask: ask("pay", TYPE, JSON, body=b'{"order_ref":"A-1","order_ref":null}'),
        (400, "the body cannot be read"),
    ),
    "twenty-one fields": (
        lambda ask: ask("pay", FORM, JSON, body=b"&".join([b"a=1"] * 21)),
        (400, "the body cannot be read"),
    ),
    "no order": (
        lambda ask: ask("pay", FORM, JSON, body=form(other="A-1")),
        (400, "order_ref is missing: expected it in the body, once"),
    ),
    "an empty order": (
        lambda ask: ask("pay", TYPE, JSON, body=order("")),
        (400, "order_ref: expected 1 to 64 characters without controls"),
    ),
    "a long order": (
        lambda ask: ask("pay", TYPE, JSON, body=order("A" * 65)),
        (400, "order_ref: expected 1 to 64 characters without controls"),
    ),
    "an order of two lines": (
        lambda ask: ask("pay", TYPE, JSON, body=order("A\n1")),
        (400, "order_ref: expected 1 to 64 characters without controls"),
    ),
    "a list": (
        lambda ask: ask("pay", TYPE, JSON, body=b'{"order_ref":["A-1"]}'),
        (400, "order_ref: expected 1 to 64 characters without controls"),
    ),
    "a wrong method": (
        lambda ask: ask("pay", JSON, method="GET"),
        (405, "method not allowed", ("Allow", "POST, OPTIONS")),
    ),
    "another wrong method": (
        lambda ask: ask("status", JSON, method="DELETE"),
        (405, "method not allowed", ("Allow", "GET, HEAD, OPTIONS")),
    ),
    "another site's page": (
        lambda ask: ask(
            "pay",
            TYPE,
            JSON,
            ("Origin", "https://evil.example"),
            ("Host", "shop.example"),
            body=order(),
        ),
        (403, "this was sent by a page of another site"),
    ),
    "a length of no digits": (
        lambda ask: ask("pay", TYPE, JSON, ("Content-Length", "+1"), body=order()),
        (400, "Content-Length: expected digits"),
    ),
    "a length of other digits": (
        lambda ask: ask("pay", TYPE, JSON, ("Content-Length", "１"), body=order()),
        (400, "Content-Length: expected digits"),
    ),
    "a length of 19 digits": (
        lambda ask: ask("pay", TYPE, JSON, ("Content-Length", "0" * 19), body=order()),
        (400, "the body was consumed or cut off before it could be read"),
    ),
    "a long body": (
        lambda ask: ask("pay", TYPE, JSON, body=b"x" * (MAX_BODY + 1)),
        (413, f"the body is larger than {MAX_BODY} bytes"),
    ),
    "a body that was cut off": (
        lambda ask: ask("pay", TYPE, JSON, ("Content-Length", "99"), body=order()),
        (400, "the body was consumed or cut off before it could be read"),
    ),
    "a body that was consumed": (
        lambda ask: ask("pay", TYPE, JSON, ("Content-Length", "9")),
        (400, "the body was consumed or cut off before it could be read"),
    ),
    "chunks that were consumed": (
        lambda ask: ask("pay", TYPE, JSON, ("Transfer-Encoding", "chunked")),
        (400, "the body was consumed or cut off before it could be read"),
    ),
    "no such payment": (
        lambda ask: ask("status", JSON),
        (404, "there is no such payment"),
    ),
    "no events": (
        lambda ask: ask("events", JSON),
        (404, "there are no events, ask for the status"),
    ),
    "a notification that is none": (
        lambda ask: ask("notify", TEXT, JSON, body=b"x"),
        (415, "expected application/json"),
    ),
    "a notification without a signature": (
        lambda ask: ask("notify", TYPE, JSON, body=b"{}"),
        (400, "notification refused"),
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_whole_as_json_and_as_text(ask, case):
    request, (status, title, *more) = REFUSALS[case]
    answer = request(ask)
    assert (answer.status, answer.headers) == (status, (*IS_PROBLEM, *more))
    assert json.loads(answer.body) == {"type": "about:blank", "title": title, "status": status}

    def ask_for_text(name, *headers, **options):
        return ask(name, *(pair for pair in headers if pair != JSON), **options)

    answer = request(ask_for_text)
    assert (answer.status, answer.headers) == (status, (*IS_TEXT, *more))
    assert answer.body == f"{title}\n".encode()


@pytest.mark.parametrize("ref", ["A", "A" * 64])
def test_an_order_of_one_and_of_64_characters_is_taken(ask, ref):
    assert ask("pay", JSON, TYPE, body=order(ref)).status == 200
    assert (
        ask("pay", JSON, FORM, body=form(order_ref=ref, **{str(n): n for n in range(19)})).status
        == 200
    )


def test_a_body_of_the_most_bytes_is_read(ask):
    body = order() + b" " * (MAX_BODY - len(order()))
    assert ask("pay", JSON, TYPE, body=body).status == 200
    length = ("Content-Length", str(len(order())).zfill(18))
    assert ask("pay", JSON, TYPE, length, body=order()).status == 200
    assert ask("pay", JSON, TYPE, ("Content-Length", "1"), body=order()).status == 200


@pytest.mark.parametrize("name", BY_NAME)
def test_options_names_the_methods(ask, name):
    answer = ask(name, method="OPTIONS")
    methods = "GET, HEAD, OPTIONS" if BY_NAME[name].method == "GET" else "POST, OPTIONS"
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers == (("Allow", methods), NO_STORE)


class Careful(Shop):
    """A shop that notes what it is asked to authorize."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def authorize(self, details):
        self.asked.append((details.order_ref, details.attempt))
        return True


class Closed(Shop):
    def authorize(self, details):
        return LogIn("/login")


class TestAShopWithALogIn:
    @pytest.fixture
    def hooks(self):
        return Closed()

    def test_answers_a_program_with_the_address_and_leads_a_browser_there(self, ask):
        answer = ask("pay", JSON, TYPE, body=order())
        assert (answer.status, answer.headers) == (401, IS_PROBLEM)
        assert json.loads(answer.body) == {
            "type": "about:blank", "title": "log in first", "status": 401, "logIn": "/login",
        }  # fmt: skip
        answer = ask("pay", TYPE, body=order())
        assert (answer.status, answer.headers) == (303, (("Location", "/login"), NO_STORE))


class TestACarefulShop:
    @pytest.fixture
    def hooks(self):
        return Careful()

    def test_is_told_the_payment_that_somebody_wants_to_see(self, ask, pay, hooks):
        ask("pay", JSON, TYPE, body=order())
        stored = pay.find(ID)
        assert hooks.asked == [("A-1", None), ("A-1", stored)]  # may it be paid, may it be seen
        hooks.asked.clear()
        for name in ("payment", "status", "code"):
            assert ask(name, JSON).status == 200
        assert hooks.asked == [("A-1", stored)] * 3

    @pytest.mark.parametrize("odd", ["A-1", "a" * 65, "a%2Fb", "pay 1"])
    def test_is_not_asked_nor_its_store_for_what_is_no_id(self, ask, pay, hooks, odd, monkeypatch):
        monkeypatch.setattr(pay.store, "get", lambda _: 1 / 0)
        assert ask("status", JSON, parameter=odd).status == 404
        assert hooks.asked == []


def test_of_the_paths_that_strangers_choose_eight_are_compared(pay, caplog):
    for number in range(12):
        pay.context.compare_mount(f"/elsewhere{number}/notify")
    events = [getattr(one, "event", None) for one in caplog.records]
    assert events.count("notify_path_differs") == 8


class Trouble(Shop):
    """Hooks of a shop that fail or answer something else, as `trouble` says."""

    trouble = None

    def load_order(self, details):
        if self.trouble == "a bug":
            raise LookupError("no such table")
        return None if self.trouble == "no order" else super().load_order(details)

    def authorize(self, details):
        answers = {"a stranger": False, "a word for no": "no", "a number": 0, "no answer": None}
        return answers.get(self.trouble, True)

    def render_order_code(self, details):
        if self.trouble == "a broken page":
            raise LookupError("no such template")
        if self.trouble == "no page":
            return "<html>"
        if self.trouble == "its own page":
            return Rendering(body=b"<p>", content_type="text/html", headers={"X-Shop": "1"})
        return None


class TestATroubledShop:
    @pytest.fixture
    def hooks(self):
        return Trouble()

    def test_its_failures_are_short_answers_and_its_log_has_the_reason(
        self, ask, pay, hooks, caplog, monkeypatch
    ):
        caplog.set_level(logging.WARNING)
        for trouble, status, title, more, logged in [
            ("no order", 404, "order 'A-1': the shop has no such order to pay; check the link", (), ""),
            ("a stranger", 403, "this order is not yours to pay", (), ""),
            (
                "a bug", 500, "this shop cannot take the payment at the moment", (),
                "pay of order A-1: hook load_order: raised LookupError",
            ),
            *(
                (
                    trouble, 500, "this shop cannot take the payment at the moment", (),
                    f"pay of order A-1: hook authorize: found {found}, expected True, False or a LogIn",
                )
                for trouble, found in (("a word for no", "str"), ("a number", "int"), ("no answer", "NoneType"))
            ),
        ]:  # fmt: skip
            caplog.clear()
            hooks.trouble = trouble
            answer = ask("pay", JSON, TYPE, body=order())
            assert (answer.status, answer.headers) == (status, (*IS_PROBLEM, *more))
            assert json.loads(answer.body)["title"] == title
            assert logged in caplog.text
            assert bool(caplog.records) is bool(logged)
            assert all(record.exc_info for record in caplog.records)
            hook = next((word for word in ("authorize", "load_order") if word in logged), None)
            assert [record.exc_info[1].hook for record in caplog.records] == [hook] * bool(logged)

    def test_a_store_that_fails_is_asked_again_in_two_seconds(self, ask, pay, caplog, monkeypatch):
        monkeypatch.setattr(pay.store, "add", lambda *_: 1 / 0)
        answer = ask("pay", JSON, TYPE, body=order())
        assert (answer.status, answer.headers) == (503, (*IS_PROBLEM, ("Retry-After", "2")))
        assert json.loads(answer.body)["title"] == "please try again in a moment"
        (line,) = caplog.records
        assert (line.levelname, line.getMessage()[:35]) == (
            "ERROR",
            "pay of order A-1: store add: raised",
        )
        assert line.exc_info
        assert (line.order_ref, line.route) == ("A-1", "pay")

    def test_what_fails_about_a_payment_names_it(self, ask, pay, caplog, monkeypatch):
        ask("pay", JSON, TYPE, body=order())
        monkeypatch.setattr(pay.store, "get", lambda *_: 1 / 0)
        for name in ("status", "new_code"):
            caplog.clear()
            assert ask(name, JSON, TYPE, body=b"{}").status == 503
            (line,) = caplog.records
            assert line.getMessage().startswith(f"{name} of payment {ID}: store get: raised")
            assert line.payment_request_id == ID

    def test_a_stranger_learns_of_no_payment(self, ask, hooks):
        ask("pay", JSON, TYPE, body=order())
        hooks.trouble = "a stranger"
        for name in ("payment", "status"):
            answer = ask(name, JSON)
            assert (answer.status, answer.headers) == (404, IS_PROBLEM)
            assert json.loads(answer.body)["title"] == "there is no such payment"
        assert ask("events", JSON, can_stream=True).status == 404
        assert ask("new_code", JSON, TYPE, body=b"{}").status == 404

    @pytest.mark.parametrize("trouble", ["a broken page", "no page", None])
    def test_a_page_of_the_shops_that_cannot_be_shown_is_ours(self, ask, hooks, caplog, trouble):
        ask("pay", JSON, TYPE, body=order())
        hooks.trouble = trouble
        caplog.clear()
        answer = ask("payment")
        assert (answer.status, answer.headers) == (200, tuple(PAGE_HEADERS.items()))
        said = {
            "a broken page": "hook render_order_code: raised LookupError",
            "no page": "hook render_order_code: found str, expected a Rendering or None",
        }
        lines = [line.getMessage() for line in caplog.records]
        assert len(lines) == (trouble is not None)
        assert all(line.startswith(said[trouble]) for line in lines)

    def test_the_shops_own_page_is_shown_with_its_headers(self, ask, hooks):
        ask("pay", JSON, TYPE, body=order())
        hooks.trouble = "its own page"
        answer = ask("payment")
        assert (answer.status, answer.body) == (200, b"<p>")
        assert answer.headers == (("Content-Type", "text/html"), NO_STORE, ("X-Shop", "1"))


def test_too_many_attempts_are_told_when_to_come_again(ask, gateway, caplog, account, clock):
    for _ in range(12):
        fails(gateway, ask)
    caplog.clear()
    answer = fails(gateway, ask)
    assert (answer.status, answer.headers) == (429, (*IS_PROBLEM, ("Retry-After", "600")))
    assert json.loads(answer.body)["title"] == "this order was tried too often; try again later"
    (line,) = caplog.records
    assert (line.levelname, line.getMessage()[:14]) == ("WARNING", "pay: order A-1")


def test_an_order_that_changed_after_it_was_paid_is_told_so(ask, pay, hooks, gateway, clock):
    ask("pay", JSON, TYPE, body=order())
    gateway.script["inquiryPayment"] = [inquired(pay.store.get(ID), PAID)]
    clock.moment = NOON + timedelta(seconds=20)
    ask("status", JSON)
    hooks.price = Amount("USD", 1)
    answer = ask("pay", JSON, TYPE, body=order())
    assert (answer.status, answer.headers) == (409, IS_PROBLEM)
    title = "this order has changed since it was paid; ask the shop"
    assert json.loads(answer.body)["title"] == title


def test_the_log_names_the_payment_that_a_refused_notification_claims(ask, caplog):
    ask("notify", JSON, TYPE, body=json.dumps({"paymentRequestId": ID}).encode())
    (line,) = caplog.records
    assert (line.levelname, line.payment_request_id) == ("WARNING", ID)
    assert line.getMessage().startswith("notification refused: ")
    assert line.getMessage().endswith(f"; it claims payment {ID}")
