"""The shop dies before and after every effect of every flow, and inside its own hook."""

import logging
import os

import pytest
from sqlalchemy import create_engine

from aplus_adapters import Amount, AsyncSQLStore, MemoryStore, SQLStore, State
from aplus_adapters.payments.flows import notification
from aplus_adapters.simulator.ledger import OrderState
from support.crash_world import Broken, OnALoop, World, make_keys
from support.databases import AWAITING, blocking, new_awaiting_database

LONG = bool(os.environ.get("APLUS_LONG"))


def cheaper(world):
    world.price = Amount("JPY", 4000)


SCENARIOS = {
    "paid, by notification": [
        World.press, World.wallet, World.notify,
    ],
    "paid, by inquiry": [
        World.press, World.wallet, World.poll,
    ],
    "paid, found by reconcile": [
        World.press, World.wallet, lambda w: w.wait(seconds=30), World.reconcile,
    ],
    "notification and inquiry": [
        World.press, World.wallet, World.poll, World.notify,
    ],
    "refused in the wallet, then paid": [
        World.press, lambda w: w.wallet(OrderState.REFUSED), World.notify,
        World.press, World.wallet, World.notify,
    ],
    "expired, then paid": [
        World.press, lambda w: w.wait(minutes=4), World.press, World.wallet, World.notify,
    ],
    "another price in the middle": [
        World.press, cheaper, World.press, World.wallet, World.notify,
    ],
    "paid at the last moment, while it is closed": [
        World.press, lambda w: w.wait(seconds=170), World.wallet, cheaper, World.press, World.notify,
    ],
    "refunded in two parts": [
        World.press, World.wallet, World.notify,
        lambda w: w.refund(1, 1000), lambda w: w.refund(2, 3200),
    ],
    "a notification of another amount": [
        World.press, World.wallet,
        lambda w: w.notify(paymentAmount={"currency": "JPY", "value": "1"}), World.reconcile,
    ],
    "old, pruned, refunded in part, pruned again": [
        World.press, World.wallet, World.notify, lambda w: w.wait(days=300), World.prune,
        World.notify, lambda w: w.refund(1, 1000), lambda w: w.wait(days=100), World.prune,
    ],
}  # fmt: skip
LOSSES = {
    "nothing is lost": (),
    "the first answer is lost": ("lost",),
    "the network is down first": ("down", "down", "down"),
    "every second answer is lost": ("lost", "sent") * 20,
}
# Every scenario without a loss and with the most; the others in the long form.
TRIED = LOSSES if LONG else ["nothing is lost", "every second answer is lost"]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(autouse=True)
def quiet():
    """Every death leaves warnings by the dozen."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def lives(tmp_path, keys, steps, losses, kind, make=MemoryStore):
    """Live the scenario once without a crash, then once for every moment at which to die.

    `make` makes the store, from the number of that moment if `kind` is "shop". On a server, where a
    life takes a second, it dies only in what runs there, but for the long form.
    """
    moments = [None]
    for crash_at in moments:
        folder = tmp_path / str(crash_at)
        folder.mkdir()

        def store(folder=folder, crash_at=crash_at):
            if kind == "sqlite":
                return SQLStore(f"sqlite:///{folder}/shop.db")
            return make(str(crash_at)) if kind == "shop" else make()

        world = World(folder, store, keys, crash_at, losses)
        try:
            world.play(steps)
            world.settle_down()
            world.check()
        except Broken as error:
            raise Broken(f"dead {world.crashed_at} (moment {crash_at}): {error}") from None
        finally:
            world.close()
        if crash_at is None:
            of_the_server = ("hook", "Record") if kind == "shop" and not LONG else ("",)
            moments += [
                number
                for number, place in enumerate(world.places)
                if any(word in place for word in of_the_server)
            ]
    return len(moments) - 1


@pytest.mark.parametrize("losses", TRIED)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_at_every_effect_doubles_and_loses_nothing(tmp_path, keys, name, losses):
    kind = "sqlite" if LONG else "memory"
    moments = lives(tmp_path, keys, SCENARIOS[name], LOSSES[losses], kind)
    print(f"{name}, {losses}: {moments} crashes, 0 doubled, 0 lost, all final")
    assert moments > 20


@pytest.mark.parametrize("name", ["paid, by notification", "refunded in two parts"])
def test_a_crash_inside_the_transaction_doubles_and_loses_nothing(tmp_path, keys, name, database):
    def make(shop):
        return SQLStore(database, shop=shop)

    moments = lives(tmp_path, keys, SCENARIOS[name], (), "shop", make)
    kind = database.partition(":")[0]
    print(f"{name}, {kind}: {moments} crashes, 0 doubled, 0 lost, all final")


@pytest.mark.parametrize("driver", AWAITING)
@pytest.mark.parametrize("name", ["paid, by notification", "refunded in two parts"])
def test_a_crash_inside_an_awaiting_transaction_doubles_and_loses_nothing(
    tmp_path, keys, name, driver, request
):
    pytest.importorskip(driver)
    address = new_awaiting_database(driver, tmp_path, request)

    def make(shop):
        return OnALoop(AsyncSQLStore(address, shop=shop), create_engine(blocking(address)))

    moments = lives(tmp_path, keys, SCENARIOS[name], (), "shop", make)
    print(f"{name}, {driver}: {moments} crashes, 0 doubled, 0 lost, all final")


# What must not be built: each of these has to be caught by the same harness.


class StartsAnewWhenUnanswered(MemoryStore):
    """Lets a second attempt begin while the first one has had no answer: a retry with a new id."""

    def add(self, attempt, *limit):
        with self._mutex:
            old = self.latest(attempt.order_ref)
            if old is not None and old.state is State.CREATED:
                del self._by_order[attempt.order_ref], self._occupants[attempt.order_ref]
        return super().add(attempt, *limit)


class ForgetsWhatItWasTold(MemoryStore):
    """Loses everything in a crash: nothing is durable before it is sent."""

    def add(self, attempt, *limit):
        stored = super().add(attempt, *limit)
        if stored.payment_request_id == attempt.payment_request_id:
            self._by_order.clear()
            self._occupants.clear()
        return stored


class TellsAgain(MemoryStore):
    """Calls the hook for every success, not only for the one that settles."""

    def record(self, payment_request_id, observation, inside):
        transition = super().record(payment_request_id, observation, inside)
        if transition.after.state is State.SUCCEEDED and not transition.became_final:
            from attrs import evolve

            inside(evolve(transition, before=evolve(transition.before, state=State.PENDING)), None)
        return transition


@pytest.mark.parametrize(
    ("make", "name", "found"),
    [
        (StartsAnewWhenUnanswered, "paid, by notification", "codes can be paid at once"),
        (ForgetsWhatItWasTold, "paid, by notification", "codes can be paid at once"),
        (TellsAgain, "notification and inquiry", "told 2 times as paid"),
    ],
)
def test_a_naive_shop_is_caught(tmp_path, keys, make, name, found):
    with pytest.raises(Broken, match=found):
        lives(tmp_path, keys, SCENARIOS[name], LOSSES["nothing is lost"], "memory", make)


def test_an_acknowledgement_before_the_commit_is_caught(tmp_path, keys, monkeypatch):
    """It goes out even if the store fails; the harness sees that nothing was kept."""

    def settles_afterwards(payment_request_id, observation):
        yield from ()

    monkeypatch.setattr(notification, "record_observation", settles_afterwards)
    with pytest.raises(Broken, match="acknowledged without having been kept"):
        lives(tmp_path, keys, SCENARIOS["paid, by notification"], (), "memory")
