"""What a page of `pay.list` and `pay.health()` cost with 1,000 payments and with 1,000,000, and the plans.

    python tests/benchmarks/asking.py [FILE.json] [ROWS]

On SQLite, PostgreSQL and MariaDB, each filter and each combination of filters, the first page and one from
the middle. Small and large take turns; the figure is the median of the ratios. Exit code 1 if a ratio is
over 1.2.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from store import LARGE, SMALL, address_of, compare, servers

from aplus_adapters import Account, AplusPay, PrivateKey
from support.many_payments import ManyPayments, filters, print_plan
from support.shop import Clock, Shop

MOST = 1.2
CALLS = 5  # per round and side
LIMIT = 50


def operations(side, account):
    """Give each operation by its name."""
    pay = AplusPay(account=account, store=side.store, hooks=Shop(), clock=Clock(side.now))
    wanted = dict(filters(side.rows))
    made: dict[str, Callable[[], Any]] = {
        f"list: {name}": partial(side.store.find_page, asked, LIMIT)
        for name, asked in wanted.items()
    }
    made |= {"health": pay.health, "conflicts": pay.conflicts}
    return {name: partial(_silently, ask) for name, ask in made.items()}


def _silently(ask):
    ask()


def main(file=None, rows=str(LARGE)):
    ours, theirs = PrivateKey.generate(), PrivateKey.generate()
    url = "https://shop.example/aplus/notify"
    account = Account(
        client_id="C",
        private_key=ours,
        alipayplus_keys=theirs.public_key,
        gateway="https://gateway.example",
        notify_url=url,
    )
    results, missed = [], False
    clusters = servers()
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("sqlite", *clusters):
            sides = []
            for size, number in (("small", SMALL), ("large", int(rows))):
                address = address_of(kind, clusters, folder, size)
                sides.append(ManyPayments(kind, address, number))
                sides[-1].contradict()
            small, large = sides
            for side in sides:
                side.operations = operations(side, account)
            for name in small.operations:
                ratio = compare(small, large, lambda side, name=name: side.operations[name], CALLS)
                missed = missed or ratio > MOST
                verdict = "ok" if ratio <= MOST else "MISSED"
                print(f"{kind} {name}: {ratio:.3f} times the cost (bound {MOST}) {verdict}")
                for statement, plan in large.plans([large.operations[name]]):
                    print(f"  {statement}")
                    print_plan(plan)
                sys.stdout.flush()
                results.append(
                    {"name": f"{kind} {name}", "ratio": ratio, "bound": MOST, "verdict": verdict}
                )
            for side in sides:
                side.store.close()
    if file:
        Path(file).write_text(
            json.dumps({"at": datetime.now(UTC).isoformat(), "results": results}, indent=1)
        )
    sys.exit(missed)


if __name__ == "__main__":
    main(*sys.argv[1:])
