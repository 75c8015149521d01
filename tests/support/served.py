"""One shop, in every way of mounting it that the adapter contract is run through."""

import os
import sys

from aplus_adapters import Account, PageDesign
from aplus_adapters.testing.served_shop import RecordingShop, make_pay


class PrivateShop(RecordingShop):
    def authorize(self, details):
        return details.visitor.native.headers.get("X-User") == "owner"


def nothing_here(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"the application's own 404"]


def flask_application(pay):
    from flask import Flask

    from aplus_adapters.flask import create_blueprint

    app = Flask("shop")
    app.register_blueprint(create_blueprint(pay), url_prefix="/aplus")
    return app


def flask_below_script_name(pay):
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    return DispatcherMiddleware(nothing_here, {"/outer": flask_application(pay)})


def flask_subdomain(pay):
    from flask import Flask

    from aplus_adapters.flask import create_blueprint

    app = Flask("shop", subdomain_matching=True)
    app.config["SERVER_NAME"] = "shop.example"
    app.register_blueprint(create_blueprint(pay), url_prefix="/aplus", subdomain="pay")
    return app


def flask_nested(pay):
    from flask import Blueprint, Flask

    from aplus_adapters.flask import create_blueprint

    outer = Blueprint("outer", __name__, url_prefix="/outer")
    outer.register_blueprint(create_blueprint(pay), url_prefix="/aplus")
    app = Flask("shop")
    app.register_blueprint(outer)
    return app


def wsgi_application(pay):
    from aplus_adapters.wsgi import AplusMiddleware

    return AplusMiddleware(nothing_here, pay)


def wsgi_below_script_name(pay):
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    return DispatcherMiddleware(nothing_here, {"/outer": wsgi_application(pay)})


def django_settings():
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            ROOT_URLCONF=__name__,
            ALLOWED_HOSTS=["*"],
            SECRET_KEY="of a test",
            INSTALLED_APPS=["aplus_adapters.django", "support.django_orders"],
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        )


urlpatterns = []  # of the Django project


def django_wsgi(pay):
    from aplus_adapters.wsgi import AplusMiddleware

    django_settings()
    from django.core.wsgi import get_wsgi_application

    return AplusMiddleware(get_wsgi_application(), pay)


def django_asgi(pay):
    from aplus_adapters.asgi import AplusMiddleware

    django_settings()
    from django.core.asgi import get_asgi_application

    return AplusMiddleware(get_asgi_application(), pay)


def django_urls(pay):
    from types import ModuleType

    django_settings()
    import django
    from django.core.handlers.wsgi import WSGIHandler
    from django.urls import include, path

    from aplus_adapters.django import create_urls

    django.setup()
    urls = ModuleType("urls")
    urls.urlpatterns = [path("aplus/", include(create_urls(pay)))]

    class Application(WSGIHandler):
        """One shop among the many of this process: it has URLs of its own."""

        def get_response(self, request):
            request.urlconf = urls
            return super().get_response(request)

    return Application()


def litestar_application(pay):
    from litestar import Litestar

    from aplus_adapters.asgi import AplusMiddleware

    return AplusMiddleware(Litestar([], logging_config=None), pay)


def quart_application(pay):
    from quart import Quart

    from aplus_adapters.asgi import AplusMiddleware

    app = Quart("shop")
    app.asgi_app = AplusMiddleware(app.asgi_app, pay)
    return app


def starlette_application(pay):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from aplus_adapters.starlette import create_routes

    routes = [Mount("/aplus", routes=create_routes(pay))]
    return Starlette(routes=routes, lifespan=pay.lifespan)


def starlette_nested(pay):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    return Starlette(routes=[Mount("/outer", app=starlette_application(pay))])


def starlette_subdomain(pay):
    from starlette.applications import Starlette
    from starlette.routing import Host

    return Starlette(routes=[Host("pay.shop.example", app=starlette_application(pay))])


def fastapi_application(pay):
    from fastapi import FastAPI

    from aplus_adapters.fastapi import create_router

    app = FastAPI()
    app.include_router(create_router(pay), prefix="/aplus")
    return app


def fastapi_mounted(pay):
    from fastapi import APIRouter, FastAPI

    from aplus_adapters.fastapi import create_router

    inner, router = FastAPI(), APIRouter()
    router.include_router(create_router(pay), prefix="/aplus")
    inner.include_router(router)
    app = FastAPI()
    app.mount("/outer", inner)
    return app


def asgi_application(pay):
    from starlette.applications import Starlette

    from aplus_adapters.asgi import AplusMiddleware

    return AplusMiddleware(Starlette(), pay)


def asgi_mounted(pay):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    return Starlette(routes=[Mount("/outer", app=asgi_application(pay))])


def flask_served():
    """Make the application in a server's process."""
    return flask_application(make_pay(os.environ["DATABASE"], Account.from_env()))


def starlette_served():
    """Make the application in a server's process."""
    return starlette_application(make_pay(os.environ["DATABASE"], Account.from_env()))


def _with_a_button(**options):
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    pay = make_pay(os.environ["DATABASE"], Account.from_env(), **options)
    app = starlette_application(pay)
    form = '<form method="post" action="aplus/pay"><button name="order_ref" value="A-1">Pay'
    app.router.routes.append(Route("/buy", lambda request: HTMLResponse(form)))
    return app


def polling_served():
    """Make a shop in which a person can buy; its page asks for the state."""
    return _with_a_button()


def events_served():
    """Make a shop in which a person can buy; its page listens for the state."""
    return _with_a_button(page=PageDesign(events=True))


if __name__ == "__main__":
    from wsgiref.simple_server import make_server

    make_server("127.0.0.1", int(sys.argv[1]), flask_served()).serve_forever()
