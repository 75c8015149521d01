"""The FastAPI shop's description: it is valid, complete, and nothing that it allows is a 500."""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import validate

from support.served import fastapi_application, make_pay

LONG = bool(os.environ.get("APLUS_LONG"))


@pytest.fixture(scope="module")
def app(simulated_account, tmp_path_factory):
    from aplus_adapters import Retry, Timing

    pay = make_pay(
        tmp_path_factory.mktemp("openapi") / "shop.db",
        simulated_account,
        timing=Timing(pay=Retry(pauses=(), deadline=1)),
    )
    return fastapi_application(pay)


def test_the_description_is_valid_and_has_every_route(app):
    described = app.openapi()
    validate(described)
    operations = {
        (method.upper(), path): operation
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
    }
    assert set(operations) == {
        ("POST", "/aplus/pay"),
        ("POST", "/aplus/notify"),
        ("GET", "/aplus/payments/{payment_request_id}"),
        ("GET", "/aplus/payments/{payment_request_id}/status"),
        ("GET", "/aplus/payments/{payment_request_id}/events"),
        ("POST", "/aplus/payments/{payment_request_id}/new"),
        ("GET", "/aplus/assets/page.css"),
        ("GET", "/aplus/payments/{payment_request_id}/code.svg"),
        ("GET", "/aplus/assets/page.js"),
        ("GET", "/aplus/assets/button.css"),
    }
    assert all(operation["summary"] for operation in operations.values())
    assert operations["POST", "/aplus/notify"]["requestBody"]["required"]
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)


def try_cases(operation):
    """Try one operation; give the number of cases."""
    count = 0

    @settings(
        max_examples=200 if LONG else 30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=operation.as_strategy())
    def run(case):
        nonlocal count
        count += 1
        response = case.call()
        assert response.status_code < 500, response.text

    run()
    return count


def test_nothing_that_is_described_is_answered_by_a_500(app):
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations = [found.ok() for found in schema.get_all_operations()]
    cases = {operation.label: try_cases(operation) for operation in operations}
    print(f"{sum(cases.values())} cases, no 500: {cases}")
    assert len(cases) == 10
    assert sum(cases.values()) >= (1000 if LONG else 120)
