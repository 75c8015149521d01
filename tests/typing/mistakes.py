"""What a shop may get wrong: each line below a `# mistake` has to be reported."""

from collections.abc import Callable

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session, sessionmaker

from aplus_adapters import (
    Account,
    Amount,
    AplusPay,
    ConflictDetails,
    LoadOrderDetails,
    MemoryStore,
    OptionalHooks,
    OrderToPay,
    PaymentDetails,
    RefundDetails,
    Rejected,
    RenderDetails,
    SQLStore,
    State,
)

# mistake: a name that is not there
from aplus_adapters import AplusPayment  # isort: skip

print(AplusPayment)


class Shop:
    def load_order(self, details: LoadOrderDetails) -> OrderToPay | None:
        return None

    def payment_changed(self, details: PaymentDetails) -> None:
        # mistake: a word that is no state
        if details.attempt.state == "paid":
            print("paid")

    def payment_conflict(self, details: ConflictDetails) -> None:
        # mistake: a misspelt field
        print(details.conflict.reson)


class WantsSession(Shop):
    def payment_changed(self, details: PaymentDetails[Session]) -> None:
        # mistake: a misspelt method of the connection
        details.connection.comit()


class WantsConnection(Shop):
    def payment_changed(self, details: PaymentDetails[Connection]) -> None:
        # mistake: text where a statement belongs
        details.connection.execute("UPDATE orders SET status = 'paid'")
        details.connection.execute(text("UPDATE orders SET status = 'paid'"))


class WrongOptionalHooks(OptionalHooks[Connection]):
    # mistake: an optional hook that takes something else
    def authorize(self, details: LoadOrderDetails) -> bool:
        return True

    # mistake: an optional hook that answers something else
    def render_receipt(self, details: RenderDetails) -> bytes:
        # mistake: a misspelt field of the page
        return details.view.ammount

    # mistake: an optional hook that wants a Session where there is a Connection
    def refund_changed(self, details: RefundDetails[Session]) -> None:
        pass


class NoConflicts:
    def load_order(self, details: LoadOrderDetails) -> OrderToPay | None:
        return None

    def payment_changed(self, details: PaymentDetails) -> None:
        pass


class TakesNothing(Shop):
    def load_order(self) -> OrderToPay | None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # ty: ignore[invalid-method-override]
        return None


class AnswersText(NoConflicts):
    def load_order(self, details: LoadOrderDetails) -> str:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # ty: ignore[invalid-method-override]
        return "2 tickets"

    def payment_conflict(self, details: ConflictDetails) -> None:
        pass


account = Account.from_env()
# mistake: an address where a store belongs
AplusPay(account=account, store="sqlite:///shop.db", hooks=Shop())
# mistake: a required hook is missing
AplusPay(account=account, store=MemoryStore(), hooks=NoConflicts())
# mistake: a hook without its parameter
AplusPay(account=account, store=MemoryStore(), hooks=TakesNothing())
# mistake: a hook that answers something else
AplusPay(account=account, store=MemoryStore(), hooks=AnswersText())
# mistake: a hook that wants a Session from a store that gives a Connection
AplusPay(account=account, store=SQLStore("sqlite:///shop.db"), hooks=WantsSession())
sessions = sessionmaker()
# mistake: a hook that wants a Connection from a store that gives a Session
AplusPay(account=account, store=SQLStore(sessions), hooks=WantsConnection())
pay = AplusPay(account=account, store=SQLStore(sessions), hooks=WantsSession())
# mistake: a refund without an id of its own
pay.refund("pay1")
# mistake: a float is no amount
pay.refund("pay1", refund_request_id="r-1", amount=42.0)
# mistake: what may not be there is used as if it were
print(pay.find("pay1").state)
# mistake: an amount of major units
OrderToPay(amount="42.00", description="2 tickets")
# mistake: a twin that is not awaited
awaited: State = pay.start_async("A-1001")
# mistake: an error that has no result
Rejected("refused")
# mistake: a method that is not there
pay.cancel_order("A-1001")


def reason(error: Rejected) -> str:
    return error.result.result_code  # always there


# mistake: a result that a reader would have to check
wrong: Callable[[Rejected], None] = reason
# mistake: minor units are whole
Amount("USD", 42.5)
KEY, URL = "MII...", "https://shop.example/aplus/notify"
# mistake: a number for a key
Account(client_id="C", private_key=5, alipayplus_keys=KEY, gateway=URL, notify_url=URL)
# mistake: a list where a key or a ring of keys belongs
Account(client_id="C", private_key=KEY, alipayplus_keys=[KEY], gateway=URL, notify_url=URL)
