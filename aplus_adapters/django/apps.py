"""The application whose migrations make the tables of `DjangoStore`."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["PaymentsConfig"]


class PaymentsConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """INSTALLED_APPS += ["aplus_adapters.django"]. It has no models: its tables are ours alone."""

    name = "aplus_adapters.django"
    label = "aplus_adapters"
    verbose_name = "Alipay+ payments"
