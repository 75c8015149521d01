"""Every error that this library raises, grouped by what the caller must do about it.

    AplusError
        ConfigurationError     fix the set-up; nothing was sent, nothing will work until then
        InvalidValue           correct the argument; nothing was sent (also a ValueError)
            UnknownOrder           the shop has no such order to pay
            OrderChanged           the order was paid with another amount than it has now
            InconsistentRetry      this paymentRequestId was already used with other content
        TooManyAttempts        wait: this order was tried too often within an hour; nothing was sent
        WouldDeadlock          do it after the hook has returned; inside it would wait for ever
        NotSent                safe to send again: no byte reached Alipay+. If no HTTP client can
                               be made it is a ConfigurationError too: fix the set-up first
        OutcomeUnknown         inquire: the request may have arrived, no verified answer came
        Rejected               final: a verified answer says F; carries the result
        SignatureError         do not trust the message: its signature is not valid
        MessageError           do not use the message: it is not legal
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

_NOT_THE_SHOPS = ("aplus_adapters.", "concurrent.", "asyncio.", "importlib", "_frozen_importlib")


class AplusError(Exception):
    """The base class of every error that this library raises."""


class ConfigurationError(AplusError):
    """The set-up is wrong: keys, addresses, hooks or missing packages.

    `setting` names what is wrong: a variable, an argument, a hook or a store.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.setting = message.partition(":")[0]  # every message begins with its name


class InvalidValue(AplusError, ValueError):
    """An argument breaks a rule of the protocol; nothing was sent."""


class UnknownOrder(InvalidValue):
    """The shop's `load_order` returned None: there is no such order to pay."""


class OrderChanged(InvalidValue):
    """The order was paid, and its amount has changed since then: a person must look at it."""


class TooManyAttempts(AplusError):
    """An order had more payment attempts within an hour than `Timing.attempts_per_hour`."""


class InconsistentRetry(InvalidValue):
    """A paymentRequestId would have been sent again with other content; nothing was sent."""


class WouldDeadlock(AplusError):
    """A hook called a method that would wait for the transaction in which the hook runs."""


class NotSent(AplusError):
    """No byte of the request reached Alipay+; sending it again is safe."""


class OutcomeUnknown(AplusError):
    """The request may have reached Alipay+, and no trustworthy answer came back.

    Repeat the identical request or inquire; never start another payment. `retry_after` is the
    pause in seconds that Alipay+ asked for, None if it asked for none. `hint` is the result that an
    unverified answer claims. An operator may read it; a program must not act on it.
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
    """Remove the values of SQL statements from an error and from all its causes.

    They are buyers' data, and a traceback prints them. SQLAlchemy adds the parameters of a
    statement to its message; drivers add the failed row (DETAIL) or quote a malformed value. The
    first line stays, which says what happened. Only errors of databases are changed.
    """
    seen: set[int] = set()
    unseen: list[BaseException | None] = [error]
    while unseen:
        cause = unseen.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        unseen += [cause.__cause__, cause.__context__, getattr(cause, "orig", None)]
        if any(_is_of_a_database(kind) for kind in type(cause).__mro__):
            _shorten(cause)


def place_of(error: BaseException) -> str:
    """Return the line of the shop's file in which an error was raised, "" if none is known."""
    file, place = "", ""
    trace = error.__traceback__
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        name = trace.tb_frame.f_code.co_filename
        if not file and not module.startswith(_NOT_THE_SHOPS):
            file = name
        if file == name:
            short = name.replace("\\", "/").rpartition("/")[2]
            place = f" in {short} line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


def cause_of(error: BaseException) -> str:
    """Return the first line of a database's or system's error; "" for any other error.

    Call `hide_values` first.
    """
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, OSError) or any(map(_is_of_a_database, type(error).__mro__)):
        return str(cause).strip().partition("\n")[0][:200]
    return ""


def _is_of_a_database(kind: type) -> bool:
    # The base classes of every driver's errors (PEP 249), and asyncpg's own.
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


# MySQL shows values in errors of every kind, and a part of the statement with them.
_MYSQL_VALUES = re.compile(
    r"(Duplicate entry|to use near|value:) (?:.*(?= for key | for column | at line )|.*)"
)


def _first_line(text: str, quoted: bool) -> str:
    line = _MYSQL_VALUES.sub(r"\1 '...'", text.partition("\n")[0])
    return re.sub(r"\"[^\"]*(\"|$)|'[^']*('|$)", "'...'", line) if quoted else line
