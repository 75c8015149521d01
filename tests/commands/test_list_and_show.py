"""`aplus list` and `aplus show`: find payments, and read what happened to them."""

import csv
import doctest
import io
import json
import time
from datetime import timedelta

import pytest

from aplus_adapters import Amount
from aplus_adapters.cli.printing import PAYMENT_FIELDS
from aplus_adapters.testing.store_values import an_attempt
from support.gateway import CLOSED
from support.shop import NOON

JPY = Amount("JPY", 4200)


def rows(done):
    assert (done.exit_code, done.stderr) == (0, ""), done
    return [json.loads(line) for line in done.stdout.splitlines()]


def orders(done):
    return [row["order_ref"] for row in rows(done)]


@pytest.fixture
def three(aplus):
    """A paid, a failed and an open payment, of three hours."""
    paid = aplus.paid("A-1")
    aplus.clock.moment = NOON + timedelta(hours=1)
    failed = aplus.settle(aplus.start("A-2", JPY), CLOSED)
    aplus.clock.moment = NOON + timedelta(hours=2)
    return paid, failed, aplus.start("A-3")


def test_a_person_reads_amounts_in_currency_units_and_times_in_utc(aplus, three):
    done = aplus("list")
    assert done.exit_code == 0
    header, newest, failed, paid = done.stdout.splitlines()
    assert header.split() == ["created", "state", "amount", "payment", "order"]
    assert paid.split() == [
        "2026-11-23", "12:00:01.000Z", "succeeded", "42.00", "USD", three[0].payment_request_id, "A-1",
    ]  # fmt: skip
    assert failed.split()[2:] == [
        "failed", "4200", "JPY", three[1].payment_request_id, "A-2", "ORDER_IS_CLOSED",
    ]  # fmt: skip
    assert newest.split()[2] == "pending"


def test_a_program_reads_minor_units_in_json_and_in_csv(aplus, three):
    lines = rows(aplus("list", "--json"))
    assert [tuple(line) for line in lines] == [PAYMENT_FIELDS] * 3
    assert lines[1] == {
        "payment_request_id": three[1].payment_request_id,
        "order_ref": "A-2",
        "account": "CLIENT-1",
        "state": "failed",
        "currency": "JPY",
        "amount_minor": 4200,
        "refunded_minor": 0,
        "disputed_currency": None,
        "disputed_minor": None,
        "success_reported": False,
        "wallet": None,
        "alipayplus_payment_id": three[1].payment_id,
        "result_code": "ORDER_IS_CLOSED",
        "created_at": "2026-11-23T13:00:01.000000Z",
        "changed_at": "2026-11-23T13:00:21.000000Z",
        "expires_at": lines[1]["expires_at"],
        "next_call_at": None,
    }
    read = list(csv.DictReader(io.StringIO(aplus("list", "--csv").stdout)))
    for row, line in zip(read, lines, strict=True):
        assert row == {name: "" if value is None else str(value) for name, value in line.items()}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], "321"),
        (["--oldest-first"], "123"),
        (["--state", "succeeded"], "1"),
        (["--state", "pending", "--state", "succeeded"], "31"),
        (["--state", "succeeded", "--state", "pending", "--oldest-first"], "13"),
        (["--order", "A-2"], "2"),
        (["--since", "2026-11-23T13:00:01Z"], "32"),
        (["--since", "2026-11-23T14:00:01+01:00", "--until", "2026-11-23 14:00"], "2"),
        (["--until", "2026-11-23T13:00:01"], "1"),
        (["--since", "90m"], "32"),
        (["--until", "90m", "--since", "1d"], "1"),
        (["--account", "CLIENT-1", "--limit", "1"], "3"),
    ],
)
def test_each_filter_finds_what_it_says(aplus, three, words, found):
    done = aplus("list", "--json", *words)
    listed = [json.loads(line)["order_ref"] for line in done.stdout.splitlines()]
    assert listed == [f"A-{number}" for number in found]


def test_a_time_without_a_zone_is_in_utc_wherever_the_machine_stands(monkeypatch):
    from aplus_adapters.cli.listing import moment

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert moment("2026-11-23T12:00") == NOON
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "words",
    [
        ["--account", "OTHER"],
        ["--wallet", "GCASH"],
        ["--order", "A-9"],
        ["--attention"],
        ["--overdue", "0s"],
        ["--since", "2026-11-24"],
        ["--state", "closing"],
    ],
)
def test_a_filter_that_nothing_meets_says_so_beside_an_empty_list(aplus, three, words):
    done = aplus("list", "--json", *words)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "no payment meets these conditions\n"


def test_overdue_finds_open_payments_that_nobody_has_asked_about(aplus, three):
    aplus.clock.moment = three[2].next_call_at + timedelta(minutes=5)
    assert orders(aplus("list", "--json", "--overdue", "5m")) == ["A-3"]
    assert aplus("list", "--json", "--overdue", "6m").stdout == ""
    done = aplus("list", "--overdue", "5m", "--state", "failed")
    assert done.exit_code == 2
    assert "found --overdue with --state failed, expected a state that is open" in done.stderr


def test_a_cut_list_prints_the_key_with_which_it_goes_on(aplus, three):
    first = aplus("list", "--json", "--limit", "2")
    assert len(first.stdout.splitlines()) == 2
    key = first.stderr.partition("--after ")[2].partition(",")[0]
    assert first.stderr == f"there are more: add --after {key}, or --limit 0 for all\n"
    assert orders(aplus("list", "--json", "--limit", "2", "--after", key)) == ["A-1"]
    both = ("--state", "pending", "--state", "succeeded")
    cut = aplus("list", "--json", "--limit", "1", *both)
    key = cut.stderr.partition("--after ")[2].partition(",")[0]
    assert orders(aplus("list", "--json", "--after", key, *both)) == ["A-1"]


def test_a_long_list_is_read_page_by_page_and_cut_for_people_alone(aplus, monkeypatch):
    from aplus_adapters.cli import listing

    for number in range(7):
        aplus.start(f"A-{number}")
    asked, find_page = [], aplus.pay.store.find_page

    def counted(wanted, limit):
        asked.append(limit)
        return find_page(wanted, limit)

    monkeypatch.setattr(aplus.pay.store, "find_page", counted)
    monkeypatch.setattr(listing, "_PAGE", 2)
    monkeypatch.setattr(listing, "_SCREEN", 5)
    assert len(rows(aplus("list", "--json"))) == 7
    assert asked == [2, 2, 2, 2]
    done = aplus("list")
    assert len(done.stdout.splitlines()) == 1 + 5
    assert "there are more" in done.stderr
    assert len(aplus("list", "--limit", "0").stdout.splitlines()) == 1 + 7


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--state", "paid"], "'paid' is not one of 'created', 'pending', 'closing', 'succeeded'"),
        (["--since", "yesterday"], "found 'yesterday', expected a time such as 2026-11-23"),
        (["--since", "2026-13-01"], "found '2026-13-01', expected a time"),
        (["--since", "2026-W48-1"], "found '2026-W48-1', expected a time"),
        (["--since", "9" * 30 + "d"], "expected a time"),
        (["--since", "9999999d"], "or an age such as 24h or 7d"),
        (["--overdue", "soon"], "found 'soon', expected a duration"),
        (["--after", "page2"], "found 'page2', expected the `after` of a page"),
        (["--limit", "-1"], "-1 is not in the range"),
        (["--json", "--csv"], "expected one of them"),
        (["--sort"], "No such option"),
    ],
)
def test_what_no_filter_can_mean_is_a_usage_error(aplus, words, found):
    done = aplus("list", *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert found in " ".join(done.stderr.split())


def test_what_could_steer_a_terminal_is_not_printed_for_people(aplus):
    aplus.pay.store.add(an_attempt(1, "A-1\x1b[2J"))  # such as one of an older version
    assert "A-1?[2J" in aplus("list").stdout
    assert "order    A-1?[2J" in aplus("show", "A-1\x1b[2J").stdout


def test_show_prints_every_attempt_of_an_order_the_oldest_first(aplus):
    failed = aplus.settle(aplus.start("A-1"), CLOSED)
    paid = aplus.paid("A-1")
    of_order = aplus("show", "A-1")
    alone = [aplus("show", attempt.payment_request_id) for attempt in (failed, paid)]
    assert [done.exit_code for done in (of_order, *alone)] == [0, 0, 0]
    assert of_order.stdout == "\n".join(done.stdout for done in alone)
    assert "failed" in alone[0].stdout
    first, second = rows(aplus("show", "A-1", "--json"))
    assert [first["state"], second["state"]] == ["failed", "succeeded"]
    assert [event["source"] for event in second["events"]] == ["shop", "pay", "inquiry"]
    assert second["events"][2]["at"] == "2026-11-23T12:00:42.000000Z"
    assert second["refunds"] == []


def test_show_says_what_it_does_not_find(aplus):
    done = aplus("show", "A-9")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "A-9: found no such payment or order in the store" in done.stderr


def test_the_examples_of_printing_are_true():
    from aplus_adapters.cli import printing

    failed, tried = doctest.testmod(printing)
    assert (failed, tried) == (0, 3)
