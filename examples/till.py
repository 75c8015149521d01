"""A till that takes a payment in any of these shops by JSON alone, and shows it in a terminal.

python till.py http://127.0.0.1:8000 ORDER_REF
"""

import sys
import time

import httpx
import segno

OVER = {
    "paid": "Thank you, it is paid.",
    "failed": "It was not paid.",
    "expired": "The code has expired.",
    "cancelled": "It was cancelled.",
}


def main(shop, order_ref):
    with httpx.Client(base_url=shop, headers={"Accept": "application/json"}) as client:
        answer = client.post("/aplus/pay", json={"order_ref": order_ref})
        if answer.is_error:  # problem+json: "title" says what is wrong
            sys.exit(f"cannot pay {order_ref}: {answer.json()['title']}")
        payment = answer.json()
        amount = payment["amount"]
        print(f"{payment['description']}: {amount['value']} minor units {amount['currency']}")
        shown = None
        while payment["state"] not in OVER:
            if payment["code"] and payment["code"] != shown:
                shown = payment["code"]
                segno.make_qr(shown, error="q").terminal(compact=True)
                print(shown, flush=True)
            time.sleep(1)
            status = client.get(f"/aplus/payments/{payment['paymentRequestId']}/status")
            payment = status.json() if status.is_success else payment  # 503: ask again
        print(payment["message"] or OVER[payment["state"]])
        return 0 if payment["state"] == "paid" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
