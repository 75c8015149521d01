"""Every error that this library raises, grouped by what the caller must do about it.

    AplusError
        ConfigurationError     fix the set-up; nothing was sent, nothing will work until then
        InvalidValue           correct the argument; nothing was sent (also a ValueError)
            UnknownOrder           the shop has no such order to pay
            OrderChanged           the order was paid with another amount than it has now
            InconsistentRetry      this paymentRequestId was already used with other content
        TooManyAttempts        wait: this order was tried too often within an hour; nothing was sent
        WouldDeadlock          do it after the hook: it would wait for the hook's own transaction
        NotSent                safe to send again: no byte reached Alipay+ (a ConfigurationError too
                               where no HTTP client can be made: mend what it names first)
        OutcomeUnknown         ask: the request may have been acted on, no trustworthy answer came
        Rejected               final: Alipay+ said F in a verified answer; carries the result
        SignatureError         believe nothing of the message that this came with
        MessageError           believe nothing of it either: it is not a legal message
        NotificationError      refuse the notification; carries the HTTP status to answer with
        StoreError             the payment store failed; nothing may be acknowledged
            UnknownPayment         the store has no attempt with this paymentRequestId
        HookError              the shop's own code raised; its error is the __cause__

All are picklable. Messages say what was found, what was expected and what to do; they hold ids,
never bodies, keys or signatures.
"""

from __future__ import annotations

import contextlib
import re

__all__ = [
    "AplusError",
    "ConfigurationError",
    "HookError",
    "InconsistentRetry",
    "InvalidValue",
    "MessageError",
    "NotSent",
    "NotificationError",
    "OrderChanged",
    "OutcomeUnknown",
    "SignatureError",
    "StoreError",
    "TooManyAttempts",
    "UnknownOrder",
    "UnknownPayment",
    "WouldDeadlock",
]


class AplusError(Exception):
    """Root of everything that this library raises."""


class ConfigurationError(AplusError):
    """The set-up is wrong: keys, addresses, hooks or missing packages.

    `setting` is the one that is wrong: a variable, an argument, a hook or a store.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.setting = message.partition(":")[0]  # every message begins with it


class InvalidValue(AplusError, ValueError):
    """An argument breaks a rule of the protocol; nothing was sent."""


class UnknownOrder(InvalidValue):
    """The shop's `load_order` knows no such order that could be paid."""


class OrderChanged(InvalidValue):
    """The order was paid, but its amount is another one now: a person has to look at it."""


class TooManyAttempts(AplusError):
    """An order had more payment attempts within an hour than `Timing.attempts_per_hour`."""


class InconsistentRetry(InvalidValue):
    """A paymentRequestId would have been sent again with other content; nothing was sent."""


class WouldDeadlock(AplusError):
    """A hook asked for something that would wait for the transaction in which the hook runs."""


class NotSent(AplusError):
    """No byte of the request reached Alipay+; sending it again is safe."""


class OutcomeUnknown(AplusError):
    """The request may have reached Alipay+, and no trustworthy answer came back.

    Repeat the identical request or ask by inquiry; never start another payment.
    `retry_after` is the pause in seconds that the other side asked for, if it did. `hint` is what
    an answer that could not be verified claimed: for an operator to read, never to act on.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.hint = hint


class SignatureError(AplusError):
    """A signature is missing, malformed, made with an unknown key or wrong."""


class MessageError(AplusError):
    """A received message is not legal JSON or lacks what its kind requires."""


class NotificationError(AplusError):
    """An incoming notification was refused; `status` is the HTTP status to answer with."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class StoreError(AplusError):
    """The payment store failed; its own error is the `__cause__`."""


class UnknownPayment(StoreError):
    """The payment store holds no attempt with this paymentRequestId."""


class HookError(AplusError):
    """A hook of the shop raised; its own error is the `__cause__`."""

    def __init__(self, message: str, *, hook: str = "") -> None:
        super().__init__(message)
        self.hook = hook


def hide_values(error: BaseException) -> None:
    """Take the values of SQL statements out of an error and out of all that it came from.

    They are buyers' data, and a traceback prints them: SQLAlchemy adds the parameters of a
    statement to its message, drivers add the row that failed (DETAIL) or quote a malformed value.
    What is left is the first line, which says what happened. Errors that are no database's are not
    touched.
    """
    seen: set[int] = set()
    rest: list[BaseException | None] = [error]
    while rest:
        found = rest.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        rest += [found.__cause__, found.__context__, getattr(found, "orig", None)]
        if any(_is_of_a_database(kind) for kind in type(found).__mro__):
            _shorten(found)


def cause_of(error: BaseException) -> str:
    """Return what a database or the system says is wrong, in one line; empty for other errors.

    Call `hide_values` before.
    """
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, OSError) or any(map(_is_of_a_database, type(error).__mro__)):
        return str(cause).strip().partition("\n")[0][:200]
    return ""


def _is_of_a_database(kind: type) -> bool:
    # What every driver derives its errors from (PEP 249), and asyncpg's own.
    return kind.__name__ in ("DatabaseError", "InterfaceError", "PostgresError") or (
        kind.__module__.partition(".")[0] == "sqlalchemy"
    )


def _shorten(error: BaseException) -> None:
    quoted = any(kind.__name__ == "DataError" for kind in type(error).__mro__)
    error.args = tuple(
        _first_line(part, quoted) if isinstance(part, str) else part for part in error.args
    )
    if hasattr(error, "hide_parameters"):
        setattr(error, "hide_parameters", True)  # noqa: B010  # SQLAlchemy's, which is an extra
    if isinstance(getattr(error, "detail", None), str):  # asyncpg's; SQLAlchemy's own is a list
        with contextlib.suppress(AttributeError):
            setattr(error, "detail", "")  # noqa: B010  # a type checker knows no such attribute


def _first_line(text: str, quoted: bool) -> str:
    line = text.partition("\n")[0]
    return re.sub(r"\"[^\"]*(\"|$)|'[^']*('|$)", "'...'", line) if quoted else line
