"""Notifications that a test sends to the shop: the true one, and those that must change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from attrs import evolve

from aplus_adapters.simulator.ledger import OrderState

if TYPE_CHECKING:
    from aplus_adapters.payments.model import Attempt
    from aplus_adapters.simulator.ledger import Order
    from aplus_adapters.testing.deliveries import Delivery, Steps
    from aplus_adapters.testing.simulator import Simulator

__all__ = ["Form", "Notifications"]

Form = Literal[
    "signed",
    "doubled",
    "late",
    "other_amount",
    "unknown_order",
    "forged",
    "altered",
    "unsigned",
    "other_path",
]
"""The forms of a notification; `Notifications.send` says what each is."""

_UNKNOWN = "pay" + "0" * 40


class Notifications:
    """Sends notifications beside those that Alipay+'s schedule sends by itself."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def send(self, form: Form, which: Attempt | Order | str | None = None) -> Delivery:
        """Send a notification about an order now; return what the shop did with it.

        `which` names the order as for `Simulator.order`: by default the newest. `form` is one of:

        - signed: the true one, as Alipay+ sends it once the payment is final
        - doubled: the true one, twice; the second one's fate is returned
        - late: a success, whatever became of the payment since
        - other_amount: signed, with one minor unit more
        - unknown_order: signed, for a payment that the shop never started
        - forged: signed with a stranger's key
        - altered: its body was changed after it was signed
        - unsigned: without a signature
        - other_path: signed for another path

        All but signed and doubled claim a success as long as the order is open. Raises ValueError
        for another form, and for a true notification about an order that is still open: Alipay+
        sends none.
        """
        return self._simulator.run(self._send(form, which))

    async def send_async(self, form: Form, which: Attempt | Order | str | None = None) -> Delivery:
        """Do what `send` does, awaiting."""
        return await self._simulator.run_async(self._send(form, which))

    def _send(self, form: Form, which: Attempt | Order | str | None) -> Steps[Delivery]:
        if form not in get_args(Form):
            raise ValueError(
                f"notification {form!r:.60}: expected one of {', '.join(get_args(Form))}"
            )
        order = self._simulator.order(which)
        if form in ("signed", "doubled") and order.state is OrderState.OPEN:
            raise ValueError(
                f"notification {form}: found the order still open, of which Alipay+ tells nothing; "
                "let the buyer pay, refuse or wait first"
            )
        if form == "late" or order.state is OrderState.OPEN:
            now = self._simulator.clock.now()
            order = evolve(order, state=OrderState.PAID, final_at=order.final_at or now)
        if form == "unknown_order":
            order = evolve(order, payment_request_id=_UNKNOWN)
        is_true = form in ("signed", "doubled", "late", "unknown_order")
        notifier = self._simulator.alipayplus.notifier
        _ = self._simulator.pay  # raises if no shop is connected
        if form == "doubled":
            yield from self._simulator.steps.send(notifier.make(order))
        notification = notifier.make(order, "true" if is_true else form)
        return (yield from self._simulator.steps.send(evolve(notification, form=form)))
