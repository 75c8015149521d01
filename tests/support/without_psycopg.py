"""A plugin for pytest: Django finds no psycopg, and takes psycopg2 in its place."""

import sys

sys.modules["psycopg"] = None
from django.db.backends.postgresql import base, psycopg_any  # noqa: E402  # without it

del sys.modules["psycopg"]  # the tests' own look at the database is by psycopg
assert base.Database.__name__ == "psycopg2"
assert not psycopg_any.is_psycopg3
