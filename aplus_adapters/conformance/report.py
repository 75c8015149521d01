"""The report of a run, as JSON for programs and as one HTML page to print and to hand on."""

from __future__ import annotations

import base64
import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader

from aplus_adapters.conformance.cases import Verdict
from aplus_adapters.conformance.evidence import BUYER

if TYPE_CHECKING:
    from pathlib import Path

    from aplus_adapters.conformance.run import Run

__all__ = ["ACCEPTANCE", "content_of", "write_report"]

_ACK = (
    "ack-status", "ack-in-time", "ack-says-s", "ack-client-id", "ack-response-time",
    "ack-content-type", "ack-signature",
)  # fmt: skip
ACCEPTANCE = {
    "A code is shown and paid; the success is shown": (
        "pay-well-formed", "code-shown", "paid-shown",
    ),
    "Each notification is acknowledged with a right signature within 5 s": _ACK,
    "A code is shown, nobody pays; polled, cancelled, not shown any more": (
        "silence-inquired", "expired-cancelled", "cancel-repeated", "expired-code-hidden",
        "open-not-paid",
    ),
    "A payment is refused": ("refused-answer", "refused-no-code", "failed-acknowledged",
                             "failed-not-paid"),
    "Full refund": ("refund-full",),
    "Several refunds": ("refund-parts", "refund-repeated"),
    "Duplicates": ("duplicate", "duplicates-at-once", "byte-for-byte"),
    "Late": ("late-success", "paid-stays-paid", "missed-found"),
    "Forged and altered": ("forged", "altered", "unsigned", "other-path", "other-client-id",
                           "key-of-the-shop", "strangers-pay-nothing"),
    "Unknown order": ("unknown-payment",),
    "Other amount": ("other-amount", "other-currency"),
    "Slow store": ("slow-store", "slow-store-again"),
}  # fmt: skip
"""The cases to pass before going live, and the results that speak for each."""


def content_of(run: Run) -> dict[str, Any]:
    """Return the report as JSON: every case, and the messages that speak for it."""
    cited = {number for result in run.results.all.values() for number in result.exchanges}
    # Of the buyer's pages only those that a case cites: polls look all the same.
    shown = [
        exchange
        for exchange in list(run.evidence.exchanges)
        if exchange.kind != BUYER or exchange.number in cited
    ]
    titles = {scenario.name: scenario.title for scenario in run.scenarios}
    return {
        "shop": run.notify_url,
        "began": run.began.isoformat(timespec="seconds"),
        "seconds": round(run.seconds, 2),
        "kind": "acceptance" if run.acceptance else "conformance",
        "right": run.results.is_right,
        "counts": {verdict.value: run.results.count(verdict) for verdict in Verdict},
        "acceptance": _acceptance(run) if run.acceptance else {},
        "cases": [
            {
                "name": result.case.name,
                "scenario": titles[result.scenario],
                "verdict": result.verdict.value,
                "rule": result.case.rule,
                "expected": result.case.expected,
                "found": result.found,
                "source": result.case.source,
                "messages": result.exchanges,
            }
            for result in run.results.all.values()
        ],
        "publicKeys": run.public_keys,
        "messages": [exchange.as_json(run.evidence.hidden) for exchange in shown],
    }


def _acceptance(run: Run) -> dict[str, str]:
    """Return the worst verdict of each acceptance case."""
    verdicts = {}
    for chapter, names in ACCEPTANCE.items():
        reached = {run.results.all[name].verdict for name in names if name in run.results.all}
        worst = (Verdict.WRONG, Verdict.NOT_TRIED, Verdict.ADVICE, Verdict.RIGHT)
        verdicts[chapter] = next((v for v in worst if v in reached), Verdict.NOT_TRIED).value
    return verdicts


def write_report(run: Run, folder: Path) -> None:
    """Write report.json and report.html; the page holds its pictures and needs no other file."""
    folder.mkdir(parents=True, exist_ok=True)
    content = content_of(run)
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (folder / "report.json").write_text(text, encoding="utf-8")
    environment = Environment(
        loader=PackageLoader("aplus_adapters.conformance"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = [(name, base64.b64encode(png).decode()) for name, png in run.pictures]
    scenarios = [
        (title, list(rows)) for title, rows in groupby(content["cases"], lambda c: c["scenario"])
    ]
    template = environment.get_template("report.html")
    page = template.render(**content, pictures=pictures, scenarios=scenarios)
    (folder / "report.html").write_text(page, encoding="utf-8")
