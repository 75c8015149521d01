"""Make the tables of `DjangoStore`, exactly those that `SQLStore` makes."""

from __future__ import annotations

from typing import Any

from django.db import migrations

from aplus_adapters.stores.django_tables import drop_tables, make_tables


class Migration(migrations.Migration):  # type: ignore[misc]  # Django has no types
    """Tables that are there already, in this version, are kept as they are."""

    initial = True
    dependencies: tuple[Any, ...] = ()
    operations = (migrations.RunPython(make_tables, drop_tables),)
