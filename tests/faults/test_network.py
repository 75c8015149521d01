"""A network that loses answers after the gateway acted: one order each, same id, same bytes."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from aplus_adapters import Account, AplusPay, Retry, State, Timing
from aplus_adapters.payments.flows.initiate import initiate
from support.lossy import LossyProxy
from support.racing_shop import BUYER, Shop, at_once, make_store

LONG = bool(os.environ.get("APLUS_LONG"))
PAYMENTS = 1000 if LONG else 60


@pytest.mark.parametrize("kind", ["postgresql"] if LONG else ["sqlite"])
def test_lost_reset_and_delayed_answers_make_no_second_order(kind, request, tmp_path, simulator):
    database = (
        f"sqlite:///{tmp_path}/shop.db"
        if kind == "sqlite"
        else request.getfixturevalue("postgres").database()
    )
    store = make_store(database)
    timing = Timing(
        pay=Retry(pauses=(0.05, 0.1), deadline=3),
        timeout=0.5,
        inquiry_timeout=0.5,
        claim=timedelta(seconds=4),
        retry_pay=timedelta(milliseconds=200),
    )
    with LossyProxy(simulator.address, lost=0.3, reset=0.1, seed=13) as proxy:
        environ = {
            **simulator.environ,
            "APLUS_GATEWAY": proxy.address,
            "APLUS_NOTIFY_URL": "http://127.0.0.1:9/aplus/notify",
        }
        pay = AplusPay(account=Account.from_env(environ), store=store, hooks=Shop(), timing=timing)
        refs = [f"lossy-{os.getpid()}-{number}" for number in range(PAYMENTS)]
        with ThreadPoolExecutor(8) as threads:
            made = list(threads.map(lambda ref: pay.run(initiate(pay.config, ref, BUYER)), refs))
        without = sum(one.state is State.CREATED for one in made)
        for _ in range(200):
            if all(store.get(one.payment_request_id).state is State.PENDING for one in made):
                break
            at_once(8, lambda _: pay.reconcile())
        assert all(store.get(one.payment_request_id).state is State.PENDING for one in made)
        pay.close()
    orders = [one for one in simulator.orders() if one["referenceOrderId"] in set(refs)]
    sent = [[one for one in order["requests"] if one["call"] == "pay"] for order in orders]
    print(
        f"{PAYMENTS} payments through {proxy.outcomes}: {len(orders)} orders, "
        f"{sum(map(len, sent))} pay calls, {without} without a code at first"
    )
    assert sorted(one["referenceOrderId"] for one in orders) == sorted(refs)
    assert {one["paymentRequestId"] for one in orders} == {one.payment_request_id for one in made}
    assert all(len({call["bodySha256"] for call in calls}) == 1 for calls in sent)
    assert sum(map(len, sent)) > PAYMENTS  # the network did lose answers
    store.close()
