"""A Django shop with an order of its own, and Django's connections to one database after another."""

import contextlib

import django
from django.core.management import call_command
from django.db import connections

from support.served import django_settings

ADDRESS = [""]  # of the database that Django uses now
ENGINES = {"sqlite": "sqlite3", "postgresql": "postgresql", "mysql": "mysql"}


def configure(address):
    """Return Django's settings of a database that SQLAlchemy knows by an address."""
    from sqlalchemy.engine import make_url

    url = make_url(address)
    made = {"ENGINE": f"django.db.backends.{ENGINES[url.get_backend_name()]}", "NAME": url.database}
    if url.host:
        made |= {"USER": url.username or "", "PASSWORD": url.password or "", "HOST": url.host}
        made["PORT"] = str(url.port)
    if url.get_backend_name() == "mysql":
        made["OPTIONS"] = {"charset": "utf8mb4"}  # Django before 5.2 takes utf8mb3 by default
    return made


def set_up_django():
    """Set Django up once, with our application and that of the orders."""
    django_settings()
    django.setup()


def use_pymysql():
    """Put PyMySQL in the place of mysqlclient, as many shops do."""
    import pymysql

    pymysql.install_as_MySQLdb()


@contextlib.contextmanager
def database(address, **options):
    """Let Django use a database, without tables, for the block."""
    set_up_django()
    if address.startswith("mysql"):
        use_pymysql()
    before, made = connections.settings, {**configure(address), **options}
    connections.settings = connections.configure_settings({"default": made})
    ADDRESS[0] = address
    forget()
    try:
        yield
    finally:
        close()
        connections.settings = before
        forget()


def close():
    connections["default"].close()


def forget():
    """Let the next use in this thread make a new connection, by new settings."""
    with contextlib.suppress(AttributeError):
        del connections["default"]


def migrate():
    call_command("migrate", run_syncdb=True, verbosity=0)


def migrate_at(address):
    """Make every table of the applications in a database without tables."""
    with database(address):
        migrate()
