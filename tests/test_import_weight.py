"""Importing the package costs little and touches nothing."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

SCRIPT = """
import sys
sockets, files = [], []
sys.addaudithook(lambda event, args: sockets.append(event) if event.startswith("socket.") else None)
sys.addaudithook(lambda event, args: files.append(args[0]) if event == "open" else None)
import aplus_adapters
heavy = {"flask", "starlette", "fastapi", "sqlalchemy", "jinja2", "segno", "httpx", "httpx2",
         "click", "uvicorn", "asyncio"} & set(sys.modules)
assert not heavy, heavy
assert not sockets, sockets
languages = [path for path in files if str(path).endswith(".json")]
assert not languages, languages
"""


def test_importing_the_package_loads_no_framework_and_opens_no_socket():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_every_public_name_exists():
    if find_spec("sqlalchemy") is None:
        pytest.importorskip("sqlalchemy", reason="SQLStore is an extra; the full suite checks it")
    import aplus_adapters

    missing = [name for name in aplus_adapters.__all__ if not hasattr(aplus_adapters, name)]
    assert missing == []
    assert set(aplus_adapters.__all__) <= set(dir(aplus_adapters))


def test_an_unknown_name_is_an_attribute_error():
    import aplus_adapters.stores

    for module in (aplus_adapters, aplus_adapters.stores):
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = module.nothing


@pytest.mark.parametrize("name", ["SQLStore", "stores.Tables", "stores.include_object"])
def test_without_sqlalchemy_the_store_says_what_to_install(name):
    script = f"""
import sys
sys.modules["sqlalchemy"] = None
import aplus_adapters, aplus_adapters.stores
try:
    aplus_adapters.{name}
except aplus_adapters.ConfigurationError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "pip install 'aplus_adapters[sql]'" in done.stdout
