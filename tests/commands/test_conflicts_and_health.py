"""`aplus conflicts` and `aplus health`: what a person has to look at, with exit codes for probes."""

import json
from datetime import timedelta

import pytest

from aplus_adapters import Amount, Outcome, StoreError
from aplus_adapters.cli.commands import flow_runner
from aplus_adapters.payments.flows.reconcile import reconcile
from aplus_adapters.testing.store_values import an_observation
from support.gateway import CLOSED, PAID, done, inquired
from support.operated import SHOP

OTHER = Amount("USD", 4000)


def seen(aplus, attempt, outcome=Outcome.SUCCEEDED, **changes):
    """Let Alipay+ say something of a payment that contradicts what is stored."""
    known = {"amount": attempt.amount, "payment_id": attempt.payment_id, "at": aplus.clock.now()}
    aplus.observe(attempt, an_observation(outcome, client_id="CLIENT-1", **{**known, **changes}))


def to_do(aplus):
    listed = aplus("conflicts", "--json")
    return [json.loads(line)["to_do"] for line in listed.stdout.splitlines()]


@pytest.fixture
def disputed(aplus):
    failed = aplus.settle(aplus.start(), CLOSED)
    seen(aplus, failed)
    return aplus.find(failed)


def test_a_conflict_is_listed_with_what_to_do_until_it_is_resolved(aplus, disputed):
    listed = aplus("conflicts")
    assert listed.exit_code == 1
    key = listed.stdout.splitlines()[0].split()[1]
    assert to_do(aplus)[0].startswith("do not deliver yet: Alipay+ says that 42.00 USD were paid")
    assert f"`aplus refund {disputed.payment_request_id}` gives it back" in to_do(aplus)[0]
    assert listed.stdout.splitlines()[1:] == [
        "since     2026-11-23 12:00:21.000Z",
        f"payment   {disputed.payment_request_id}, 42.00 USD, failed",
        "order     A-1",
        "what      succeeded by notification although it is failed",
        f"to do     {to_do(aplus)[0]}",
        f"then      aplus conflicts resolve {key} --note TEXT --by NAME",
    ]
    words = ["conflicts", "resolve", key, "--note", "refunded, note 77", "--by", "Mei"]
    resolved = aplus(*words)
    assert resolved.exit_code == 0
    when = "2026-11-23 12:00:21.000Z"
    assert resolved.stdout == f"conflict {key}: resolved at {when} by Mei: refunded, note 77\n"
    assert aplus(*words).exit_code == 0  # the same person again
    late = aplus("conflicts", "resolve", key, "--note", "me too", "--by", "Jo")
    assert late.exit_code == 1
    assert "was resolved before at" in late.stdout
    assert "by Mei: refunded, note 77" in late.stdout
    empty = aplus("conflicts")
    assert (empty.exit_code, empty.stdout, empty.stderr) == (0, "", "no conflict\n")
    kept = aplus("conflicts", "--payment", disputed.payment_request_id)
    assert kept.exit_code == 0
    assert f"resolved  {when} by Mei: refunded, note 77" in kept.stdout
    (row,) = [json.loads(kept_line) for kept_line in aplus(
        "conflicts", "--payment", disputed.payment_request_id, "--json"
    ).stdout.splitlines()]  # fmt: skip
    assert (row["resolved_by"], row["to_do"]) == ("Mei", None)
    assert row["payment"]["disputed_minor"] == 4200


def test_each_kind_of_conflict_has_its_advice(aplus, disputed):
    paid = aplus.paid("A-2")
    seen(aplus, paid, Outcome.CANCELLED)
    seen(aplus, paid, payment_id="P-second")
    seen(aplus, paid, amount=OTHER)
    cancelled = aplus.start("A-3")
    aplus.gateway.script |= {
        "inquiryPayment": [inquired(cancelled, CLOSED)], "refund": [done()],
    }  # fmt: skip
    advice = " ".join(to_do(aplus))
    assert "42.00 USD were paid" in advice
    assert "the order counts as paid: ask Alipay+ before you deliver" in advice
    assert "a second wallet paid the same code: Alipay+ itself returns that money" in advice
    assert "the order stays paid with 42.00 USD" in advice
    assert len(to_do(aplus)) == 4
    aplus("refund", disputed.payment_request_id, "--yes")
    assert "the money was given back: nothing is left to do" in to_do(aplus)


def test_the_cancellation_of_a_payment_returns_what_was_paid_afterwards(aplus):
    attempt = aplus.start()
    aplus.gateway.script |= {
        "inquiryPayment": [inquired(attempt, {**CLOSED, "resultStatus": "U", "resultCode": "PAYMENT_IN_PROCESS"})],
        "cancelPayment": [done()],
    }  # fmt: skip
    assert aplus("close", "A-1", "--yes").exit_code == 0
    seen(aplus, attempt)
    (advice,) = to_do(aplus)
    assert advice.startswith("do not deliver: the cancellation returns the money")


def test_a_part_that_was_given_back_elsewhere_is_named(aplus):
    attempt = aplus.start()
    seen(aplus, attempt, given_back=Amount("USD", 500))
    (advice,) = to_do(aplus)
    assert advice.startswith("5.00 USD were given back elsewhere")


def test_conflicts_are_read_page_by_page(aplus, disputed, monkeypatch):
    from aplus_adapters.cli import conflicts

    monkeypatch.setattr(conflicts, "_PAGE", 2)
    paid = aplus.paid("A-2")
    for number in range(4):
        seen(aplus, paid, payment_id=f"P-{number}")
    assert len(to_do(aplus)) == 5


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--payment", "nothing"], "nothing: found no such payment in the store"),
        (["resolve", "nothing", "--note", "x", "--by", "Mei"], "found no conflict 'nothing'"),
        (["resolve", "nothing", "--note", " ", "--by", "Mei"], "resolve_conflict note: found ' '"),
        (["resolve", "nothing", "--by", "Mei"], "Missing option '--note'"),
        (["resolve", "nothing", "--note", "x"], "Missing option '--by'"),
        (["--json", "resolve", "nothing", "--note", "x", "--by", "y"], "expected them after it"),
        (["settle"], "No such command 'settle'"),
    ],
)
def test_a_useless_word_about_conflicts_is_a_usage_error(aplus, words, found):
    refused = aplus("conflicts", *words)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert found in " ".join(refused.stderr.split())


@pytest.mark.parametrize("place", [1, 7])
def test_the_shop_may_be_named_before_or_after_the_second_word(aplus, disputed, monkeypatch, place):
    from click.testing import CliRunner

    from aplus_adapters.cli.main import main

    monkeypatch.setenv("APLUS_SHOP", "nonsense:pay")  # what is typed counts more
    key = aplus.pay.conflicts()[0].key
    words = ["conflicts", "resolve", key, "--note", "looked at it", "--by", "Mei"]
    words[place:place] = ["--shop", f"{SHOP}:pay"]
    resolved = CliRunner().invoke(main, words)
    assert resolved.exit_code == 0, resolved.output
    assert list(aplus.pay.conflicts()) == []


@pytest.fixture
def healthy(aplus):
    aplus.paid()
    aplus.run(reconcile(aplus.pay.config))
    return aplus


def test_health_is_0_where_payments_go_on_by_themselves(healthy):
    well = healthy("health")
    assert well.exit_code == 0
    assert well.stdout.splitlines()[-1] == "healthy"
    assert "last_reconcile         2026-11-23T12:00:21.000000Z" in well.stdout
    answer = json.loads(healthy("health", "--json").stdout)
    assert (answer["healthy"], answer["problems"], answer["calls"]) == (True, [], 1)
    assert answer["clock_ahead_seconds"] == 0


def never_reconciled(aplus):
    aplus.paid()
    return "reconcile has never ended a round"


def reconciled_long_ago(aplus):
    aplus.run(reconcile(aplus.pay.config))
    aplus.clock.moment += timedelta(minutes=6)
    return "reconcile last ended a round at 2026-11-23 12:00:00.000Z"


def nobody_asks(aplus):
    aplus.clock.moment = aplus.start().next_call_at + timedelta(minutes=6)
    return "what should be asked about has waited for 360 s"


def open_for_long(aplus):
    attempt = aplus.start()
    aplus.clock.moment += timedelta(minutes=16)
    return f"payment {attempt.payment_request_id} has been open since 2026-11-23 12:00:01.000Z"


def a_conflict_unreported(aplus):
    failed = aplus.settle(aplus.start(), CLOSED)
    aplus.hooks.payment_conflict = None
    said = an_observation(client_id="CLIENT-1", amount=failed.amount)
    aplus.pay.store.record(failed.payment_request_id, said, lambda *_: None)
    return "1 conflicts could not be reported to the shop"


def a_hook_that_fails(aplus):
    """The buyer has paid, the shop cannot take it, and no payment shows that."""
    attempt = aplus.start()
    aplus.run(reconcile(aplus.pay.config))
    aplus.hooks.payment_changed = None
    aplus.settle(attempt)
    return f"a hook failed at {aplus.clock.moment:%Y-%m-%d %H:%M:%S}.000Z"


def refused_often(aplus):
    refusal = {"resultCode": "RISK_REJECT", "resultStatus": "F", "resultMessage": "no"}
    aplus.gateway.script["pay"] = [{"result": refusal}]
    for number in range(20):
        aplus.start(f"A-{number}")
    return "Alipay+ refused 20 of the last 20 calls"


@pytest.mark.parametrize(
    "trouble",
    [
        never_reconciled,
        reconciled_long_ago,
        nobody_asks,
        open_for_long,
        a_conflict_unreported,
        a_hook_that_fails,
        refused_often,
    ],
    ids=lambda trouble: trouble.__name__,
)
def test_health_is_1_and_says_what_is_wrong(aplus, trouble):
    problem = trouble(aplus)
    ill = aplus("health")
    assert ill.exit_code == 1
    assert f"BAD  {problem}" in ill.stdout
    assert ill.stdout.splitlines()[-1] == "not healthy"
    answer = json.loads(aplus("health", "--json").stdout)
    assert answer["healthy"] is False
    assert any(said.startswith(problem) for said in answer["problems"])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--reconcile", "10m", "--overdue", "10m", "--open", "30m", "--clock", "1h"], 0),
        (["--overdue", "1m", "--open", "30m", "--reconcile", "10m"], 1),
        (["--reconcile", "10m", "--open", "1m", "--overdue", "10m"], 1),
        (["--reconcile", "1m", "--open", "30m", "--overdue", "10m"], 1),
    ],
)
def test_the_limits_of_health_are_options(aplus, words, code):
    attempt = aplus.start()
    aplus.run(reconcile(aplus.pay.config))
    aplus.clock.moment = attempt.next_call_at + timedelta(minutes=3)
    assert aplus("health", *words).exit_code == code


def test_open_conflicts_count_if_they_are_asked_for(aplus, disputed):
    aplus.run(reconcile(aplus.pay.config))
    assert aplus("health").exit_code == 0
    assert aplus("health", "--conflicts", "1").exit_code == 0
    assert aplus("health", "--conflicts", "0").exit_code == 1


def test_a_store_that_cannot_be_read_is_not_healthy(aplus, monkeypatch):
    def fail(*_arguments):
        raise StoreError("found no database")

    monkeypatch.setattr(aplus.pay.store, "due", fail)
    answer = aplus("health", "--json")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["problems"] == ["the store cannot be read: found no database"]
    monkeypatch.setattr(aplus.pay.store, "find_page", fail)
    failed = aplus("list")
    assert (failed.exit_code, failed.stderr) == (1, "Error: found no database\n")


@pytest.mark.parametrize("words", [["--overdue", "soon"], ["--refused", "2"], ["--open", "9" * 30]])
def test_a_limit_that_cannot_be_meant_is_a_usage_error(aplus, words):
    assert aplus("health", *words).exit_code == 2


def test_a_clock_that_is_wrong_is_named(aplus):
    attempt = aplus.start()
    aplus.gateway.clock = type(aplus.clock)(aplus.clock.now() - timedelta(minutes=3))
    aplus.gateway.script["inquiryPayment"] = [inquired(attempt, PAID)]
    aplus.clock.moment = attempt.next_call_at
    with flow_runner(aplus.pay) as run_flow:
        run_flow(reconcile(aplus.pay.config))
    assert "our clock is +200 s from Alipay+'s: set it by NTP" in aplus("health").stdout
