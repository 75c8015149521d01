"""The flows that the interleavings are made of, and the states that they begin in."""

from functools import partial

from aplus_adapters import Amount, AplusError, RefundState, Visitor
from aplus_adapters.payments.effects import latest
from aplus_adapters.payments.flows.follow_up import close, follow_up
from aplus_adapters.payments.flows.initiate import initiate
from aplus_adapters.payments.flows.reconcile import reconcile
from aplus_adapters.payments.flows.refund import refund
from support.interleavings import Actor, Budget, evolve

BUYER = Visitor(user_agent="Mozilla/5.0")
PRICE, OTHER = Amount("JPY", 4200), Amount("JPY", 4000)


def press(config):
    return (yield from initiate(config, "A-1", BUYER))


def poll(config):
    attempt = yield from latest("A-1")
    if attempt is None:
        return None
    return (yield from follow_up(config, attempt))


def new_code(config):
    attempt = yield from latest("A-1")
    if attempt is None:
        return None
    return (yield from initiate(config, attempt.order_ref, BUYER))


def close_order(config):
    """The shop itself closes the order, whatever its page shows."""
    attempt = yield from latest("A-1")
    if attempt is not None and not attempt.state.is_final:
        yield from close(config, attempt)


def give_back(config, *, is_careful=True):
    """One wish of an operator, who tries again with a new id when it seems to have failed.

    A careless one does so as well while there is no answer yet.
    """
    attempt = yield from latest("A-1")
    if attempt is None or attempt.state.value != "succeeded":
        return None
    for number in (1, 2):
        try:
            made = yield from refund(
                config, attempt.payment_request_id, refund_request_id=f"credit{number}",
                amount=Amount("JPY", 1000),
            )  # fmt: skip
        except AplusError:
            continue
        failed = made.state is RefundState.FAILED
        if not failed and (is_careful or made.state is RefundState.SUCCEEDED):
            return None
    return None


FLOWS = {
    "press": (press, {"price": PRICE, "shows": True}),
    "press at another price": (press, {"price": OTHER, "shows": True}),
    "poll": (poll, {"shows": True}),
    "new code": (new_code, {"price": PRICE, "shows": True}),
    "close": (close_order, {}),
    "reconcile": (reconcile, {}),
    "refund": (give_back, {}),
    "careless refund": (partial(give_back, is_careful=False), {}),
}


def actor(kind, name=None, **changes):
    make, more = FLOWS[kind]
    return Actor(name=name or kind, make=make, **{**more, **changes})


CALM = Budget(timeouts=0, crashes=0, ticks=(), payments=0, notifications=0)


def begin(world, kind):
    """Give the state in which a pair begins."""
    state = world.start(CALM)
    if kind == "nothing yet":
        return state
    state = evolve(state, actors=(actor("press", "earlier press"),))
    state = world._run_on(state, 0)
    if kind == "sent, no answer":
        state = evolve(state, budget=evolve(CALM, crashes=1))
        while not state.messages:
            state = next(
                happen for event, happen in world.following(state) if "dies" not in event
            )()
        state = world._die(state, 0)
        return evolve(state, actors=(), budget=CALM)
    state = world._alone(state)
    if kind in ("paid", "recorded"):
        state = world._decide(state, state.orders[0], state="paid", was_paid=True)
    if kind == "closed":
        state = world._decide(state, state.orders[0], state="closed")
    if kind == "recorded":
        state = world._alone(world.notify(state, state.orders[0]))
    return evolve(state, actors=(), messages=())


def pair(world, kind, budget, *actors):
    """Give the state in which these actors start, in the world that `kind` names.

    A notification of the order that is there already can be one of them.
    """
    state = evolve(begin(world, kind), budget=budget)
    for one in actors:
        if one == "notification":
            state = world.notify(state, state.orders[0])
        else:
            together = (*state.actors, one)
            state = world._run_on(evolve(state, actors=together), len(together) - 1)
    return state
