"""A FastAPI shop with AsyncSession: its order and the payment are one commit, without our threads."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from aplus_adapters import SQLStore, State
from aplus_adapters.testing.store_values import an_attempt
from support.databases import AWAITING, blocking, new_awaiting_database

ROOT = Path(__file__).parent.parent.parent
SHOP = ROOT / "tests" / "support" / "stopped_shop.py"


@pytest.fixture
def environ(account, our_key, their_key):
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT / "examples"),
        "APLUS_CLIENT_ID": account.client_id,
        "APLUS_PRIVATE_KEY": our_key.to_pem(),
        "APLUS_PUBLIC_KEY": their_key.public_key.to_pem(),
        "APLUS_GATEWAY": account.gateway,
        "APLUS_NOTIFY_URL": account.notify_url,
    }


@pytest.mark.process
@pytest.mark.parametrize("driver", AWAITING)
def test_paid_and_its_order_are_one_commit_wherever_the_process_dies(
    driver, environ, account, alipayplus, tmp_path, request
):
    address = new_awaiting_database(driver, tmp_path, request)
    store, engine = SQLStore(blocking(address)), create_engine(blocking(address))
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE orders (ref VARCHAR(64) PRIMARY KEY, item TEXT, status TEXT)")
        )
    attempts = [an_attempt(n, f"A-{n}", client_id=account.client_id) for n in range(1, 40)]
    notifications = []
    for attempt in attempts:
        store.add(attempt)
        body = alipayplus.notification(attempt)
        headers = alipayplus.sign(body, at=datetime.now(UTC))
        path = "/aplus/notify"
        notifications.append({"path": path, "headers": headers, "body": body.decode()})
    with engine.begin() as connection:
        rows = [{"ref": attempt.order_ref} for attempt in attempts]
        connection.execute(text("INSERT INTO orders VALUES (:ref, 'Ticket', 'new')"), rows)
    file = tmp_path / "notifications.json"
    file.write_text(json.dumps(notifications))
    done = subprocess.run(
        [sys.executable, SHOP, "fastapi_async_shop", file],
        env={**environ, "DATABASE": address},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    ends = done.stdout.split()
    assert ends[-1:] == ["200"], done.stderr
    assert set(ends[:-1]) == {"died"}
    with engine.connect() as connection:
        statuses = dict(connection.execute(text("SELECT ref, status FROM orders")).all())
    for attempt, end in zip(attempts, ends, strict=False):
        is_paid = store.get(attempt.payment_request_id).state is State.SUCCEEDED
        assert is_paid is (statuses[attempt.order_ref] == "paid")
        assert is_paid or end == "died"
    print(f"{driver}: died at {len(ends) - 1} statements, each time both or neither were stored")
    assert len(ends) > 10
    store.close()
    engine.dispose()
