"""`manage.py aplus`."""
