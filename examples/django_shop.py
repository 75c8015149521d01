"""A small Django shop that takes payments by Alipay+ order code; its orders are in the ORM.

Its settings are the APLUS_* variables, DATABASE (an address such as sqlite:///shop.db) and PORT.
"""

import os
import secrets
from wsgiref.simple_server import make_server

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connection, models
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import include, path
from sqlalchemy.engine import make_url

from aplus_adapters import Account, Amount, AplusPay, DjangoStore, OrderToPay, State
from aplus_adapters.django import create_urls

PAGE = '<!doctype html><title>Harbour Cinema</title><link rel="icon" href="data:,">'
BUY = '<form method="post" action="/orders"><button>Ticket</button></form>'
PAY = """<p>Order {0}: {1}, {2}<form method="post" action="/aplus/pay">
<button name="order_ref" value="{0}">Pay</button></form><a href="/">More</a>"""
address = make_url(os.environ.get("DATABASE", "sqlite:///shop.db"))
kind = address.get_backend_name().replace("sqlite", "sqlite3").replace("mariadb", "mysql")
if kind == "mysql":
    __import__("pymysql").install_as_MySQLdb()  # leave it out if you have mysqlclient
parts = {"NAME": address.database, "USER": address.username, "PASSWORD": address.password}
parts |= {"ENGINE": f"django.db.backends.{kind}", "HOST": address.host, "PORT": address.port}
databases = {"default": {name: part or "" for name, part in parts.items()}}
apps = ["aplus_adapters.django"]  # its migrations make the payments' tables
settings.configure(DATABASES=databases, INSTALLED_APPS=apps, ROOT_URLCONF=__name__)
settings.ALLOWED_HOSTS = ["127.0.0.1"]
django.setup()


class Order(models.Model):
    ref = models.CharField(max_length=64, primary_key=True, default=secrets.token_hex)
    status = models.CharField(max_length=16, default="new")

    class Meta:
        app_label, db_table = "shop", "orders"

    def __str__(self):
        return self.ref


class Shop:
    def load_order(self, details):
        order = Order.objects.filter(ref=details.order_ref).first()
        price, back = Amount.parse("42.00", "USD"), f"/orders/{details.order_ref}"
        return order and OrderToPay(amount=price, description="Ticket", return_url=back)

    def payment_changed(self, details):
        order = Order.objects.select_for_update().get(ref=details.attempt.order_ref)
        if order.status != "paid":  # commits together with the payment, or not at all
            order.status = "paid" if details.attempt.state is State.SUCCEEDED else "unpaid"
            order.save()

    def payment_conflict(self, details):
        print("look at payment", details.attempt, details.conflict.reason)


def create_order(request):
    return HttpResponseRedirect(f"/orders/{Order.objects.create().ref}")


def show_order(request, ref):
    order = get_object_or_404(Order, ref=ref)
    return HttpResponse(PAGE + PAY.format(order.ref, "Ticket", order.status))


def make_tables():  # a project of several files runs `manage.py migrate`
    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        if "orders" not in connection.introspection.table_names():
            editor.create_model(Order)


store = DjangoStore()
pay = AplusPay(account=Account.from_env(), store=store, hooks=Shop(), shop_name="Cinema")
urlpatterns = [path("", lambda _: HttpResponse(PAGE + BUY)), path("orders", create_order)]
urlpatterns += [path("orders/<ref>", show_order), path("aplus/", include(create_urls(pay)))]
application = get_wsgi_application()
if __name__ == "__main__":
    make_tables()
    make_server("127.0.0.1", int(os.environ.get("PORT", "8000")), application).serve_forever()
