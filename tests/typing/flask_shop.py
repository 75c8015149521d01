"""A typed shop for Flask, as a type checker sees it: nothing here may be reported."""

from typing import assert_type

from flask import Flask
from sqlalchemy import Connection, text

from aplus_adapters import (
    Account,
    Amount,
    AplusPay,
    Attempt,
    AuthorizeDetails,
    Brand,
    ConflictDetails,
    LoadOrderDetails,
    LogIn,
    OptionalHooks,
    OrderToPay,
    PageDesign,
    PaymentDetails,
    Refund,
    RefundDetails,
    RenderDetails,
    Rendering,
    SQLStore,
    State,
)
from aplus_adapters.flask import create_blueprint


class Shop(OptionalHooks[Connection]):
    def load_order(self, details: LoadOrderDetails) -> OrderToPay | None:
        if details.order_ref != "A-1001":
            return None
        return OrderToPay(amount=Amount("USD", 4200), description="2 tickets")

    def payment_changed(self, details: PaymentDetails[Connection]) -> None:
        if details.attempt.state is State.SUCCEEDED:
            details.connection.execute(text("UPDATE orders SET status = 'paid'"))

    def payment_conflict(self, details: ConflictDetails) -> None:
        print(details.attempt.payment_request_id, details.conflict.reason)

    def refund_changed(self, details: RefundDetails[Connection]) -> None:
        print(details.refund.amount)

    def render_receipt(self, details: RenderDetails) -> Rendering | None:
        return Rendering(body=f"{details.view.order_ref} {details.view.state.value}".encode())

    def authorize(self, details: AuthorizeDetails) -> bool | LogIn:
        return LogIn("/login") if details.attempt is None else True


design = PageDesign(
    brand=Brand(mark="<svg>", wallets=["AlipayHK"]), frame_ancestors=["https://shop.example"]
)
pay = AplusPay(
    account=Account.from_env(), store=SQLStore("sqlite:///shop.db"), hooks=Shop(), page=design
)
app = Flask(__name__)
app.register_blueprint(create_blueprint(pay), url_prefix="/aplus")

attempt = pay.start("A-1001")
assert_type(attempt, Attempt)
assert_type(pay.find(attempt.payment_request_id), Attempt | None)
assert_type(pay.close_order("A-1001"), Attempt | None)
assert_type(pay.payment_button("A-1001", accept_language="de"), str)
assert_type(pay.refund(attempt.payment_request_id, refund_request_id="credit-note-77"), Refund)
