"""One refund_request_id for two payments at the same moment: one is kept, nothing goes out for both."""

import threading
from concurrent.futures import ThreadPoolExecutor

from attrs import evolve

from aplus_adapters import InconsistentRetry, SQLStore
from aplus_adapters.stores import sql
from aplus_adapters.testing.store_values import (
    a_refund,
    an_attempt,
    an_observation,
    attempt_to,
    nothing,
)

PATIENCE = 5  # seconds for the other one to be as far


def test_only_one_of_two_payments_gets_an_id_that_both_ask_for_at_once(
    server_database, monkeypatch
):
    store = SQLStore(server_database)
    for number in (1, 2):
        store.add(an_attempt(number, f"A-{number}"))
        store.record(f"pay{number}", an_observation(), nothing)
    both_are_admitted, admit = threading.Barrier(2), sql.admit_refund

    def slow(*arguments):
        admitted = admit(*arguments)
        both_are_admitted.wait(PATIENCE)
        return admitted

    monkeypatch.setattr(sql, "admit_refund", slow)
    wanted = [
        evolve(a_refund(), payment_request_id=f"pay{number}", request_body=b"%d" % number)
        for number in (1, 2)
    ]
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda one: attempt_to(store.add_refund, one), wanted))
    refused = [one for one in answers if isinstance(one, InconsistentRetry)]
    (kept,) = [one for one in answers if one not in refused]
    assert "already used for another payment" in str(refused[0])
    assert [*store.refunds("pay1"), *store.refunds("pay2")] == [kept]
    store.close()
