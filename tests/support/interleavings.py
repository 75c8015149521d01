"""Every interleaving of a few flows against one store, one ledger of Alipay+ and one clock.

A flow yields all its effects, so it is determined by the results that it was given: a state of this
world is the store, the ledger, the messages under way, the clock, and each flow's results so far.
`explore` enumerates what can happen next in each state until no new state is left; `wander` draws
random schedules. What others can see is an event of its own: a store call, a request that reaches
Alipay+, its answer that comes back or never does, the clock that passes a boundary, a buyer who
pays, a process that dies. Everything else runs on at once. The rules are checked after each event.
"""

import json
from collections import Counter
from datetime import timedelta
from functools import lru_cache, partial

from attrs import field, frozen

from aplus_adapters import AplusError, HookError, MemoryStore, OrderToPay, OutcomeUnknown, State
from aplus_adapters.payments.effects import (
    CallHook,
    CallStore,
    Draw,
    NewRequestId,
    Now,
    Record,
    Send,
    Sleep,
)
from aplus_adapters.payments.flows.notification import receive
from aplus_adapters.payments.flows.reconcile import reconcile
from aplus_adapters.protocol import signing
from aplus_adapters.protocol.signed_messages import Answer
from aplus_adapters.protocol.timestamps import Timestamp
from aplus_adapters.web.view import view_of
from support.shop import NOON

LIFE = timedelta(minutes=3)
_READS = (
    "get",
    "latest",
    "refunds",
    "history",
    "due",
    "due_refunds",
    "unreported_conflicts",
    "find_page",
    "conflicts",
    "recent",
    "noted",
)


def evolve(instance, **changes):
    """Return one of the values below with changes; as attrs.evolve, several times as fast."""
    copy = object.__new__(type(instance))
    copy.__dict__.update(instance.__dict__, **changes)
    return copy


class Violation(AssertionError):
    """A rule of the house was broken; the text is the story of how."""


@frozen(kw_only=True, slots=False)
class Order:
    """One order in the ledger of Alipay+."""

    rid: str
    ref: str
    amount: tuple
    state: str = "open"  # open, paid, closed, cancelled
    was_paid: bool = False
    expires: object
    refunds: tuple = ()
    acknowledged: bool = False

    @property
    def code(self):
        return f"https://codes.example/{self.rid}"

    def payable(self, now):
        return self.state == "paid" or (self.state == "open" and now < self.expires)


@frozen(kw_only=True, slots=False)
class Message:
    """A request under way, and its answer once Alipay+ has acted."""

    number: int
    actor: str | None  # who waits for the answer; None if nobody does any more
    request: object = field(repr=False)
    sent_at: object = None
    answer: object = None
    is_copy: bool = False
    is_lost: bool = False

    @property
    def call(self):
        return self.request.path.rpartition("/")[2]


@frozen(kw_only=True, slots=False)
class Actor:
    """One flow: how it is made, and the results that it was given so far."""

    name: str
    make: object = field(eq=False, repr=False)
    price: object = None
    offset: timedelta = timedelta()
    shows: bool = False  # whether a buyer looks at what it returns
    results: tuple = ()
    digest: int = 0
    done: bool = False


@frozen(kw_only=True, slots=False)
class Budget:
    """How often each mishap may happen in one schedule."""

    timeouts: int = 1
    crashes: int = 1
    ticks: tuple = (50, 190)  # seconds after the beginning that the clock may pass
    payments: int = 1
    notifications: int = 1
    lags: int = 0  # an inquiry or a cancelPayment that is answered ORDER_NOT_EXIST all the same
    denials: int = 0  # a refund that is answered F by something that did not look at it
    copies: int = 0  # a request that arrives twice
    hook_errors: int = 0
    refusals: int = 0  # a cancelPayment whose window is over


@frozen(kw_only=True, slots=False)
class Moment:
    """One state of the world; everything in it is immutable."""

    now: object
    orders: tuple
    store: tuple
    store_key: int
    messages: tuple = ()
    actors: tuple = ()
    told: tuple = ()
    conflicts: frozenset = frozenset()
    shown: frozenset = frozenset()
    bodies: frozenset = frozenset()
    budget: Budget
    story: object = field(default=None, eq=False, repr=False)

    @property
    def key(self):
        actors = tuple((one.name, not one.done and one.digest) for one in self.actors)
        messages = frozenset(
            (
                m.actor,
                m.request.body,
                m.call,
                m.answer is not None and m.answer.body,
                m.is_copy,
                m.is_lost,
                m.call == "refund" and m.sent_at,
            )
            for m in self.messages
        )
        return hash(
            (self.now, self.orders, self.store_key, messages, actors, self.told, self.conflicts,
             self.shown, self.budget)
        )  # fmt: skip

    @property
    def rest_key(self):
        """Everything on which coming to rest depends, once all flows are done."""
        return hash((self.now, self.orders, self.store_key, self.told, self.conflicts))


class World:
    """Everything that does not change: accounts, keys, how a store is made and how it is read."""

    def __init__(self, config, alipayplus, their_key, make_store=MemoryStore):
        self.config, self.alipayplus, self.key = config, alipayplus, their_key
        self.make_store = make_store
        self.account = config.default_account
        self._hashes = {}
        self._steps, self._calls, self._views = {}, {}, {}  # what was worked out once

    # The store: taken apart into immutable pieces and put together again.

    def freeze(self, store):
        pieces = []
        for name, value in vars(store).items():
            if name in ("_mutex", "_locks"):
                continue
            if isinstance(value, dict):
                pairs = value.items()
                piece = tuple((key, tuple(v) if isinstance(v, list) else v) for key, v in pairs)
            else:
                piece = frozenset(value) if isinstance(value, set) else value
            pieces.append((name, piece))
        return tuple(pieces)

    def thaw(self, pieces):
        store = self.make_store()
        for name, value in pieces:
            present = getattr(store, name)
            if isinstance(present, dict):
                present.update((k, list(v) if isinstance(v, tuple) else v) for k, v in value)
            elif isinstance(present, set):
                present.update(value)
            else:
                setattr(store, name, value)
        return store

    def _hash(self, value):
        """Hash by value, once for each object."""
        if isinstance(value, tuple):
            return hash(tuple(self._hash(one) for one in value))
        known = self._hashes.get(id(value))
        if known is None or known[0] is not value:
            known = self._hashes[id(value)] = (value, hash(value))
        return known[1]

    def start(self, budget, *actors):
        store = self.freeze(self.make_store())
        return Moment(
            now=NOON,
            orders=(),
            store=store,
            store_key=self._hash(store),
            budget=budget,
            actors=actors,
        )

    # What can happen next.

    def following(self, state):
        """Yield (what happens, what gives the state after it) for everything that can happen."""
        for number, actor in enumerate(state.actors):
            if not actor.done:
                yield from self._of_actor(state, number, actor)
        for message in state.messages:
            if message.answer is None and not message.is_lost:
                yield from self._arrivals(state, message)
        yield from self._of_the_world(state)

    def _of_actor(self, state, number, actor):
        effect = self._pending(state, actor)
        budget = state.budget
        if isinstance(effect, Send):
            (mine,) = (one for one in state.messages if one.actor == actor.name)
            if mine.answer is not None:
                rest = tuple(one for one in state.messages if one is not mine)
                after = evolve(state, messages=rest)
                yield f"{actor.name}: is answered", partial(self._give, after, number, mine.answer)
            if budget.timeouts:
                less = evolve(budget, timeouts=budget.timeouts - 1)
                after = evolve(state, messages=_left_by(actor, state.messages), budget=less)
                lost = OutcomeUnknown("no answer in time")
                yield (
                    f"{actor.name}: gives {mine.call} up",
                    partial(self._give, after, number, lost),
                )
        else:
            yield from self._at_the_store(state, number, actor, effect)
        if budget.crashes and not actor.name.startswith("notification"):
            after = evolve(state, budget=evolve(budget, crashes=budget.crashes - 1))
            yield f"{actor.name}: dies", partial(self._die, after, number)

    def _die(self, state, number):
        actor = state.actors[number]
        messages = _left_by(actor, state.messages)
        return self._put(evolve(state, messages=messages), number, evolve(actor, done=True))

    def _at_the_store(self, state, number, actor, effect):
        what = getattr(effect, "method", None) or getattr(effect, "name", None) or "record"
        if isinstance(effect, Record):
            what = f"record {effect.observation.outcome} by {effect.observation.source}"
        yield f"{actor.name}: {what}", partial(self._perform, state, number, effect)
        if isinstance(effect, Record) and state.budget.hook_errors:
            budget = evolve(state.budget, hook_errors=state.budget.hook_errors - 1)
            after = partial(self._perform, evolve(state, budget=budget), number, effect, fails=True)
            yield f"{actor.name}: {what}, where the shop's hook raises", after

    def _perform(self, state, number, effect, *, fails=False):
        """Do a store call or tell of a conflict; None if no hook was there to fail."""
        if isinstance(effect, CallHook):
            key = effect.details.conflict.key
            return self._give(evolve(state, conflicts=state.conflicts | {key}), number, None)
        key = (state.store_key, fails, self._hash(effect))
        if key not in self._calls:
            self._calls[key] = self._call(state.store, effect, fails=fails)
        tried, result, pieces, store_key, told = self._calls[key]
        if fails and not tried:
            return None
        if pieces is not None:
            told = tuple(sorted((*state.told, *told)))
            state = evolve(state, store=pieces, store_key=store_key, told=told)
        return self._give(state, number, result)

    def _call(self, before, effect, *, fails):
        """Give (whether the hook was called, the result, the store after it, its key, who was told)."""
        store = self.thaw(before)
        told, tried = [], []

        def inside(transition, _connection):
            tried.append(1)
            if fails:
                raise HookError("the shop's hook raised")
            if transition.became_final:
                told.append((transition.after.payment_request_id, str(transition.after.state)))

        try:
            if isinstance(effect, Record):
                result = store.record(effect.payment_request_id, effect.observation, inside)
            else:
                result = getattr(store, effect.method)(*effect.arguments)
        except AplusError as error:
            result, told = error, []
        result = tuple(result) if isinstance(result, list) else result
        if isinstance(effect, CallStore) and effect.method in _READS:
            return tried, result, None, None, told
        pieces = self.freeze(store)
        now_stored = dict(dict(pieces)["_attempts"])
        for rid, attempt in dict(before)["_attempts"]:
            if attempt.state.is_final and now_stored[rid].state is not attempt.state:
                raise Violation(f"{rid} left {attempt.state} for {now_stored[rid].state}")
        return tried, result, pieces, self._hash(pieces), told

    def _arrivals(self, state, message):
        budget, call = state.budget, message.call
        rest = tuple(one for one in state.messages if one is not message)
        who = message.actor or "nobody"
        yield f"Alipay+ acts on {call} of {who}", partial(self._arrived, state, rest, message)
        if budget.copies and not message.is_copy:
            less = evolve(state, budget=evolve(budget, copies=budget.copies - 1))
            left = (*rest, evolve(message, actor=None, is_copy=True))
            yield (
                f"Alipay+ acts on {call} of {who}, and a copy is on its way",
                partial(self._arrived, less, left, message),
            )
        if budget.lags and call in ("inquiryPayment", "cancelPayment"):
            less = evolve(state, budget=evolve(budget, lags=budget.lags - 1))
            gone = {"result": _result("F", "ORDER_NOT_EXIST")}
            yield (
                f"{call} of {who} meets a replica that lags",
                partial(self._answered, less, rest, message, gone),
            )
        if budget.denials and call == "refund":
            less = evolve(state, budget=evolve(budget, denials=budget.denials - 1))
            denied = {"result": _result("F", "ACCESS_DENIED")}
            yield (
                f"refund of {who} is denied unseen",
                partial(self._answered, less, rest, message, denied),
            )

    def _arrived(self, state, rest, message):
        after, content = self._act(state, message)
        return self._answered(after, rest, message, content)

    def _answered(self, state, rest, message, content):
        if message.actor is None:
            return evolve(state, messages=rest)
        answer = self._sign(message.request.path, json.dumps(content).encode(), state.now)
        return evolve(state, messages=(*rest, evolve(message, answer=answer)))

    def _act(self, state, message):
        """Do in the ledger what a call asks for; return the state and the answer's content."""
        call, said = message.call, _read(message.request.body)
        rid = said["paymentRequestId"]
        order = {one.rid: one for one in state.orders}.get(rid)
        if call == "pay":
            return self._pay(state, order, rid, message.request.body)
        if order is None:
            return state, {"result": _result("F", "ORDER_NOT_EXIST")}
        if call == "inquiryPayment":
            return state, self._inquired(order)
        if call == "cancelPayment":
            if (rid, "succeeded") in state.told and order.state == "paid":
                raise Violation(f"{rid}: the money goes back although the shop was told of it")
            state = self._decide(state, order, state="cancelled")
            return state, {"result": _result("S", "SUCCESS")}
        return self._refund(state, order, said)

    def _pay(self, state, order, rid, body):
        said = _read(body)
        if (rid, body) not in state.bodies:
            if any(one == rid for one, _ in state.bodies):
                raise Violation(f"{rid}: sent with two bodies")
            state = evolve(state, bodies=state.bodies | {(rid, body)})
        stored = dict(dict(state.store)["_attempts"]).get(rid)
        if stored is None or stored.request_body != body:
            raise Violation(f"{rid}: was sent before it was durable")
        if order is None:
            amount = said["paymentAmount"]
            order = Order(
                rid=rid, ref=said["order"]["referenceOrderId"], expires=state.now + LIFE,
                amount=(amount["currency"], int(amount["value"])),
            )  # fmt: skip
            state = self._decide(state, order)
        if order.state != "open":
            return state, {"result": _result("F", "ORDER_IS_CLOSED")}
        form = {
            "expireTime": Timestamp.of(order.expires).text,
            "codeDetails": [{"codeValue": order.code, "displayType": "TEXT"}],
        }
        return state, {
            "result": _result("U", "PAYMENT_IN_PROCESS"), "paymentId": f"P-{rid}",
            "paymentAmount": said["paymentAmount"], "orderCodeForm": form,
        }  # fmt: skip

    def _inquired(self, order):
        told = {
            "open": ("U", "PAYMENT_IN_PROCESS"), "paid": ("S", "SUCCESS"),
            "closed": ("F", "ORDER_IS_CLOSED"), "cancelled": ("F", "ORDER_IS_CLOSED"),
        }[order.state]  # fmt: skip
        return {
            "result": _result("S", "SUCCESS"), "paymentResult": _result(*told),
            **self._details(order),
            "transactions": [
                {
                    "transactionType": "REFUND", "transactionStatus": "SUCCESS",
                    "transactionResult": _result("S", "SUCCESS"), "transactionRequestId": name,
                    "transactionAmount": {"currency": order.amount[0], "value": str(value)},
                }
                for name, value in order.refunds
            ],
        }  # fmt: skip

    def _details(self, order):
        currency, value = order.amount
        return {
            "paymentRequestId": order.rid, "paymentId": f"P-{order.rid}",
            "paymentAmount": {"currency": currency, "value": str(value)},
        }  # fmt: skip

    def _refund(self, state, order, said):
        name, value = said["refundRequestId"], int(said["refundAmount"]["value"])
        if order.state != "paid":
            return state, {"result": _result("F", "ORDER_STATUS_INVALID")}
        if name not in dict(order.refunds):
            if sum(dict(order.refunds).values()) + value > order.amount[1]:
                return state, {"result": _result("F", "REFUND_AMOUNT_EXCEED")}
            if order.refunds:
                raise Violation(f"{order.rid}: one wish to refund gave the money back twice")
            state = self._decide(state, order, refunds=((name, value),))
        return state, {
            "result": _result("S", "SUCCESS"), "refundId": f"R-{name}",
            "refundAmount": said["refundAmount"],
        }  # fmt: skip

    def _of_the_world(self, state):
        budget = state.budget
        if budget.ticks:
            passed, *left = budget.ticks
            now = NOON + timedelta(seconds=passed)
            after = evolve(
                state,
                now=now,
                budget=evolve(budget, ticks=tuple(left)),
                messages=tuple(_later(m, now) for m in state.messages),
            )
            yield f"the clock passes {passed} s", lambda: after
        for order in state.orders:
            shown = (order.ref, order.code) in state.shown
            if budget.payments and shown and order.state == "open" and state.now < order.expires:
                less = evolve(state, budget=evolve(budget, payments=budget.payments - 1))
                paid = partial(self._decide, less, order, state="paid", was_paid=True)
                yield f"the buyer pays {order.rid}", paid
            if order.state == "open" and state.now >= order.expires:
                closed = partial(self._decide, state, order, state="closed")
                yield f"Alipay+ closes {order.rid}", closed
            if (
                budget.notifications
                and order.state in ("paid", "closed")
                and not order.acknowledged
            ):
                less = evolve(state, budget=evolve(budget, notifications=budget.notifications - 1))
                yield f"Alipay+ notifies of {order.rid}", partial(self.notify, less, order)

    def _decide(self, state_of_world, order, /, **changes):
        orders = {one.rid: one for one in state_of_world.orders}
        orders[order.rid] = evolve(order, **changes)
        return evolve(
            state_of_world, orders=tuple(sorted(orders.values(), key=lambda one: one.rid))
        )

    def notify(self, state, order):
        """Let a notification of an order arrive, as a flow of its own."""
        status = ("S", "SUCCESS") if order.state == "paid" else ("F", "ORDER_IS_CLOSED")
        content = {"paymentResult": _result(*status), **self._details(order)}
        headers, body = self._signed_notification(json.dumps(content).encode(), state.now)
        count = sum(one.name.startswith("notification") for one in state.actors)
        name = f"notification {count + 1} ({status[0]} {order.rid})"
        digest = hash((headers, body))
        actor = Actor(name=name, make=lambda config: receive(config, headers, body), digest=digest)
        return self._run_on(evolve(state, actors=(*state.actors, actor)), len(state.actors))

    @lru_cache(maxsize=4096)  # noqa: B019  # a world lives as long as its test
    def _signed_notification(self, body, now):
        return tuple(self.alipayplus.sign(body, at=now).items()), body

    # Flows: fed with the results so far, they stand where they stood.

    def _pending(self, state, actor):
        """Give the effect that an actor waits for."""
        return self._step(actor, state.now)[2]

    def _give(self, state, number, result):
        """Give an actor the result of its effect, and let it run on to the next visible one."""
        actor = state.actors[number]
        actor = evolve(
            actor, results=(*actor.results, result), digest=hash((actor.digest, self._of(result)))
        )
        return self._run_on(self._put(state, number, actor), number)

    def _of(self, result):
        return (type(result), str(result)) if isinstance(result, Exception) else self._hash(result)

    def _run_on(self, state, number):
        actor = state.actors[number]
        results, digest, effect, end = self._step(actor, state.now)
        actor = evolve(actor, results=results, digest=digest, done=effect is None)
        state = self._put(state, number, actor)
        if effect is None:
            return state if isinstance(end, Exception) else self._ended(state, actor, end)
        if isinstance(effect, Send):
            sent = 1 + max((one.number for one in state.messages), default=0)
            message = Message(
                number=sent, actor=actor.name, request=effect.request, sent_at=state.now
            )
            state = evolve(state, messages=(*state.messages, message))
        return state

    def _step(self, actor, now):
        """Give (results, digest, effect, end) of a flow at its next visible effect, or at its end."""
        key = (actor.name, actor.price, actor.offset, actor.digest, now)
        if key not in self._steps:
            self._steps[key] = self._replayed(actor, now)
        return self._steps[key]

    def _replayed(self, actor, now):
        flow = actor.make(self.config)
        results, digest = list(actor.results), actor.digest
        try:
            effect = next(flow)
            for result in actor.results:
                effect = flow.throw(result) if isinstance(result, Exception) else flow.send(result)
            while (local := self._locally(now, actor, effect, len(results))) is not NotImplemented:
                results.append(local[0])
                digest = hash((digest, self._of(local[0])))
                effect = flow.send(local[0])
        except StopIteration as stop:
            return tuple(results), digest, None, stop.value
        except AplusError as error:
            return tuple(results), digest, None, error
        return tuple(results), digest, effect, None

    def _locally(self, now, actor, effect, count):
        """Give the result, as a tuple of one, of an effect that nobody else can see."""
        match effect:
            case Now():
                return (now + actor.offset,)
            case Draw():
                return (0.5,)
            case NewRequestId():
                return (f"pay{actor.name.replace(' ', '')}{count}",)
            case Sleep():
                return (None,)
            case CallStore(method="note"):  # reconcile's heartbeat, by which nothing is decided
                return (None,)
            case CallHook(name="load_order"):
                return (OrderToPay(amount=actor.price, description="2 tickets"),)
        return NotImplemented

    def _put(self, state, number, actor):
        actors = (*state.actors[:number], actor, *state.actors[number + 1 :])
        return evolve(state, actors=actors)

    def _ended(self, state, actor, value):
        if actor.shows and value is not None:
            key = (self._hash(value), state.now + actor.offset)
            if key not in self._views:
                self._views[key] = view_of(value, key[1], None).code_text
            if (code := self._views[key]) is not None:
                state = evolve(state, shown=state.shown | {(value.order_ref, code)})
        if actor.name.startswith("notification") and value.status == 200:
            rid = actor.name.split()[-1].rstrip(")")
            history = dict(dict(state.store)["_history"]).get(rid, ())
            if not any(str(one.source) == "notification" for one in history):
                raise Violation(f"{rid}: acknowledged without having been kept")
            (order,) = (one for one in state.orders if one.rid == rid)
            state = self._decide(state, order, acknowledged=True)
        return state

    @lru_cache(maxsize=4096)  # noqa: B019  # a world lives as long as its test
    def _sign(self, path, body, now):
        time = Timestamp.of(now).text
        signed = signing.signed_content(path, self.account.client_id, time, body)
        signature = signing.sign(self.key, "1", signed)
        headers = (
            ("Client-Id", self.account.client_id), ("Response-Time", time), ("Signature", signature)
        )  # fmt: skip
        return Answer(status=200, headers=headers, body=body)

    # The rules.

    def check(self, state):
        """Raise Violation if a rule that holds at every moment is broken."""
        payable = [
            order.ref
            for order in state.orders
            if order.payable(state.now) and (order.ref, order.code) in state.shown
        ]
        for ref in payable if len(payable) > 1 else ():
            if (count := payable.count(ref)) > 1:
                raise Violation(f"{ref}: {count} codes that were shown can be paid")
        for told in state.told if len(state.told) > 1 else ():
            if (count := state.told.count(told)) > 1:
                raise Violation(f"{told[0]}: the shop was told {count} times that it is {told[1]}")
        for order in state.orders:
            given_back = order.state == "cancelled" and order.was_paid
            if given_back and (order.rid, "succeeded") in state.told:
                raise Violation(f"{order.rid}: told as paid, and the money went back")

    def settle(self, state):
        """Let everything come to rest without mishaps, and check what must be true then."""
        for _ in range(16):
            state = evolve(
                state, budget=Budget(timeouts=0, crashes=0, ticks=(), payments=0, notifications=0)
            )
            for order in state.orders:
                if order.state == "open" and state.now >= order.expires:
                    state = self._decide(state, order, state="closed")
            for order in state.orders:
                if order.state in ("paid", "closed") and not order.acknowledged:
                    state = self._alone(self.notify(state, order))
            name = f"reconcile at rest {len(state.actors)}"
            actor = Actor(name=name, make=reconcile)
            state = evolve(state, actors=(*state.actors, actor))
            state = self._alone(self._run_on(state, len(state.actors) - 1))
            attempts = dict(dict(state.store)["_attempts"])
            refunds = dict(dict(state.store)["_refunds"])
            if all(one.state.is_final for one in (*attempts.values(), *refunds.values())):
                break
            state = evolve(state, now=state.now + timedelta(seconds=61))
        else:
            left = [str(one.state) for one in attempts.values()]
            raise Violation(f"never final: {left}")
        self._check_at_rest(state, attempts)

    def _alone(self, state):
        """Let the last actor go on by itself to its end; messages of others stay where they are."""
        number = len(state.actors) - 1
        while not state.actors[number].done:
            actor = state.actors[number]
            effect = self._pending(state, actor)
            if isinstance(effect, Send):
                (mine,) = (one for one in state.messages if one.actor == actor.name)
                rest = tuple(one for one in state.messages if one is not mine)
                after, content = self._act(state, mine)
                answer = self._sign(mine.request.path, json.dumps(content).encode(), state.now)
                state = self._give(evolve(after, messages=rest), number, answer)
            else:
                state = self._perform(state, number, effect)
            self.check(state)
        return state

    def _check_at_rest(self, state, attempts):
        conflicts = dict(dict(state.store)["_conflicts"])
        reported = {
            c.attempt.payment_request_id for key, c in conflicts.items() if key in state.conflicts
        }
        for order in state.orders:
            told = (order.rid, "succeeded") in state.told
            if order.state == "paid" and not told and order.rid not in reported:
                raise Violation(f"{order.rid}: paid, and the shop knows nothing of it")
            if order.state != "paid" and told:
                raise Violation(f"{order.rid}: {order.state} at Alipay+, and told as paid")
        for conflict in conflicts.values():
            if conflict.key not in state.conflicts:
                raise Violation(
                    f"{conflict.attempt.payment_request_id}: a conflict was not reported"
                )
        paid = Counter(one.order_ref for one in attempts.values() if one.state is State.SUCCEEDED)
        if paid and max(paid.values()) > 1:
            raise Violation("an order was paid twice")


@lru_cache(maxsize=4096)
def _read(body):
    """Read a body that we have sent; the dictionary is not changed by anyone."""
    return json.loads(body)


def _result(status, code):
    return {"resultCode": code, "resultStatus": status, "resultMessage": code.lower()}


def _left_by(actor, messages):
    """Return the messages under way once an actor waits no more: an inquiry changes nothing."""
    return tuple(
        evolve(one, actor=None) if one.actor == actor.name else one
        for one in messages
        if one.actor != actor.name or (one.answer is None and one.call != "inquiryPayment")
    )


def _later(message, now):
    """Return a message as it is after a while.

    pay, cancelPayment and inquiries may arrive ever so late. A refund that has not arrived within a
    minute is taken for lost: a refusal of its repeat is believed then (`Timing.after_refusal`).
    """
    late = now - message.sent_at >= timedelta(minutes=1)
    is_lost = message.call == "refund" and message.answer is None and late
    return evolve(message, is_lost=True) if is_lost else message


def story(state):
    """Give the events that led to a state, a line each."""
    lines, link = [], state.story
    while link is not None:
        link, event = link
        lines.append(event)
    return "\n".join(f"  {number:2}. {line}" for number, line in enumerate(reversed(lines), 1))


def explore(world, start, limit=None, random=None):
    """Enumerate every state that can be reached; raise Violation with its story.

    Returns (states, events, ends). With a `limit` it stops after so many states, which are then
    drawn by `random` from all over the space.
    """
    seen, rested, ends, states, events = {start.key}, set(), 0, 1, 0
    stack = [start]
    while stack and (limit is None or states < limit):
        if random is not None:
            chosen = random.randrange(len(stack))
            stack[chosen], stack[-1] = stack[-1], stack[chosen]
        state = stack.pop()
        for after in _following(world, state):
            events += 1
            key = after.key
            if key in seen:
                continue
            seen.add(key)
            states += 1
            _checked(world, after)
            stack.append(after)
        if all(actor.done for actor in state.actors):
            ends += 1
            if (rest := state.rest_key) not in rested:
                rested.add(rest)
                _settled(world, state)
    return states, events, ends


def wander(world, start, random, steps=200):
    """Follow one random schedule to its end; raise Violation with its story."""
    state, count = start, 0
    while count < steps:
        choices = list(world.following(state))
        if not choices or (all(one.done for one in state.actors) and random.random() < 0.3):
            break
        after = _after(state, *random.choice(choices))
        if after is not None:
            state = after
            _checked(world, state)
            count += 1
    _settled(world, state)
    return count


def _following(world, state):
    for event, happen in world.following(state):
        if (after := _after(state, event, happen)) is not None:
            yield after


def _after(state, event, happen):
    """Return the state after an event, which is None if it cannot happen."""
    try:
        after = happen()
    except Violation as broken:
        raise Violation(f"{broken}\n{story(state)}\n   then: {event}") from None
    return after and evolve(after, story=(state.story, event))


def _checked(world, state):
    try:
        world.check(state)
    except Violation as broken:
        raise Violation(f"{broken}\n{story(state)}") from None


def _settled(world, state):
    try:
        world.settle(state)
    except Violation as broken:
        raise Violation(f"{broken}\n{story(state)}\n   and all comes to rest") from None
