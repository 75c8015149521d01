"""A store of Flask-SQLAlchemy's `db`, made before there is an application."""

import pytest
from sqlalchemy import String, inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from aplus_adapters import ConfigurationError, SQLStore, State
from aplus_adapters.testing.store_values import an_attempt, an_observation

pytest.importorskip("flask_sqlalchemy")  # rows of old versions have none

from flask import Flask
from flask_sqlalchemy import SQLAlchemy


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    ref: Mapped[str] = mapped_column(String(64), primary_key=True)
    status: Mapped[str] = mapped_column(String(16), default="new")


@pytest.fixture
def factory():
    """Return `db`, a store of it and the factory of applications, in the order of a shop's module."""
    db = SQLAlchemy(model_class=Base)
    store = SQLStore(db)
    apps = []

    def create_app(database):
        app = Flask("shop")
        app.config["SQLALCHEMY_DATABASE_URI"] = database
        db.init_app(app)
        apps.append(app)
        return app

    yield db, store, create_app
    for app in apps:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


def pay_for(transition, session):
    session.get(Order, transition.after.order_ref).status = "paid"


def test_each_application_of_a_factory_has_its_own_payments(factory, database, tmp_path):
    db, store, create_app = factory
    app, other = create_app(database), create_app(f"sqlite:///{tmp_path / 'other.db'}")
    with app.app_context():
        db.create_all()
        db.session.add(Order(ref="A-1"))
        db.session.commit()
        store.add(an_attempt(1, "A-1"))
        store.record("pay1", an_observation(), pay_for)
        assert store.get("pay1").state is State.SUCCEEDED
        assert db.session.get(Order, "A-1").status == "paid"
    with other.app_context():
        assert store.get("pay1") is None
        assert store.missing() == []
        assert "orders" not in inspect(db.engine).get_table_names()


def test_a_hook_that_fails_after_its_orm_has_written_leaves_neither(factory, database):
    db, store, create_app = factory

    def broken(transition, session):
        pay_for(transition, session)
        session.flush()
        raise RuntimeError("after the write")

    with create_app(database).app_context():
        db.create_all()
        db.session.add(Order(ref="A-1"))
        db.session.commit()
        store.add(an_attempt(1, "A-1"))
        with pytest.raises(RuntimeError):
            store.record("pay1", an_observation(), broken)
        assert db.session.get(Order, "A-1").status == "new"
        assert store.get("pay1").state is State.CREATED


def test_outside_of_an_application_the_error_says_what_to_do(factory):
    _, store, _ = factory
    expected = r"Working outside of application context.*app\.app_context\(\).*flask aplus"
    for call in (lambda: store.get("pay1"), store.set_up, store.missing, store.ddl):
        with pytest.raises(ConfigurationError, match=expected):
            call()
    with Flask("stranger").app_context():
        not_registered = r"not registered with this 'SQLAlchemy'.*db\.init_app\(app\)"
        with pytest.raises(ConfigurationError, match=not_registered):
            store.get("pay1")
