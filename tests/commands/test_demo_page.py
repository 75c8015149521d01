"""The page of `aplus demo`: the shop as it is, in a frame beside desk and wallet."""

import socket
import struct
import threading
import time
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest

pytest.importorskip("sqlalchemy")  # the demo is an extra

from aplus_adapters import ConfigurationError
from aplus_adapters.cli.demo_database import check_database, read_address
from aplus_adapters.cli.demo_page import PATH, side_by_side
from aplus_adapters.web.page import PAGE_HEADERS


class Quiet(WSGIRequestHandler):
    def log_message(self, *words):
        pass


@pytest.fixture
def seen():
    return []


@pytest.fixture
def shop(seen):
    def application(environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        names = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "HTTP_HOST", "HTTP_ORIGIN")
        seen.append((*(environ.get(name) for name in names), body))
        headers = [*PAGE_HEADERS.items(), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
        if environ["PATH_INFO"] == "/buy":
            start_response("303 See Other", [("Location", "/orders/1")])
            return [b""]
        start_response("404 Not Found", headers)
        return ["\N{SNOWMAN} of the shop".encode()]

    server = make_server("127.0.0.1", 0, application, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def page(shop):
    with side_by_side(shop, "http://127.0.0.1:8100") as address:
        yield address


def test_the_page_shows_shop_desk_and_wallet_in_frames_and_links_to_each(page, seen):
    shown = httpx.get(page, trust_env=False)
    for name, address in (
        ("Shop", "/"),
        ("Desk", "http://127.0.0.1:8100/"),
        ("Wallet", "http://127.0.0.1:8100/wallet"),
    ):
        assert f'title="{name}" src="{address}"></iframe>' in shown.text
        assert f'<a href="{address}" target="_blank"' in shown.text
    assert seen == []


def test_everything_else_is_the_shop_as_it_is_but_for_who_may_frame_it(page, shop, seen):
    root = page.removesuffix(PATH)
    origin = {"Origin": root}
    answer = httpx.post(f"{root}/aplus/pay?a=%20", content=b"a=b", headers=origin, trust_env=False)
    host = root.removeprefix("http://")
    assert seen == [("POST", "/aplus/pay", "a=%20", host, root, b"a=b")]
    assert (answer.status_code, answer.text) == (404, "\N{SNOWMAN} of the shop")
    assert answer.headers.get_list("Set-Cookie") == ["a=1", "b=2"]
    policy = PAGE_HEADERS["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    framed = policy.replace("frame-ancestors 'none'", "frame-ancestors 'self'")
    assert answer.headers["Content-Security-Policy"] == framed
    moved = httpx.get(f"{root}/buy", trust_env=False)
    assert (moved.status_code, moved.headers["Location"]) == (303, "/orders/1")
    assert httpx.head(f"{root}/", trust_env=False).content == b""


def test_a_shop_that_is_gone_and_a_body_that_is_too_long_are_said(page, seen):
    root = page.removesuffix(PATH)
    too_long = httpx.post(root, content=b"x" * (2**20 + 1), trust_env=False)
    assert too_long.status_code == 413
    assert seen == []
    with socket.create_server(("127.0.0.1", 0)) as free:
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    with side_by_side(nowhere, "http://127.0.0.1:8100") as address:
        gone = httpx.get(address.removesuffix(PATH), trust_env=False)
    assert gone.status_code == 502
    assert gone.text.startswith("the shop does not answer: ")


@pytest.mark.parametrize(
    ("address", "driver"),
    [
        ("postgresql://u:secret@h/n", "postgresql+psycopg"),
        ("mysql://u:secret@h/n", "mysql+pymysql"),
        ("mariadb://u:secret@h/n", "mariadb+pymysql"),
        ("postgresql+psycopg2://u:secret@h/n", "postgresql+psycopg2"),
        ("sqlite:///shop.db", "sqlite"),
    ],
)
def test_an_address_gets_the_driver_that_our_extras_bring(address, driver):
    url = read_address(address)
    assert url.drivername == driver
    assert "secret" not in str(url)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("nonsense:secret", "found an address that cannot be read"),
        ("mysql://u:secret@h:port/n", "found an address that cannot be read"),
        ("oracle://u:secret@h/n", "found the kind 'oracle'"),
        ("sqlite:////no/such/folder/secret", "cannot be used: unable to open database file"),
        ("postgresql://u:secret@127.0.0.1:9/n?connect_timeout=2", "cannot be used: connection"),
        ("mysql+asyncmy://u:secret@127.0.0.1:9/n", "expected one that blocks; leave +asyncmy out"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(address, found):
    with pytest.raises(ConfigurationError) as caught:
        check_database(read_address(address), "flask")
    assert found in str(caught.value)
    assert "secret" not in str(caught.value).replace("/no/such/folder/secret", "")


def test_a_database_with_other_orders_is_refused(tmp_path):
    from sqlalchemy import create_engine, text

    url = read_address(f"sqlite:///{tmp_path / 'own.db'}")
    check_database(url, "flask")
    with create_engine(url).begin() as connection:
        connection.execute(text("CREATE TABLE orders (ref TEXT, total TEXT)"))
    for framework in ("flask", "django"):
        with pytest.raises(ConfigurationError, match="a table orders that this demo has not made"):
            check_database(url, framework)


def place(page):
    url = httpx.URL(page)
    return url.host, url.port


def test_a_tab_that_is_closed_in_the_middle_prints_nothing(page, capfd):
    for _ in range(3):
        with socket.create_connection(place(page)) as tab:
            tab.sendall(b"GET /orders/1 HTTP/1.1\r\nHost")
            # Reset, as a browser that is killed does.
            tab.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert httpx.get(page, trust_env=False).status_code == 200  # it goes on
    time.sleep(0.2)
    assert "Traceback" not in capfd.readouterr().err


def test_a_request_for_another_host_is_not_passed_on(page, seen):
    with socket.create_connection(place(page)) as tab:
        tab.sendall(b"GET http://elsewhere.example/ HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n")
        assert b" 400 " in tab.recv(100)
    assert seen == []
