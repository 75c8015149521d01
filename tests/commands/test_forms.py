"""`aplus`, `flask aplus` and `manage.py aplus` are one code: they print and answer the same."""

import contextlib
import json
import logging
import re
import threading

import pytest

from aplus_adapters import Outcome
from aplus_adapters.testing.store_values import an_observation
from support.gateway import CLOSED, PAID, done, inquired
from support.operated import FORMS, SHOP


def fill(aplus):
    """Return a failed payment that was paid all the same, a paid one, and an open one."""
    failed = aplus.settle(aplus.start("A-1"), CLOSED)
    said = an_observation(Outcome.SUCCEEDED, client_id="CLIENT-1", amount=failed.amount)
    aplus.observe(failed, said)
    paid, opened = aplus.paid("A-2"), aplus.start("A-3")
    aplus.gateway.script |= {"refund": [done()], "inquiryPayment": [inquired(opened, PAID)]}
    return failed, paid


def walk(aplus, form="aplus"):
    """Use every command, and return all that was printed and every exit code."""
    failed, paid = fill(aplus)

    def say(*words):  # fmt: skip
        printed = aplus(*words, form=form)
        assert "Traceback" not in printed.stderr
        return printed.exit_code, printed.stdout, printed.stderr.rpartition("Error: ")[2]

    key = json.loads(say("conflicts", "--json")[1])["key"]
    return [
        say("list"),
        say("list", "--json", "--state", "succeeded"),
        say("list", "--csv", "--order", "A-1"),
        say("list", "--since", "yesterday"),
        say("conflicts"),
        say("conflicts", "resolve", key, "--note", "looked at it", "--by", "Mei"),
        say("conflicts"),
        say("refund", paid.payment_request_id),
        say("refund", paid.payment_request_id, "--amount", "10", "--yes"),
        say("refund", paid.payment_request_id, "--amount", "10", "--yes"),
        say("refund", "nothing", "--yes"),
        say("close", "A-3", "--yes"),
        say("close", "A-9", "--yes"),
        say("reconcile"),
        say("health", "--json"),
        say("show", failed.payment_request_id),
        say("show", "A-2", "--json"),
    ]


CODES = [0, 0, 0, 2, 1, 0, 0, 2, 0, 0, 2, 1, 2, 0, 0, 0, 0]


def test_the_three_forms_print_the_same(new_shop):
    pytest.importorskip("django")
    walked, *others = [walk(new_shop(), form) for form in FORMS]
    assert [code for code, _, _ in walked] == CODES
    assert others == [walked] * 2


@pytest.mark.parametrize("kind", ["async", "async-sqlite"])
def test_hooks_and_stores_that_await_print_the_same(new_shop, kind):
    assert walk(new_shop(kind)) == walk(new_shop())


def test_django_takes_the_shop_as_option_and_says_when_there_is_none(aplus, monkeypatch):
    pytest.importorskip("django")
    from django.test.utils import override_settings

    from support.served import django_settings

    django_settings()
    aplus.start("A-1")
    listed = aplus("list", "--shop", f"{SHOP}:pay", "--settings=ours", form="django")
    assert listed.exit_code == 0
    assert "A-1" in listed.stdout
    with override_settings():
        monkeypatch.setattr("support.operated.SHOP", "no_such_shop")
        wrong = aplus("list", form="django")
    assert wrong.exit_code == 2
    assert "shop 'no_such_shop:pay': cannot be loaded" in wrong.stderr


def test_djangos_call_command_returns_the_text_or_raises_its_own_error(aplus):
    pytest.importorskip("django")
    import io

    import django
    from django.core.management import CommandError, call_command
    from django.test.utils import override_settings

    from support.served import django_settings

    django_settings()
    django.setup()
    aplus.start("A-1")
    with override_settings(APLUS_SHOP=f"{SHOP}:pay"):
        out = io.StringIO()
        call_command("aplus", "list", "--json", stdout=out)
        assert json.loads(out.getvalue())["order_ref"] == "A-1"
        with pytest.raises(CommandError, match="found no terminal") as caught:
            call_command("aplus", "close", "A-1")
        assert caught.value.returncode == 2
        with pytest.raises(CommandError, match="exit code 1") as caught:
            call_command("aplus", "health", stdout=out)
        assert caught.value.returncode == 1
    with (
        override_settings(),
        pytest.raises(CommandError, match="found no --shop and no APLUS_SHOP"),
    ):
        call_command("aplus", "list")


def test_the_help_of_every_command_has_examples(aplus):
    for words in (["list"], ["show"], ["refund"], ["close"], ["health"], ["conflicts"],
                  ["conflicts", "resolve"], ["reconcile"]):  # fmt: skip
        shown = aplus(*words, "--help")
        assert shown.exit_code == 0
        assert f"Examples:\n    aplus {' '.join(words)}" in shown.stdout


def test_every_round_of_reconcile_is_one_line_of_the_log(aplus, caplog, monkeypatch):
    from aplus_adapters.cli import reconcile

    paid = aplus.start("A-1")
    aplus.gateway.script["inquiryPayment"] = [inquired(paid, PAID)]
    aplus.clock.moment = paid.next_call_at
    pauses = []

    class TwoRounds(threading.Event):
        def wait(self, timeout=None):
            pauses.append(timeout)
            if len(pauses) == 2:
                self.set()
            return self.is_set()

    monkeypatch.setattr(reconcile, "_stop_event", lambda: contextlib.nullcontext(TwoRounds()))
    with caplog.at_level(logging.INFO, "aplus_adapters"):
        ended = aplus("reconcile", "--every", "10s")
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "", "")
    rounds = [line for line in caplog.records if "reconcile: round" in line.message]
    rest = "0 refunds became final, 0 conflicts reported, 0 failed, 0 taken by others"
    assert [(line.levelname, line.message) for line in rounds] == [
        ("INFO", f"reconcile: round done: {number} asked about, {number} became final, {rest}")
        for number in (1, 0)
    ]
    assert 9 < pauses[0] <= 10


def test_a_shop_that_sets_up_no_logging_sees_the_rounds_on_standard_error(monkeypatch, capsys):
    from aplus_adapters.cli import reconcile

    quiet = logging.Logger("quiet")  # noqa: LOG001  # of no tree
    monkeypatch.setattr(reconcile, "log", quiet)
    with reconcile._visible_log():
        quiet.info("round done")
    quiet.info("unseen")
    assert re.fullmatch(r"[-\d]+ [:,\d]+ INFO round done\n", capsys.readouterr().err)


def test_long_rounds_say_how_far_they_are(aplus, monkeypatch):
    from aplus_adapters.cli import reconcile

    monkeypatch.setattr(reconcile, "PROGRESS_INTERVAL", 0)
    first, second = aplus.start("A-1"), aplus.start("A-2")
    aplus.gateway.script["inquiryPayment"] = [inquired(first, PAID)]
    aplus.clock.moment = second.next_call_at
    said = aplus("reconcile").stdout.splitlines()
    assert [line.split(":")[1] for line in said] == [" so far", " so far", " round done"]


def test_a_round_with_a_failure_is_an_error_and_exits_with_1(aplus, caplog):
    paid = aplus.start("A-1")
    aplus.gateway.script["inquiryPayment"] = [inquired(paid, PAID)]
    aplus.clock.moment = paid.next_call_at
    aplus.hooks.fail = RuntimeError("the shop's own bug")
    failed = aplus("reconcile")
    assert failed.exit_code == 1
    assert "1 failed" in failed.stderr


def test_a_store_that_fails_ends_no_worker_but_the_round(aplus, monkeypatch, caplog):
    from aplus_adapters import StoreError

    def fail(*_arguments):
        raise StoreError("found no database")

    monkeypatch.setattr(aplus.pay.store, "due", fail)
    failed = aplus("reconcile")
    assert failed.exit_code == 1
    assert failed.stderr == "reconcile: worker 1: found no database\n"
    assert failed.stdout.startswith("reconcile: round ended early: 0 asked about")


def test_reconcile_runs_in_a_thread_that_gets_no_signals(aplus):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(aplus("reconcile").exit_code))
    thread.start()
    thread.join()
    assert codes == [0]


def test_a_stop_ends_the_round_between_two_payments(aplus, monkeypatch):
    import contextlib
    import os
    import signal

    from aplus_adapters.cli import reconcile

    for number in range(5):
        last = aplus.start(f"A-{number}")
    aplus.clock.moment = last.next_call_at
    answered, stops = [], []
    stop_event = reconcile._stop_event

    @contextlib.contextmanager
    def noted():
        with stop_event() as stop:
            stops.append(stop)
            yield stop

    def answer(request, timeout):
        answered.append(request.path)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stops[0].wait(30)  # the main thread takes signals when it gets its turn
        attempt = json.loads(request.body)["paymentRequestId"]
        found = aplus.pay.store.get(attempt)
        return aplus.gateway.answer(request, inquired(found, PAID))

    monkeypatch.setattr(reconcile, "_stop_event", noted)
    monkeypatch.setattr(aplus.gateway, "send", answer)
    stopped = aplus("reconcile")
    assert stopped.exit_code == 1
    assert len(answered) == 1
    assert "round ended early: 1 asked about, 1 became final" in stopped.stdout
    assert len(aplus("list", "--json", "--state", "succeeded").stdout.splitlines()) == 1
