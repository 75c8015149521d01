"""The OpenAPI entries of the routes, for adapters that publish an API description."""

from __future__ import annotations

from typing import Any

from aplus_adapters.protocol.results import Reason
from aplus_adapters.web.view import PageState

__all__ = ["OPERATIONS"]

_ID = {
    "name": "payment_request_id",
    "in": "path",
    "required": True,
    "description": "The id from the response that started the payment",
    "schema": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9]+$"},
}
_AMOUNT = {
    "type": "object",
    "required": ["currency", "value"],
    "properties": {
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$", "example": "JPY"},
        "value": {
            "type": "string",
            "pattern": "^[0-9]{1,18}$",
            "description": "Minor units of the currency, as digits",
            "example": "4200",
        },
    },
}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_STATUS: dict[str, Any] = {
    "type": "object",
    "required": ["paymentRequestId", "orderRef", "state", "amount", "expiresAt", "serverTime"],
    "properties": {
        "paymentRequestId": {"type": "string"},
        "orderRef": {"type": "string"},
        "state": {"type": "string", "enum": [str(state.value) for state in PageState]},
        "amount": _AMOUNT,
        "description": {"type": "string"},
        "code": {**_TEXT_OR_NULL, "description": "Text of the QR code; null when none is shown"},
        "codeImages": {"type": "object", "additionalProperties": {"type": "string"}},
        "expiresAt": {"type": "string", "format": "date-time"},
        "serverTime": {"type": "string", "format": "date-time"},
        "reason": {
            **_TEXT_OR_NULL,
            "enum": [*(reason.value for reason in Reason), None],
            "description": "Why the payment failed, for programs",
        },
        "message": {
            **_TEXT_OR_NULL,
            "description": "The reason as a sentence in a language of Accept-Language",
        },
        "paidAt": _TEXT_OR_NULL,
        "paymentId": {**_TEXT_OR_NULL, "description": "Alipay+'s number, once it is paid"},
        "wallet": {**_TEXT_OR_NULL, "description": "The wallet's name, for people to read"},
        "refunded": {"anyOf": [_AMOUNT, {"type": "null"}], "description": "What went back"},
        "brand": {"type": "string", "description": "Words to show on the receipt"},
    },
}
_STARTED: dict[str, Any] = {
    **_STATUS,
    "properties": {
        **_STATUS["properties"],
        "page": {"type": "string", "description": "The payment's page, relative to this address"},
        "status": {"type": "string", "description": "Its status as JSON, relative to this address"},
    },
}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
    },
}


def _json(description: str, schema: dict[str, Any], *media_types: str) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    content |= {media_type: {"schema": {"type": "string"}} for media_type in media_types}
    return {"description": description, "content": content}


def _problem(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {
            "application/problem+json": {"schema": _PROBLEM},
            "text/plain": {"schema": {"type": "string"}},
            "text/html": {"schema": {"type": "string"}},
        },
    }


def _file(media_type: str) -> dict[str, Any]:
    content = {media_type: {"schema": {"type": "string"}}}
    return {
        "summary": "A file of the order-code page",
        "responses": {200: {"description": "The file", "content": content}},
    }


_NOT_FOUND = _problem("There is no such payment, or this visitor may not see it")
_LOG_IN = _problem("The visitor has to log in first, at the address in `logIn`")
_AGAIN = _problem("The payment store cannot be reached at the moment; try again")
_CHANGED = _problem("The order was paid with another amount than it has now")
_TOO_OFTEN = _problem("The order was tried too often within an hour; wait for Retry-After")
_BROKEN = _problem("The shop has to correct an error, which its log names")
_PAGE = {
    "description": "A redirect to the payment's page",
    "headers": {"Location": {"schema": {"type": "string"}}},
}

OPERATIONS: dict[str, dict[str, Any]] = {
    "pay": {
        "summary": "Start a payment of an order, or return the one that is open",
        "requestBody": {
            "required": True,
            "content": {
                media_type: {
                    "schema": {
                        "type": "object",
                        "required": ["order_ref"],
                        "properties": {
                            "order_ref": {"type": "string", "minLength": 1, "maxLength": 64}
                        },
                    }
                }
                for media_type in ("application/json", "application/x-www-form-urlencoded")
            },
        },
        "responses": {
            200: _json("The payment, for clients that ask for JSON", _STARTED),
            303: _PAGE,
            400: _problem("The body cannot be read"),
            401: _LOG_IN,
            403: _problem("This visitor may not pay the order"),
            404: _problem("There is no such order to pay"),
            409: _CHANGED,
            413: _problem("The body is too large"),
            415: _problem("The body is neither a form nor JSON"),
            429: _TOO_OFTEN,
            500: _BROKEN,
            503: _AGAIN,
        },
    },
    "notify": {
        "summary": "notifyPayment: Alipay+ sends the final result",
        "description": (
            "For Alipay+ only. The Signature header signs the raw bytes. The answer is S only "
            "after the result is durable."
        ),
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
            for name in ("Client-Id", "Request-Time", "Signature")
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        "responses": {
            200: _json("The signed acknowledgement", {"type": "object"}),
            400: _problem("The notification is not legal"),
            401: _problem("Alipay+ did not sign it for an account of this shop"),
            404: _json("Authentic, but for no payment of this shop", {"type": "object"}),
            413: _problem("The body is too large"),
            415: _problem("The body is not JSON"),
            503: _json("Authentic, but not durable yet: send it again", {"type": "object"}),
        },
    },
    "payment": {
        "summary": "The order-code page, or the payment as JSON",
        "parameters": [_ID],
        "responses": {
            200: _json("The payment", _STATUS, "text/html"),
            401: _LOG_IN,
            404: _NOT_FOUND,
            500: _BROKEN,
            503: _AGAIN,
        },
    },
    "status": {
        "summary": "The state of a payment, after an inquiry to Alipay+ if one is due",
        "parameters": [_ID],
        "responses": {
            200: _json("The payment", _STATUS),
            401: _LOG_IN,
            404: _NOT_FOUND,
            500: _BROKEN,
            503: _AGAIN,
        },
    },
    "events": {
        "summary": "The changes of a payment's state as events, if the shop has them",
        "parameters": [_ID],
        "responses": {
            200: {
                "description": "Server-Sent Events, each with the payment's status as JSON",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            401: _LOG_IN,
            404: _NOT_FOUND,
            500: _BROKEN,
            503: _AGAIN,
        },
    },
    "code": {
        "summary": "The code as a picture to save, while it may be scanned",
        "parameters": [_ID],
        "responses": {
            200: {
                "description": "The picture",
                "content": {"image/svg+xml": {"schema": {"type": "string"}}},
            },
            401: _LOG_IN,
            404: _NOT_FOUND,
            500: _BROKEN,
            503: _AGAIN,
        },
    },
    "new_code": {
        "summary": "Another code for the order, after the old attempt is closed",
        "parameters": [_ID],
        "responses": {
            200: _json("The payment, for clients that ask for JSON", _STARTED),
            303: _PAGE,
            401: _LOG_IN,
            404: _NOT_FOUND,
            409: _CHANGED,
            429: _TOO_OFTEN,
            500: _BROKEN,
            503: _AGAIN,
        },
    },
    "style": _file("text/css"),
    "script": _file("text/javascript"),
    "button_style": _file("text/css"),
}
"""Route name to OpenAPI operation; its responses are keyed by status."""
