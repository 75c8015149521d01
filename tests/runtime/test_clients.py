"""An environment in which no HTTP client can be made is named, with the variable to correct."""

import pytest

from aplus_adapters import ConfigurationError, NotSent
from aplus_adapters.runtime.clients import make_client

BROKEN = {
    "NO_PROXY": ("localhost,[::1]", "httpx"),  # httpx2 reads it
    "SSL_CERT_FILE": ("/nowhere/certificates.pem", "httpx2"),
    "ALL_PROXY": ("socks5://user:s3cret@127.0.0.1:1", "httpx"),
    "HTTPS_PROXY": ("ftp://user:s3cret@proxy.example", "httpx2"),
}


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
@pytest.mark.parametrize("variable", BROKEN)
def test_a_variable_that_keeps_a_client_from_being_made_is_named(monkeypatch, variable, kind):
    value, library = BROKEN[variable]
    http = pytest.importorskip(library)
    for name in (*BROKEN, "HTTP_PROXY"):
        for spelling in (name, name.lower()):
            monkeypatch.delenv(spelling, raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=f"HTTP client.*found .*{variable}") as refused:
        make_client(http, kind, "https://gateway.example")
    assert isinstance(refused.value, NotSent)
    assert "s3cret" not in str(refused.value)
    make_client(http, "Client", "http://127.0.0.1:1").close()  # which needs none of them
