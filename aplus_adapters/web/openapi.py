"""The OpenAPI entries of the routes, for adapters that publish a description."""

from __future__ import annotations

from typing import Any

from aplus_adapters.protocol.results import Reason
from aplus_adapters.web.view import PageState

__all__ = ["OPERATIONS"]

_ID = {
    "name": "payment_request_id",
    "in": "path",
    "required": True,
    "description": "The id that starting the payment gave",
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
        "code": {**_TEXT_OR_NULL, "description": "What the QR code says; null when none is shown"},
        "codeImages": {"type": "object", "additionalProperties": {"type": "string"}},
        "expiresAt": {"type": "string", "format": "date-time"},
        "serverTime": {"type": "string", "format": "date-time"},
        "reason": {
            **_TEXT_OR_NULL,
            "enum": [*(reason.value for reason in Reason), None],
            "description": "Why it failed, for programs",
        },
        "message": {
            **_TEXT_OR_NULL,
            "description": "Why it failed, for the buyer, in a language of Accept-Language",
        },
        "paidAt": _TEXT_OR_NULL,
    },
}
_STARTED: dict[str, Any] = {
    **_STATUS,
    "properties": {
        **_STATUS["properties"],
        "page": {"type": "string", "description": "The payment's page, relative to this address"},
        "status": {"type": "string", "description": "Where its state is, relative to this address"},
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


def _json(description: str, schema: dict[str, Any], *others: str) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    content |= {kind: {"schema": {"type": "string"}} for kind in others}
    return {"description": description, "content": content}


def _problem(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {
            "application/problem+json": {"schema": _PROBLEM},
            "text/plain": {"schema": {"type": "string"}},
        },
    }


def _file(kind: str) -> dict[str, Any]:
    content = {kind: {"schema": {"type": "string"}}}
    return {
        "summary": "Of the order-code page",
        "responses": {200: {"description": "The file", "content": content}},
    }


_NOT_FOUND = _problem("There is no such payment, or it is not this visitor's")
_AGAIN = _problem("The payments cannot be reached at the moment; try again")
_CHANGED = _problem("The order was paid with another amount than it has now")
_TOO_OFTEN = _problem("The order was tried too often within an hour; Retry-After says when again")
_BROKEN = _problem("The shop has to mend something; its log says what")
_PAGE = {
    "description": "To the payment's page",
    "headers": {"Location": {"schema": {"type": "string"}}},
}

OPERATIONS: dict[str, dict[str, Any]] = {
    "pay": {
        "summary": "Start paying an order, or give the payment that is open",
        "requestBody": {
            "required": True,
            "content": {
                kind: {
                    "schema": {
                        "type": "object",
                        "required": ["order_ref"],
                        "properties": {
                            "order_ref": {"type": "string", "minLength": 1, "maxLength": 64}
                        },
                    }
                }
                for kind in ("application/json", "application/x-www-form-urlencoded")
            },
        },
        "responses": {
            200: _json("The payment, for clients that ask for JSON", _STARTED),
            303: _PAGE,
            400: _problem("The body cannot be read"),
            403: _problem("The order is not this visitor's to pay"),
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
        "summary": "notifyPayment: Alipay+ tells the final result",
        "description": (
            "For Alipay+ only. The raw bytes are verified by the Signature header; an S is "
            "answered only after the news is durable."
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
            400: _problem("Not a legal notification"),
            401: _problem("Not signed by Alipay+ for an account of this shop"),
            404: _json("Authentic, and of no payment of this shop", {"type": "object"}),
            413: _problem("The body is too large"),
            415: _problem("The body is not JSON"),
            503: _json("Authentic, and not durable yet: to be sent again", {"type": "object"}),
        },
    },
    "payment": {
        "summary": "The order-code page, or the payment as JSON",
        "parameters": [_ID],
        "responses": {
            200: _json("The payment", _STATUS, "text/html"),
            404: _NOT_FOUND,
            500: _BROKEN,
            503: _AGAIN,
        },
    },
    "status": {
        "summary": "The state of a payment, asked of Alipay+ when it is time to",
        "parameters": [_ID],
        "responses": {
            200: _json("The payment", _STATUS),
            404: _NOT_FOUND,
            500: _BROKEN,
            503: _AGAIN,
        },
    },
    "events": {
        "summary": "The states of a payment as they come, where the shop has events",
        "parameters": [_ID],
        "responses": {
            200: {
                "description": "Server-Sent Events, each the payment as the state's address has it",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            404: _NOT_FOUND,
            500: _BROKEN,
            503: _AGAIN,
        },
    },
    "new_code": {
        "summary": "Another code for the order, once the old attempt is known to be closed",
        "parameters": [_ID],
        "responses": {
            200: _json("The payment, for clients that ask for JSON", _STARTED),
            303: _PAGE,
            404: _NOT_FOUND,
            409: _CHANGED,
            429: _TOO_OFTEN,
            500: _BROKEN,
            503: _AGAIN,
        },
    },
    "style": _file("text/css"),
    "script": _file("text/javascript"),
}
"""By route name: summary, parameters, requestBody and responses (by status)."""
