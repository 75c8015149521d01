"""Django's migrations of the payments' tables."""
