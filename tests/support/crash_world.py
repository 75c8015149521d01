"""A shop, a buyer and Alipay+ in one process, where the shop may die at any effect of any flow.

Alipay+ is the simulator's own gateway and books, called without HTTP. The people in it (buyer,
wallet, notification sender) do their steps again when the shop died in the middle of one.
"""

import asyncio
import contextlib
from datetime import timedelta

from attrs import evolve
from sqlalchemy import text

from aplus_adapters import (
    Account,
    Amount,
    AplusPay,
    NotSent,
    OrderChanged,
    OrderToPay,
    OutcomeUnknown,
    PaymentFilter,
    RefundState,
    SQLStore,
    State,
    Visitor,
)
from aplus_adapters.payments.effects import Send
from aplus_adapters.payments.flows.follow_up import follow_up
from aplus_adapters.payments.flows.initiate import initiate
from aplus_adapters.payments.flows.notification import receive
from aplus_adapters.protocol.signed_messages import Answer
from aplus_adapters.simulator.contents import encode, payment_details, payment_result
from aplus_adapters.simulator.gateway import Call, Gateway
from aplus_adapters.simulator.identity import Identity
from aplus_adapters.simulator.ledger import Books, OrderState
from aplus_adapters.testing.signer import AlipayPlus
from support.shop import Clock

ADDRESS = "http://127.0.0.1:9"
BUYER = Visitor(user_agent="Mozilla/5.0")


def make_keys(folder):
    """Load everybody's keys once: that costs more than a payment."""
    identity = Identity.open(folder, ADDRESS)
    lines = (folder / "shop.env").read_text().splitlines()
    environ = dict(line.split("=", 1) for line in lines)
    account = Account.from_env({**environ, "APLUS_NOTIFY_URL": f"{ADDRESS}/aplus/notify"})
    return identity, account, AlipayPlus(account, identity.private_key)


class Crash(BaseException):
    """The process is gone: nothing catches this."""


class Broken(AssertionError):
    """A rule of the house was broken."""


class Shop:
    """Hooks that write their effect in the payment's own transaction where there is one."""

    def __init__(self, world):
        self.world = world

    def load_order(self, details):
        return OrderToPay(amount=self.world.price, description="2 tickets")

    def payment_changed(self, details):
        self.world.maybe_crash("in the hook")
        self.world.note(details.connection, details.attempt)
        self.world.maybe_crash("in the hook, after its write")

    def refund_changed(self, details):
        self.world.maybe_crash("in the refund hook")

    def payment_conflict(self, details):
        self.world.conflicts.append(details.conflict.key)


class OnALoop:
    """A store that awaits, for a world that does not: each call runs an event loop to its end."""

    def __init__(self, store, engine):
        self._store, self.engine = store, engine
        self._loop = asyncio.new_event_loop()

    def __getattr__(self, name):
        method = getattr(self._store, name)
        return lambda *arguments: self._loop.run_until_complete(method(*arguments))

    def record(self, request_id, observation, inside):
        async def awaited(transition, connection):
            await connection.run_sync(lambda blocking: inside(transition, blocking))

        return self._loop.run_until_complete(self._store.record(request_id, observation, awaited))

    def close(self):
        self._loop.run_until_complete(self._store.aclose())
        self._loop.close()
        self.engine.dispose()


class World:
    """`crash_at` is the number of the moment at which the shop dies, None for never."""

    def __init__(self, folder, store, keys, crash_at=None, losses=()):
        self.clock = Clock()
        self.price = Amount("JPY", 4200)
        self.crash_at, self.moments, self.crashed_at = crash_at, 0, None
        self.places = []
        self.losses = list(losses)  # what becomes of the next calls: "sent", "lost" or "down"
        self.effects, self.conflicts, self.bodies = [], [], {}
        identity, self.account, self.alipayplus = keys
        self.books = Books()  # Alipay+ does not die here
        self.gateway = Gateway(self.books, identity, ADDRESS)
        self._make_store = store
        self.store = None
        self.pay = None
        self.start()

    def start(self):
        """Start the shop, for the first time or after it died."""
        if self.store is None or self.has_database:
            is_first = self.store is None
            if not is_first:
                self.store.close()
            self.store = self._make_store()
            if is_first and self.has_database:
                with self.store.engine.begin() as connection:
                    make = "CREATE TABLE IF NOT EXISTS effects (ref TEXT, state TEXT)"
                    connection.execute(text(make))
                    connection.execute(text("DELETE FROM effects"))
        self.pay = AplusPay(
            account=self.account, store=self.store, hooks=Shop(self), clock=self.clock
        )

    @property
    def has_database(self):
        return isinstance(self.store, SQLStore | OnALoop)

    def close(self):
        self.books.close()
        if self.has_database:
            self.store.close()

    def note(self, connection, attempt):
        row = (attempt.order_ref, attempt.state.value)
        if connection is None:
            self.effects.append(row)
        else:
            values = {"ref": row[0], "state": row[1]}
            connection.execute(text("INSERT INTO effects VALUES (:ref, :state)"), values)

    def noted(self, order_ref):
        if self.has_database:
            with self.store.engine.connect() as connection:
                rows = connection.execute(text("SELECT ref, state FROM effects")).all()
        else:
            rows = self.effects
        return [state for ref, state in rows if ref == order_ref]

    def maybe_crash(self, where):
        """Be one moment at which the shop may die."""
        if where == "in the hook, after its write" and not self.has_database:
            return  # what is written into a list is not rolled back
        self.places.append(where)
        moment, self.moments = self.moments, self.moments + 1
        if moment == self.crash_at:
            self.crashed_at = where
            raise Crash(where)

    def run(self, flow):
        performer = self.pay.performer

        def perform(effect):
            name = type(effect).__name__
            self.maybe_crash(f"before {name}")
            outcome = self._send(effect.request) if isinstance(effect, Send) else performer(effect)
            self.maybe_crash(f"after {name}")
            return outcome

        from aplus_adapters.runtime.drivers import run

        return run(flow, perform)

    def _send(self, request):
        loss = self.losses.pop(0) if self.losses else "sent"
        if loss == "down":
            raise NotSent("the network is down")
        name = request.path.rpartition("/")[2]
        headers = {key.lower(): value for key, value in request.headers}
        call = Call(name=name, path=request.path, headers=headers, body=request.body)
        now = self.clock.now()
        answered = self.gateway.answer(call, now)
        self._check_open_orders()
        if loss == "lost":
            raise OutcomeUnknown("the answer was lost")
        body = encode(answered.content)
        signature = self.gateway.sign(request.path, body, now) if answered.signed else {}
        return Answer(status=200, headers=tuple(signature.items()), body=body)

    def _check_open_orders(self):
        """At no moment may two orders of one purchase be open or paid at Alipay+."""
        live = {}
        for order in self.books.orders.values():
            if order.state in (OrderState.OPEN, OrderState.PAID):
                live.setdefault(order.request["order"]["referenceOrderId"], []).append(order)
        for ref, orders in live.items():
            if len(orders) > 1:
                raise Broken(f"{ref}: {len(orders)} codes can be paid at once")

    # What people do. Each of these may be done again when the shop died in it.

    def press(self, ref="A-1"):
        with contextlib.suppress(OrderChanged):  # paid before the shop changed its price
            return self.run(initiate(self.pay.config, ref, BUYER))

    def wallet(self, decision=OrderState.PAID, ref="A-1"):
        for order in self.books.orders.values():
            mine = order.request["order"]["referenceOrderId"] == ref
            if mine and order.state is OrderState.OPEN and order.expires_at > self.clock.now():
                self.books.finish(order, decision, self.clock.now())

    def notify(self, **changes):
        """Send every notification that is due; what is acknowledged has to be durable."""
        for order in list(self.books.orders.values()):
            if order.next_notification is None:
                continue
            content = {"paymentResult": payment_result(order), **payment_details(order), **changes}
            body = encode(content)
            headers = tuple(self.alipayplus.sign(body, at=self.clock.now()).items())
            reply = self.run(receive(self.pay.config, headers, body))
            if reply.status == 200:
                order.next_notification = None
                self.books.save(order)
                self._check_acknowledged(order, changed=bool(changes))

    def _check_acknowledged(self, order, *, changed):
        known = self.store.history(order.payment_request_id)
        if not any(one.source.value == "notification" for one in known):
            raise Broken("acknowledged without having been kept")
        stored = self.store.get(order.payment_request_id)
        # What is being closed is kept, and goes back with the cancellation.
        is_kept = stored.state is State.SUCCEEDED or stored.success_reported
        if not changed and order.state is OrderState.PAID and not is_kept:
            raise Broken(f"acknowledged a success that is stored as {stored.state}")

    def poll(self, ref="A-1"):
        attempt = self.store.latest(ref)
        if attempt is not None and attempt.next_call_at is not None:
            self.clock.moment = max(self.clock.moment, attempt.next_call_at)
            self.run(follow_up(self.pay.config, attempt))

    def wait(self, **time):
        self.clock.moment += timedelta(**time)
        self._close_overdue()

    def reconcile(self):
        from aplus_adapters.payments.flows.reconcile import reconcile

        self.run(reconcile(self.pay.config))

    def prune(self):
        from aplus_adapters.payments.flows.prune import prune

        self.run(prune(self.pay.config, timedelta(days=90), timedelta(days=30), batch=1))

    def refund(self, number, value=None, ref="A-1"):
        from aplus_adapters.payments.flows.refund import refund

        attempt = self.store.latest(ref)
        if attempt is not None and attempt.state is State.SUCCEEDED:
            amount = None if value is None else evolve(attempt.amount, value=value)
            flow = refund(
                self.pay.config, attempt.payment_request_id,
                refund_request_id=f"credit{number}", amount=amount,
            )  # fmt: skip
            self.run(flow)

    def _close_overdue(self):
        for order in self.books.overdue(self.clock.now()):
            self.books.finish(order, OrderState.CLOSED, self.clock.now())

    # The end.

    def play(self, steps):
        """Do the steps; when the shop dies in one, start it again and do that step again."""
        for step in steps:
            try:
                step(self)
            except Crash:
                self.start()
                step(self)

    def settle_down(self):
        """Let time pass and reconcile run until nothing is open."""
        for _ in range(40):
            try:
                self.notify()
                self.reconcile()
            except Crash:
                self.start()
                continue
            if not self.open_ones():
                return
            self.wait(seconds=61)
        raise Broken(f"still open: {self.open_ones()}")

    def attempts(self):
        return [*self.store.find_page(PaymentFilter(), 1000)]

    def open_ones(self):
        attempts = self.attempts()
        open_refunds = [
            refund
            for attempt in attempts
            for refund in self.store.refunds(attempt.payment_request_id)
            if not refund.state.is_final
        ]
        return [one for one in attempts if not one.state.is_final] + open_refunds

    def check(self):
        """Compare the shop's records with Alipay+'s books."""
        orders, attempts = (
            self.books.orders,
            {one.payment_request_id: one for one in self.attempts()},
        )
        for request_id, order in orders.items():
            bodies = {one["bodySha256"] for one in order.requests if one["call"] == "pay"}
            if len(bodies) > 1:
                raise Broken(f"{request_id}: {len(bodies)} different bodies")
            attempt = attempts.get(request_id)
            if attempt is None:
                raise Broken(f"{request_id}: Alipay+ has an order that the shop does not know")
            paid = order.state is OrderState.PAID
            if paid != (attempt.state is State.SUCCEEDED):
                raise Broken(f"{request_id}: {order.state} at Alipay+, {attempt.state} in the shop")
            self._check_refunds(order, attempt)
        for attempt in attempts.values():
            told = self.noted(attempt.order_ref)
            if attempt.state is State.SUCCEEDED and told.count("succeeded") != 1:
                raise Broken(f"{attempt.order_ref}: told {told.count('succeeded')} times as paid")
            if not attempt.state.is_final:
                raise Broken(f"{attempt.payment_request_id}: not final")
        per_order = [one.order_ref for one in attempts.values() if one.state is State.SUCCEEDED]
        if len(per_order) != len(set(per_order)):
            raise Broken("an order was paid twice")
        if self.store.unreported_conflicts(1, [self.account.client_id]):
            raise Broken("a conflict was not reported")

    def _check_refunds(self, order, attempt):
        said = {one["refundRequestId"]: int(one["refundAmount"]["value"]) for one in order.refunds}
        kept = {
            one.refund_request_id: one.amount.value
            for one in self.store.refunds(attempt.payment_request_id)
            if one.state is RefundState.SUCCEEDED
        }
        if said != kept or order.refunded > order.amount.value:
            raise Broken(f"refunds: {said} at Alipay+, {kept} in the shop")


__all__ = ["Broken", "Crash", "World", "make_keys"]
