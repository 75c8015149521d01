"""A shop without annotations, behind each middleware: it passes as it is."""

from aplus_adapters import Account, Amount, AplusPay, MemoryStore, OrderToPay, asgi, wsgi


class Shop:
    def load_order(self, details):  # type: ignore[no-untyped-def]
        return OrderToPay(amount=Amount.parse("42.00", "USD"), description=details.order_ref)

    def payment_changed(self, details):  # type: ignore[no-untyped-def]
        details.connection.execute("anything")

    def payment_conflict(self, details):  # type: ignore[no-untyped-def]
        print(details.conflict.reason)


def wsgi_app(environ, start_response):  # type: ignore[no-untyped-def]
    return []


async def asgi_app(scope, receive, send):  # type: ignore[no-untyped-def]
    pass


pay = AplusPay(account=Account.from_env(), store=MemoryStore(), hooks=Shop())
blocking = wsgi.AplusMiddleware(wsgi_app, pay, prefix="/aplus")
awaiting = asgi.AplusMiddleware(asgi_app, pay, prefix="/aplus")
