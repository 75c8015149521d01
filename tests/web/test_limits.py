"""What a buyer is answered when an order may not be tried again now, in each kind of adapter."""

import asyncio
from datetime import UTC, datetime

import httpx
import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.routing import Mount

from aplus_adapters import Amount, AplusPay, MemoryStore, State, Timing
from aplus_adapters.flask import create_blueprint
from aplus_adapters.starlette import create_routes
from aplus_adapters.testing.store_values import an_attempt
from aplus_adapters.web.openapi import OPERATIONS
from support.shop import Shop

JSON = {"Accept": "application/json"}


def a_shop_where(state, account):
    """Return a shop whose one order has had its one attempt within the hour."""
    pay = AplusPay(
        account=account, store=MemoryStore(), hooks=Shop(), timing=Timing(attempts_per_hour=1)
    )
    made = an_attempt(
        state=state,
        client_id=account.client_id,
        created_at=datetime.now(UTC),
        amount=Amount("USD", 1),
        next_call_at=None,
    )
    pay.store.add(made)
    return pay


def press_in_flask(pay, path):
    app = Flask("shop")
    app.register_blueprint(create_blueprint(pay), url_prefix="/aplus")
    answer = app.test_client().post(f"/aplus{path}", json={"order_ref": "A-1"}, headers=JSON)
    return answer.status_code, answer.headers, answer.get_json()


def press_in_starlette(pay, path):
    app = Starlette(routes=[Mount("/aplus", routes=create_routes(pay))], lifespan=pay.lifespan)

    async def press():
        transport = httpx.ASGITransport(app)
        async with pay.lifespan(), httpx.AsyncClient(transport=transport) as client:
            address = f"http://shop.example/aplus{path}"
            return await client.post(address, json={"order_ref": "A-1"}, headers=JSON)

    answer = asyncio.run(press())
    return answer.status_code, answer.headers, answer.json()


@pytest.mark.parametrize("press", [press_in_flask, press_in_starlette])
@pytest.mark.parametrize(("path", "name"), [("/pay", "pay"), ("/payments/pay1/new", "new_code")])
@pytest.mark.parametrize(("state", "status"), [(State.FAILED, 429), (State.SUCCEEDED, 409)])
def test_a_press_that_may_not_be_is_answered_as_described(
    account, caplog, press, path, name, state, status
):
    pay = a_shop_where(state, account)
    found, headers, answer = press(pay, path)
    assert found == answer["status"] == status
    assert ("Retry-After" in headers) is (status == 429)
    assert status in OPERATIONS[name]["responses"]
    assert "A-1" in caplog.text  # the operator is told which order it is
    assert pay.store.latest("A-1").payment_request_id == "pay1"
