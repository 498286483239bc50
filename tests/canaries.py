"""Watches the whole suite for secrets: each one in a test begins with "canary".

Every log record of every logger from DEBUG on and every `StorageError` that is made are looked at when
their test ends, as text and in the forms a secret can hide in.
"""

import base64
import logging
import traceback
from urllib.parse import quote

from credstore.errors import StorageError

CANARY = "canary"


def hiding_places(secret: str = CANARY) -> list[str]:
    """How a secret may appear: as it is, percent-encoded, in hex, in base64 at any offset; lower case."""
    raw = secret.encode()
    forms = {secret, quote(secret, safe=""), "".join(f"%{byte:02x}" for byte in raw), raw.hex()}
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + raw).decode()
        # Without the characters that depend on what comes before and after.
        forms.add(encoded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6])
    return [form.lower() for form in forms]


_FORMS = hiding_places()


def leaks(text: str) -> list[str]:
    """The forms of a canary that are in a text."""
    lower = text.lower()
    return [form for form in _FORMS if form in lower]


class Watch(logging.Handler):
    """Collects what one test logs and raises."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []
        self.errors: list[StorageError] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.name}: {record.getMessage()} {record.__dict__}"
        if record.exc_info and record.exc_info[0]:
            text += "".join(traceback.format_exception(*record.exc_info))
        self.texts.append(text)

    def check(self) -> None:
        """Fail if any of it tells a secret."""
        for error in self.errors:
            notes = getattr(error, "__notes__", [])
            self.texts.append(f"{error!s} {error!r} {error.facts()} {notes}")
        for text in self.texts:
            assert not leaks(text), f"a secret is in: {text[:500]}"


watch: Watch | None = None
_made = StorageError.__init__


def _noted(self: StorageError, *arguments: object, **facts: object) -> None:
    _made(self, *arguments, **facts)  # type: ignore[arg-type]
    if watch is not None:
        watch.errors.append(self)


StorageError.__init__ = _noted  # type: ignore[method-assign]
