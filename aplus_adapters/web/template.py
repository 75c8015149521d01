"""The template of the page, ours or the shop's, and the files that belong to it."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING

from aplus_adapters.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment, Template

__all__ = ["missing_packages", "read", "render"]

_OURS = ("page.html", "error.html")


def render(own: str | None, values: Mapping[str, object], name: str = "page.html") -> str:
    """Return the page as HTML: by `own`, the shop's template, or by ours of that name.

    Raises ConfigurationError if Jinja2 is missing or the template cannot be rendered.
    """
    template = _compile(own, name)
    try:
        return template.render(values)
    except Exception as error:  # a template is the shop's code and may raise anything
        raise _template_error(error) from error


@cache
def read(name: str) -> str:
    """Return the text of one of the page's own files."""
    return files("aplus_adapters.web").joinpath("assets", name).read_text(encoding="utf-8")


def missing_packages() -> list[str]:
    """Return the names of the packages that the page needs and that are not installed."""
    return [name for name in ("jinja2", "segno") if find_spec(name) is None]


@lru_cache(maxsize=16)
def _compile(own: str | None, name: str = "page.html") -> Template:
    try:
        from jinja2 import DictLoader, Environment, StrictUndefined  # noqa: PLC0415  # an extra
    except ImportError:
        raise ConfigurationError(
            "order-code page: Jinja2 is not installed; run pip install 'aplus_adapters[page]', or "
            "implement the hook render_order_code"
        ) from None
    environment = Environment(
        loader=DictLoader({**{ours: read(ours) for ours in _OURS}, "own.html": own or ""}),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,  # a misspelt variable fails at start-up, not on the page
    )
    if own is None:
        return environment.get_template(name)
    try:
        _check_blocks(environment, own)
        return environment.get_template("own.html")
    except Exception as error:  # Jinja2 does not document all that a wrong template raises
        raise _template_error(error) from error


def _check_blocks(environment: Environment, own: str) -> None:
    """Raise LookupError for a block that the page does not have: Jinja2 would ignore it."""
    from jinja2 import nodes  # noqa: PLC0415  # an extra

    tree = environment.parse(own)
    known = list(environment.get_template("page.html").blocks)
    blocks = {node.name for node in tree.body if isinstance(node, nodes.Block)}
    unknown = ", ".join(sorted(blocks.difference(known)))
    if unknown and tree.find(nodes.Extends):
        raise LookupError(f"found the block {unknown}, expected {', '.join(known)}")


def _template_error(error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"order-code page: the template cannot be rendered ({type(error).__name__}: {error}); "
        "correct PageDesign.template"
    )
