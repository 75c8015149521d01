"""The core's speed as ratios against hand-written code that does the same, in one run.

    python tests/benchmarks/core.py [FILE.json]

Both sides of each pair run in turn, many times; the figure is the median of the ratios. Exit code 1
if a ratio misses its bound.
"""

import base64
import json
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

import aplus_adapters as aplus
from aplus_adapters import messages
from aplus_adapters.protocol import signing

OURS, THEIRS = aplus.PrivateKey.generate(), aplus.PrivateKey.generate()
ACCOUNT = aplus.Account(
    client_id="CLIENT-1",
    private_key=OURS,
    alipayplus_keys=THEIRS.public_key,
    gateway="https://gateway.example",
    notify_url="https://shop.example/aplus/notify",
)
BODY = b'{"paymentResult":{"resultCode":"SUCCESS","resultStatus":"S"},"pad":"' + b"x" * 1130 + b'"}'
TIME = "2026-11-23T12:00:00Z"
RING = aplus.KeyRing.of({"1": THEIRS.public_key})
PADDING, HASH = padding.PKCS1v15(), hashes.SHA256()
CONTENT = signing.signed_content("/aplus/notify", "CLIENT-1", TIME, BODY)
RAW = THEIRS.sign(CONTENT)
HEADER = signing.sign(THEIRS, "1", CONTENT)
PRIVATE, PUBLIC = OURS._key, THEIRS._key.public_key()  # the bare keys inside
ROUNDS = 60


def verify_ours():
    signing.verify(RING, HEADER, signing.signed_content("/aplus/notify", "CLIENT-1", TIME, BODY))


def verify_bare():
    PUBLIC.verify(RAW, CONTENT, PADDING, HASH)


def sign_ours():
    content = signing.signed_content("/aplus/notify", "CLIENT-1", TIME, BODY)
    return signing.sign(OURS, "1", content)


def sign_bare():
    return base64.b64encode(PRIVATE.sign(CONTENT, PADDING, HASH))


def full_request():
    """Build a pay request with nearly every field that there is."""
    amount = aplus.Amount("JPY", 4200)
    address = messages.Address(
        region="JP",
        state="13",
        city="Tokyo",
        address1="1-1",
        address2="Chiyoda",
        zip_code="100-0001",
    )
    person = messages.UserName(first_name="Ada", last_name="Lovelace", full_name="Ada Lovelace")
    return messages.PayRequest(
        order=messages.Order(
            reference_order_id="A-1001",
            order_description="2 tickets",
            order_amount=amount,
            merchant=aplus.Merchant(
                reference_merchant_id="M-77",
                merchant_name="Harbour Cinema",
                merchant_mcc="7832",
                merchant_address=address,
                store=messages.Store(
                    reference_store_id="S-1",
                    store_name="Box Office",
                    store_mcc="7832",
                    store_address=address,
                ),
            ),
            goods=(
                aplus.Goods(
                    reference_goods_id="G-1",
                    goods_name="Ticket",
                    goods_unit_amount=amount,
                    goods_quantity=2,
                ),
            ),
            shipping=aplus.Shipping(shipping_name=person, shipping_address=address),
            buyer=aplus.Buyer(
                reference_buyer_id="B-1", buyer_name=person, buyer_email="a@example.org"
            ),
            env=messages.Env(
                terminal_type="WEB", user_agent="Mozilla/5.0", client_ip="203.0.113.9"
            ),
        ),
        payment_request_id="pay-01J9Z6",
        payment_amount=amount,
        payment_notify_url="https://shop.example/aplus/notify",
        payment_redirect_url="https://shop.example/aplus/return/pay-01J9Z6",
    )


SENT = full_request().encode()
SENT_CONTENT = signing.signed_content("/aps/api/v1/payments/pay", "CLIENT-1", TIME, SENT)


def request_ours():
    content = signing.signed_content(
        "/aps/api/v1/payments/pay", "CLIENT-1", TIME, full_request().encode()
    )
    return signing.sign(OURS, "1", content)


def request_bare():
    PRIVATE.sign(SENT_CONTENT, PADDING, HASH)


def fresh(statement):
    def run():
        subprocess.run([sys.executable, "-c", statement], check=True)

    return run


# name, ours, bare, calls per round, the most that ours may take of bare
PAIRS = [
    ("verify: at least 0.80 of bare", verify_ours, verify_bare, 200, 1 / 0.80),
    ("sign: at least 0.90 of bare", sign_ours, sign_bare, 20, 1 / 0.90),
    ("build + encode + sign: at most 1.15", request_ours, request_bare, 20, 1.15),
    (
        "import: at most 1.3 of attrs and cryptography",
        fresh("import aplus_adapters"),
        fresh("import attrs, cryptography"),
        1,
        1.3,
    ),
    (
        "import with the core in use: for information",
        fresh(
            "from aplus_adapters import Account, verify_notification\n"
            "from aplus_adapters.messages import PayRequest"
        ),
        fresh("import attrs; from cryptography.hazmat.primitives.asymmetric import padding, rsa; "
              "from cryptography.hazmat.primitives import hashes, serialization"),
        1,
        None,
    ),
]  # fmt: skip


def timed(function, calls):
    started = time.perf_counter()
    for _ in range(calls):
        function()
    return time.perf_counter() - started


def compare(ours, bare, calls):
    rounds = ROUNDS if calls > 1 else 15
    timed(ours, calls), timed(bare, calls)
    ratios = []
    for number in range(rounds):
        order = (ours, bare) if number % 2 else (bare, ours)  # neither side is always first
        spent = {function: timed(function, calls) for function in order}
        ratios.append(spent[ours] / spent[bare])
    return statistics.median(ratios)


def main():
    results, missed = [], False
    for name, ours, bare, calls, most in PAIRS:
        ratio = compare(ours, bare, calls)
        verdict = "" if most is None else ("ok" if ratio <= most else "MISSED")
        missed = missed or verdict == "MISSED"
        results.append({"name": name, "time ratio": ratio, "bound": most, "verdict": verdict})
        bound = "" if most is None else f"(bound {most:.3f}) {verdict}"
        print(f"{name:<48} takes {ratio:.3f} of the time {bound}", flush=True)
    if len(sys.argv) > 1:
        report = {"at": datetime.now(UTC).isoformat(), "python": sys.version, "results": results}
        with open(sys.argv[1], "w") as file:  # noqa: PTH123
            json.dump(report, file, indent=1)
    sys.exit(missed)


if __name__ == "__main__":
    main()
