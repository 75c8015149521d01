"""Whatever ends a transaction on the shop's sessions: nothing of it stays, and nothing stays open."""

import asyncio

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from aplus_adapters import ConfigurationError, SQLStore, State
from aplus_adapters.testing.store_values import an_attempt, an_observation, nothing

ENDS = [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]


class Shop:
    """Sessions that are all kept alive, so that no garbage collection closes one."""

    def __init__(self, address):
        self.engine = create_engine(address)
        self.sessions, self.closed = [], []
        shop = self

        class Kept(Session):
            def __init__(self, *arguments, **options):
                super().__init__(*arguments, **options)
                shop.sessions.append(self)

            def close(self):
                shop.closed.append(self)
                super().close()

        self.store = SQLStore(sessionmaker(self.engine, class_=Kept))
        with self.engine.begin() as connection:
            connection.execute(text("CREATE TABLE mine (x INTEGER)"))

    def rows(self):
        with self.engine.connect() as connection:
            return connection.execute(text("SELECT count(*) FROM mine")).scalar_one()

    def check_nothing_is_open(self):
        assert self.sessions
        assert {*map(id, self.sessions)} == {*map(id, self.closed)}
        assert not any(session.in_transaction() for session in self.sessions)
        assert self.engine.pool.checkedout() == 0


@pytest.fixture
def shop(tmp_path):
    made = Shop(f"sqlite:///{tmp_path / 'shop.db'}")
    yield made
    made.engine.dispose()


def test_setting_up_leaves_no_session_open(shop):
    shop.store.set_up()
    shop.check_nothing_is_open()


def test_no_call_leaves_a_session_open(shop):
    shop.store.add(an_attempt())
    shop.store.record("pay1", an_observation(), nothing)
    assert shop.store.get("pay1").state is State.SUCCEEDED
    shop.check_nothing_is_open()


def test_a_session_whose_engine_cannot_be_used_is_closed_as_well(shop, monkeypatch):
    def refuses(*_, **__):
        raise ConfigurationError("no")

    monkeypatch.setattr("aplus_adapters.stores.database.engine_of", refuses)
    for call in (shop.store.set_up, lambda: shop.store.get("pay1")):
        with pytest.raises(ConfigurationError):
            call()
        shop.check_nothing_is_open()


@pytest.mark.parametrize("error", ENDS)
def test_what_a_hook_wrote_before_it_ended_in_any_way_is_rolled_back(shop, error):
    shop.store.add(an_attempt())

    def hook(_transition, session):
        session.execute(text("INSERT INTO mine VALUES (1)"))
        raise error

    with pytest.raises(error):
        shop.store.record("pay1", an_observation(), hook)
    shop.check_nothing_is_open()
    assert shop.rows() == 0
    assert shop.store.get("pay1") == an_attempt()
    assert shop.store.history("pay1") == []
    assert shop.store.record("pay1", an_observation(), nothing).became_final  # nobody is locked out


@pytest.mark.parametrize("error", ENDS)
def test_on_an_engine_it_is_the_same(tmp_path, error):
    store = SQLStore(f"sqlite:///{tmp_path / 'payments.db'}")
    store.add(an_attempt())

    def hook(_transition, connection):
        connection.execute(text("UPDATE aplus_payments SET wallet = 'x'"))
        raise error

    with pytest.raises(error):
        store.record("pay1", an_observation(), hook)
    assert store.engine.pool.checkedout() == 0
    assert store.get("pay1") == an_attempt()
    assert store.record("pay1", an_observation(), nothing).became_final
    store.close()
