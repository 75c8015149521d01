"""A till that takes a payment in any of these shops by JSON alone, and shows it in a terminal.

python till.py http://127.0.0.1:8000 ORDER_REF
"""

import sys
import time
from datetime import datetime

import httpx
import segno

OPEN = ("waiting", "retrying", "checking")
PAUSE = 2.0  # seconds between two questions
OVER = {
    "paid": "Thank you, it is paid.",
    "failed": "It was not paid.",
    "expired": "The code has expired.",
    "cancelled": "It was cancelled.",
    "returned": "It was cancelled. Who has paid gets the money back.",
    "refunded": "The money went back.",
    "conflict": "Please ask the shop, and do not pay again.",
}


def main(shop, order_ref):
    with httpx.Client(base_url=shop, headers={"Accept": "application/json"}) as client:
        payment = started(order_ref, client.post("/aplus/pay", json={"order_ref": order_ref}))
        amount = payment["amount"]
        print(f"{payment['description']}: {amount['value']} minor units {amount['currency']}")
        while True:
            payment = until_it_is_over(client, payment)
            print(payment["message"] or OVER[payment["state"]])
            if payment["state"] in ("paid", "conflict") or not wants_another_code():
                return 0 if payment["state"] == "paid" else 1
            request_id = payment["paymentRequestId"]
            payment = started(order_ref, client.post(f"/aplus/payments/{request_id}/new"))


def started(order_ref, answer):
    """Return the payment; end if there is none."""
    if answer.is_error:  # problem+json: "title" says what is wrong
        sys.exit(f"cannot pay {order_ref}: {answer.json()['title']}")
    return answer.json()


def until_it_is_over(client, payment):
    """Show the code as long as it can be paid, and return the payment's end."""
    shown = None
    while payment["state"] in OPEN:
        if payment["code"] and payment["code"] != shown:
            shown = payment["code"]
            segno.make_qr(shown, error="q").terminal(compact=True)
            print(f"{shown}\nIt can be paid for {seconds_left(payment):.0f} seconds.", flush=True)
        time.sleep(PAUSE)
        status = client.get(f"/aplus/payments/{payment['paymentRequestId']}/status")
        payment = status.json() if status.is_success else payment  # 503: ask again
    return payment


def seconds_left(payment):
    """Return how long the code can be paid, by the shop's clock."""
    ends, now = (datetime.fromisoformat(payment[name]) for name in ("expiresAt", "serverTime"))
    return max(0.0, (ends - now).total_seconds())


def wants_another_code():
    return sys.stdin.isatty() and input("Another code? [y/N] ").strip().lower() == "y"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
