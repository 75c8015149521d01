"""Whatever must never be seen: looked for in every log line, traceback and server log of the run."""

import logging
import re
from base64 import b64encode

from cryptography.hazmat.primitives import serialization

AGENT_TOKEN = "agent-token-that-nobody-may-see"
BUYER = ("Quentin Verborgen", "quentin.verborgen@example.org", "+99 555 0199", "7 Hidden Lane")
# A whole signature, percent-encoded or not; `signature=AAAA` of a test is none.
SIGNATURE = re.compile(r"signature=[A-Za-z0-9%_+/-]{60,}")
PRIVATE = re.compile(r"BEGIN (RSA |ENCRYPTED )?PRIVATE KEY")


class Leaks(logging.Handler):
    """Reads every record, formatted with its traceback and its extra fields."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.secrets = {AGENT_TOKEN, *BUYER}
        self.found = []
        self.lines = 0

    def know(self, private_key):
        """Look for this key from now on, in any spelling that keeps its middle on one line."""
        der = private_key._key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        text = b64encode(der).decode()
        self.secrets |= {text[600:660], format(private_key._key.private_numbers().d, "x")[:60]}

    def emit(self, record):
        text = logging.Formatter().format(record) + repr(record.__dict__.get("args"))
        self.read(text + repr({k: v for k, v in record.__dict__.items() if isinstance(v, str)}))

    def read(self, text):
        self.lines += text.count("\n") + 1
        hits = [secret for secret in self.secrets if secret in text]
        hits += ["a signature"] * bool(SIGNATURE.search(text))
        hits += ["a private key"] * bool(PRIVATE.search(text))
        if hits:
            self.found.append((hits, text[:400]))


LEAKS = Leaks()
