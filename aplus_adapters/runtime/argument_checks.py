"""Checks of the arguments of AplusPay; each error says what to write instead."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from aplus_adapters.errors import ConfigurationError
from aplus_adapters.payments.hooks import OPTIONAL_HOOKS, REQUIRED_HOOKS
from aplus_adapters.payments.store import STORE_METHODS
from aplus_adapters.runtime.misspelt import MISSPELT, most_like

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_hooks", "check_kind", "check_methods", "find_optional_hooks"]

_WORTH_A_GUESS = 0.55  # a required hook is missing in any case, so a wrong guess does no harm


def check_kind(name: str, value: object, kind: type, example: str) -> None:
    """Raise ConfigurationError unless `value` is a `kind`; `example` is what to write."""
    if not isinstance(value, kind):
        raise ConfigurationError(
            f"AplusPay {name}: found {_name(value)}, expected {_article(kind)}; write {example}"
        )


def check_methods(name: str, value: object, methods: tuple[str, ...]) -> None:
    """Raise ConfigurationError unless `value` is an object with all of these methods."""
    _refuse_class(f"AplusPay {name}", value)
    missing = [method for method in methods if not callable(_get(name, value, method))]
    if missing:
        raise ConfigurationError(
            f"{name}: found {type(value).__name__} without {', '.join(missing)}, expected "
            f"{', '.join(methods)}; add the missing methods"
        )


def check_hooks(hooks: object, store: object) -> None:
    """Raise ConfigurationError unless hooks and store have every method that is needed.

    A public method with almost the name of a missing hook is taken for a misspelt hook. It would
    never be called, and a misspelt `authorize` would let everybody in.
    """
    _refuse_class("AplusPay hooks", hooks)
    methods = {name: _get("hooks", hooks, name) for name in (*REQUIRED_HOOKS, *OPTIONAL_HOOKS)}
    missing = [name for name in REQUIRED_HOOKS if not callable(methods[name])]
    absent = [name for name, hook in methods.items() if hook is None]
    others = [name for name in _own_methods(hooks) if name not in methods]
    if missing:
        guesses = [_guess(name, others, _WORTH_A_GUESS) for name in missing]
        advice = "; ".join(guess for guess in guesses if guess)
        raise ConfigurationError(
            f"hooks: found {type(hooks).__name__} without {', '.join(missing)}, expected "
            f"{', '.join(REQUIRED_HOOKS)}; {advice or 'add the missing methods'}"
        )
    for name in absent:
        if guess := _guess(name, others, MISSPELT):
            raise ConfigurationError(
                f"hooks: {guess} It would never be called: expected {name} (optional), or a name "
                "that is not close to it; rename the method"
            )
    for name, hook in methods.items():
        if hook is not None:
            _check_hook(f"hook {type(hooks).__name__}.{name}", hook)
    # The text is not shown: the address of a database may hold its password.
    if isinstance(store, str):
        raise ConfigurationError(
            "AplusPay store: found str, expected a store; write SQLStore(address) or MemoryStore()"
        )
    check_methods("store", store, STORE_METHODS)


def find_optional_hooks(hooks: object) -> frozenset[str]:
    """Return the names of the optional hooks that the shop implements."""
    return frozenset(name for name in OPTIONAL_HOOKS if _get("hooks", hooks, name) is not None)


def _check_hook(name: str, hook: Any) -> None:
    """Raise ConfigurationError unless the hook can be called with one details object."""
    if not callable(hook):
        raise ConfigurationError(
            f"{name}: found {type(hook).__name__}, expected a method with the one parameter "
            "`details`; remove it if you do not want this hook"
        )
    try:
        signature = inspect.signature(hook)
    except (TypeError, ValueError):  # written in C, without a signature
        return
    try:
        # Bound, not counted: further parameters that may be left out are legal.
        signature.bind(object())
    except TypeError:
        raise ConfigurationError(
            f"{name}: found the parameters {signature}, expected the one parameter `details`; "
            f"write def {name.rpartition('.')[2]}(self, details)"
        ) from None


def _refuse_class(what: str, value: object) -> None:
    if isinstance(value, type):
        raise ConfigurationError(
            f"{what}: found the class {value.__name__}, expected an object of it; "
            f"write {value.__name__}()"
        )


def _get(what: str, owner: object, name: str) -> Any:
    """Return an attribute or None; raise ConfigurationError if looking it up fails."""
    try:
        return getattr(owner, name, None)
    except Exception as error:  # a property or proxy of the shop's
        raise ConfigurationError(
            f"{what}: found {type(owner).__name__}.{name}, which raises {type(error).__name__}, "
            "expected an object that is ready when AplusPay is made"
        ) from error


def _own_methods(owner: object) -> list[str]:
    """Return the public methods that the object and its classes define.

    `getattr` is not used: a mock or a proxy has every attribute.
    """
    namespaces: list[Mapping[str, Any]] = [vars(owner) if hasattr(owner, "__dict__") else {}]
    namespaces += [vars(kind) for kind in type(owner).__mro__ if kind.__module__ != "unittest.mock"]
    return sorted(
        {
            name
            for namespace in namespaces
            for name, value in namespace.items()
            if not name.startswith("_") and (callable(value) or hasattr(value, "__func__"))
        }
    )


def _guess(wanted: str, names: list[str], limit: float) -> str:
    """Return a question about the name most like `wanted`, or "" if none is like it."""
    closest = most_like(wanted, names, limit)
    return f"found {closest}; did you mean {wanted}?" if closest else ""


def _name(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _article(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"
