"""The database of `aplus demo`: the one that a person names, or a file."""

from __future__ import annotations

from sqlalchemy import URL, NullPool, create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from aplus_adapters.errors import ConfigurationError

__all__ = ["check_database", "read_address", "read_paid"]

_DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
_ADDRESSES = (
    "sqlite:///shop.db, postgresql://user:password@host/name, mysql://user:password@host/name or "
    "mariadb://user:password@host/name"
)
_PAID = """
SELECT payment_request_id, amount_value, currency FROM aplus_payments p
JOIN orders o ON o.ref = p.order_ref
WHERE p.order_ref = :ref AND p.state = 'succeeded' AND o.status = 'paid'
"""


def read_address(address: str) -> URL:
    """Return an address with the driver that our extras bring, if it names none."""
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        found = "an address that cannot be read"  # not shown, as a password may stand in it
        raise ConfigurationError(f"database: found {found}, expected {_ADDRESSES}") from None
    kind = url.get_backend_name()
    if kind not in _DRIVERS:
        raise ConfigurationError(f"database: found the kind {kind[:40]!r}, expected {_ADDRESSES}")
    return url.set(drivername=_DRIVERS[kind]) if url.drivername == kind else url


def check_database(url: URL, framework: str) -> None:
    """Raise ConfigurationError if it cannot be reached or belongs to somebody else."""
    try:
        engine = create_engine(url, poolclass=NullPool)
        if engine.dialect.is_async:
            raise ConfigurationError(
                f"database {url}: found a driver that awaits, expected one that blocks; leave "
                f"+{url.get_driver_name()} out"
            )
        with engine.connect() as connection:
            inspector = inspect(connection)
            names = inspector.get_columns("orders") if inspector.has_table("orders") else None
    except ImportError as error:
        raise ConfigurationError(
            f"database: {error.name} is not installed; run pip install "
            "'aplus_adapters[postgresql,mysql]'"
        ) from None
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise ConfigurationError(f"database {url}: cannot be used: {cause[:300]}") from None
    expected = {"ref", "status"} if framework == "django" else {"ref", "item", "status"}
    if names is not None and {column["name"] for column in names} != expected:
        raise ConfigurationError(
            f"database {url}: found a table orders that this demo has not made, expected an empty "
            "database"
        )


def read_paid(url: URL, order_ref: str) -> list[tuple[str, int, str]]:
    """Return request id, minor units and currency of each attempt that is stored as paid."""
    with create_engine(url, poolclass=NullPool).connect() as connection:
        rows = connection.execute(text(_PAID), {"ref": order_ref})
        return [(str(row[0]), int(row[1]), str(row[2])) for row in rows]
