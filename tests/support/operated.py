"""A shop whose payments are looked after by commands, in each of their three forms."""

import contextlib
import io
import sys
from datetime import timedelta
from types import ModuleType, SimpleNamespace

import httpx
from attrs import frozen
from click.testing import CliRunner

from aplus_adapters import AplusPay, NotSent, Outcome, OutcomeUnknown, Visitor
from aplus_adapters.cli.commands import flow_runner
from aplus_adapters.cli.main import main
from aplus_adapters.payments.effects import get
from aplus_adapters.payments.flows.follow_up import follow_up
from aplus_adapters.payments.flows.initiate import initiate
from aplus_adapters.payments.flows.record import record_observation
from aplus_adapters.testing.store_values import an_observation
from support.gateway import PAID, Gateway, inquired

SHOP = "operated_shop"
FORMS = ("aplus", "flask", "django")


@frozen
class Printed:
    exit_code: int
    stdout: str
    stderr: str


class _Death(BaseException):
    """The end of a process, which nothing catches."""


class Operated:
    """The shop, its gateway and its clock; each method works with blocking and awaiting hooks."""

    def __init__(self, account, key, clock, store, hooks, monkeypatch):
        self.clock, self.hooks, self.gateway = clock, hooks, Gateway(account, key, clock)
        transport = httpx.MockTransport(self._answer)
        self.pay = AplusPay(
            account=account, store=store, hooks=hooks, clock=clock,
            client=httpx.Client(transport=transport),
            async_client=httpx.AsyncClient(transport=transport),
        )  # fmt: skip
        module = ModuleType(SHOP)
        module.pay = self.pay
        monkeypatch.setitem(sys.modules, SHOP, module)
        monkeypatch.delenv("APLUS_SHOP", raising=False)
        self._monkeypatch = monkeypatch

    def _answer(self, request):
        try:
            sent = SimpleNamespace(path=request.url.path, body=request.content)
            answer = self.gateway.send(sent, 0)
        except NotSent:
            raise httpx.ConnectError("down", request=request) from None
        except OutcomeUnknown:
            raise httpx.ReadTimeout("lost", request=request) from None
        return httpx.Response(200, headers=answer.headers, content=answer.body)

    def run(self, flow):
        with flow_runner(self.pay) as run_flow:
            return run_flow(flow)

    def start(self, order_ref="A-1", price=None):
        """Begin to pay an order; a second later, so that payments have an order."""
        self.hooks.price = price or self.hooks.price
        self.clock.moment += timedelta(seconds=1)
        return self.run(initiate(self.pay.config, order_ref, Visitor()))

    def settle(self, attempt, result=PAID):
        """Let Alipay+ tell the result when it is asked next."""
        self.gateway.script["inquiryPayment"] = [inquired(attempt, result)]
        self.clock.moment = attempt.next_call_at
        settled = self.run(follow_up(self.pay.config, self.find(attempt)))
        self.gateway.sent.clear()
        return settled

    def paid(self, order_ref="A-1", price=None):
        return self.settle(self.start(order_ref, price))

    def find(self, attempt):
        return self.run(get(attempt.payment_request_id))

    def observe(self, attempt, observation):
        """Store an observation and report its conflict."""
        self.run(record_observation(attempt.payment_request_id, observation))

    def notify_paid(self, attempt):
        """Let Alipay+ say that a payment was paid."""
        said = {"client_id": "CLIENT-1", "amount": attempt.amount, "at": self.clock.now()}
        self.observe(attempt, an_observation(Outcome.SUCCEEDED, **said))

    def dying_after(self, effects, *words):
        """Run a command that dies after so many effects; return what it prints, None if it died."""
        left, run = [effects], AplusPay.run

        def mortal(flow):
            answer = None
            while True:
                try:
                    effect = flow.send(answer)
                except StopIteration as end:
                    return end.value
                if left[0] == 0:
                    raise _Death
                left[0] -= 1
                answer = yield effect

        with self._monkeypatch.context() as patch:
            patch.setattr(AplusPay, "run", lambda pay, flow: run(pay, mortal(flow)))
            try:
                return self(*words)
            except _Death:
                return None

    def person(self):
        """Let somebody sit at a terminal from now on."""
        self._monkeypatch.setattr("aplus_adapters.cli.asking._has_terminal", lambda: True)

    def __call__(self, *words, form="aplus", **options):
        """Run a command as a person does, and return what it prints."""
        if form == "django":
            return self._django(words)
        if form == "flask":
            from flask import Flask

            from aplus_adapters.flask import create_blueprint

            app = Flask("corner")
            app.register_blueprint(create_blueprint(self.pay))
            done = app.test_cli_runner().invoke(args=["aplus", *words], **options)
        else:
            done = CliRunner().invoke(main, [*words, "--shop", f"{SHOP}:pay"], **options)
        if not isinstance(done.exception, SystemExit | None):
            raise done.exception
        return Printed(done.exit_code, done.stdout, done.stderr)

    def _django(self, words):
        from support.served import django_settings

        django_settings()
        import django
        from django.core.management import load_command_class
        from django.test.utils import override_settings

        django.setup()
        out, err = io.StringIO(), io.StringIO()
        code = 0
        with (
            override_settings(APLUS_SHOP=f"{SHOP}:pay"),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            command = load_command_class("aplus_adapters.django", "aplus")
            try:
                command.run_from_argv(["manage.py", "aplus", *words])
            except SystemExit as end:
                code = end.code
        return Printed(code, out.getvalue(), err.getvalue())
