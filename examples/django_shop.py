"""A small Django shop that takes payments by Alipay+ order code, through the WSGI middleware.

Its settings are the APLUS_* variables, DATABASE (a SQLAlchemy address) and PORT.
"""

import os
import secrets
from wsgiref.simple_server import make_server

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from sqlalchemy import text

from aplus_adapters import Account, Amount, AplusPay, OrderToPay, SQLStore, State
from aplus_adapters.wsgi import AplusMiddleware

PAGE = '<!doctype html><title>Harbour Cinema</title><link rel="icon" href="data:,">'
BUY = '<form method="post" action="/orders"><button>Ticket</button></form>'
PAY = """<p>Order {0}: {1}, {2}<form method="post" action="/aplus/pay">
<button name="order_ref" value="{0}">Pay</button></form><a href="/">More</a>"""
store = SQLStore(os.environ.get("DATABASE", "sqlite:///shop.db"))


def sql(query, **values):
    with store.engine.begin() as connection:
        result = connection.execute(text(query), values)
        return result.one_or_none() if result.returns_rows else None


def find_order(ref):
    return sql("SELECT ref, item, status FROM orders WHERE ref = :ref", ref=ref)


sql("CREATE TABLE IF NOT EXISTS orders (ref TEXT PRIMARY KEY, item TEXT, status TEXT)")


class Shop:
    def load_order(self, details):
        order, back = find_order(details.order_ref), f"/orders/{details.order_ref}"
        price = Amount.parse("42.00", "USD")
        return order and OrderToPay(amount=price, description=order.item, return_url=back)

    def payment_changed(self, details):
        status = "paid" if details.attempt.state is State.SUCCEEDED else "unpaid"
        query = text("UPDATE orders SET status = :status WHERE ref = :ref AND status != 'paid'")
        values = {"status": status, "ref": details.attempt.order_ref}
        details.connection.execute(query, values)  # commits together with the payment

    def payment_conflict(self, details):
        print("look at payment", details.attempt, details.conflict.reason)


def shop_window(request):
    return HttpResponse(PAGE + BUY)


@csrf_exempt  # a demonstration; a real shop's own forms keep Django's protection
def create_order(request):
    ref = secrets.token_hex(8)
    sql("INSERT INTO orders VALUES (:ref, 'Ticket', 'new')", ref=ref)
    return HttpResponseRedirect(f"/orders/{ref}")


def show_order(request, ref):
    order = find_order(ref)
    if order is None:
        raise Http404
    return HttpResponse(PAGE + PAY.format(*order))


urlpatterns = [path("", shop_window), path("orders", create_order)]
urlpatterns += [path("orders/<ref>", show_order)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"])
pay = AplusPay(account=Account.from_env(), store=store, hooks=Shop(), shop_name="Cinema")
application = AplusMiddleware(get_wsgi_application(), pay, prefix="/aplus")
if __name__ == "__main__":
    make_server("127.0.0.1", int(os.environ.get("PORT", "8000")), application).serve_forever()
