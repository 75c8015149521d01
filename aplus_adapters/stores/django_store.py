"""Keep payments in a Django shop's own database, in the transactions of its ORM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.stores.django_database import DjangoDatabase
from aplus_adapters.stores.schema import TABLES
from aplus_adapters.stores.sql import SQLStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from aplus_adapters.payments.model import Observation, RefundObservation, Transition

__all__ = ["DjangoStore"]


class DjangoStore(SQLStore[Any]):
    """Keeps attempts as `SQLStore` does, through Django's own connection and transactions.

    `using` is the alias of a database in Django's settings. `details.connection` of a hook is
    `django.db.connections[using]`, and what the hook writes by the ORM commits together with the
    payment, or not at all. `shop` is as in `SQLStore`.

    The tables come from Django's migrations: have "aplus_adapters.django" in INSTALLED_APPS and run
    `manage.py migrate`. Every call is a transaction of its own: within a transaction of Django's it
    raises ConfigurationError, except in the tests of a `django.test.TestCase`, which commit nothing
    at all. Nothing connects here. Raises ConfigurationError for an unusable name.
    """

    runs_hooks_in_its_thread = True

    def __init__(self, using: str = "default", *, shop: str = "shop") -> None:
        if not isinstance(using, str):
            raise ConfigurationError(
                f"DjangoStore using: found {type(using).__name__}, expected the alias of a "
                "database in Django's settings, such as 'default'"
            )
        self._using = using
        self._keep(shop, TABLES)
        self._use(DjangoDatabase(using, TABLES))

    def record(
        self,
        payment_request_id: str,
        observation: Observation | RefundObservation,
        inside: Callable[[Transition, Any], None],
        /,
    ) -> Transition:
        """Record an observation and call `inside` with Django's connection, in one transaction."""
        from django.db import connections  # noqa: PLC0415  # an extra

        def with_djangos(transition: Transition, _connection: Any) -> None:
            inside(transition, connections[self._using])

        return super().record(payment_request_id, observation, with_djangos)
