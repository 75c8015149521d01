"""Runs of the conformance check inside this process: the shop's calls need no socket."""

import shutil
import tempfile
from pathlib import Path

import httpx

from aplus_adapters.conformance.evidence import Evidence
from aplus_adapters.conformance.gateway import PlayedGateway
from aplus_adapters.conformance.play import Pace
from aplus_adapters.conformance.run import examine
from aplus_adapters.conformance.server import transport_of
from aplus_adapters.conformance.shop import Shop
from aplus_adapters.conformance.ways import Ways

URL = "http://shop.example/alipay/hook"
WAYS = {
    "notify_url": URL,
    "pay_url": "/checkout",
    "pay_data": {"order": "{order}"},
    "status_url": "/orders/{order}",
    "refund_url": "/refunds",
    "refund_data": {"payment": "{payment}", "minor": "{minor}", "refund": "{refund}"},
}
# The patience is for a busy machine: only what is wrong makes a run wait for it.
PACE = Pace(answer=2.0, expiry=0.15, patience=2.0, poll=0.05)


def play_by_hand(kind, keys, *, acceptance=True, **ways):
    """Play against a handmade shop with the keys of a folder; return the run."""
    evidence = Evidence()
    folder = Path(tempfile.mkdtemp(dir=keys))
    for key in keys.glob("*_private.pem"):
        shutil.copy(key, folder)
    gateway = PlayedGateway(folder, "http://gateway.example", URL, evidence)
    shop = kind(gateway.environ, transport_of(gateway), pause=0.01, ask_every=0.06)
    transport = httpx.WSGITransport(shop.application())
    with httpx.Client(transport=transport) as client:
        under_test = Shop(Ways(**{**WAYS, **ways}), evidence, client, timeout=8)
        run = examine(gateway, under_test, evidence, pace=PACE, acceptance=acceptance)
    shop.end()
    gateway.close()
    return run


def names(run, *verdicts):
    return {name for name, result in run.results.all.items() if result.verdict in verdicts}


def describe(run, *verdicts):
    """What a failing test prints: each such case and what was found."""
    return {name: run.results.all[name].found for name in names(run, *verdicts)}
