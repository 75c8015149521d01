"""The racing shop behind servers, with an awaiting store where the driver of DATABASE awaits."""

import os

from databases import blocking
from racing_shop import Shop, make_pay, make_store
from served import flask_application, starlette_application
from sqlalchemy import make_url, text

from aplus_adapters import Account, AplusPay, AsyncSQLStore


class AsyncShop(Shop):
    async def payment_changed(self, details):
        values = {"ref": details.attempt.order_ref, "state": details.attempt.state.value}
        await details.connection.execute(text("INSERT INTO effects VALUES (:ref, :state)"), values)


def flask_soaked():
    return flask_application(make_pay())


def starlette_soaked():
    address = os.environ["DATABASE"]
    if not make_url(address).get_dialect().is_async:
        return starlette_application(make_pay())
    make_store(blocking(address)).close()
    pay = AplusPay(account=Account.from_env(), store=AsyncSQLStore(address), hooks=AsyncShop())
    return starlette_application(pay)
