"""Writes docs/errors.md from the catalogue of codes: `python docs/make_errors.py`."""

from __future__ import annotations

from pathlib import Path

from credstore import errors
from credstore.errors import ErrorCode, StorageError
from credstore.proofs.format import errors as proof_errors

HEAD = """# Errors

Every failure is a `StorageError`, and says in its fields what happened (`message`, `code`), where
(`provider`, `operation`, `key`, `bucket`), what the provider responded (`status_code`, `provider_code`,
`request_id`), whether the same call may succeed later (`retryable`, `retry_after`), and whether its effect
happened (`applied`: "yes", "no" or "maybe").

`code` is an `ErrorCode`, a string that is the same on all clouds. Catch classes, compare codes. Three classes
are also those that Python's own files raise: `StorageObjectNotFoundError` is a `FileNotFoundError`,
`StorageAccessDeniedError` a `PermissionError`, `StorageAlreadyExistsError` a `FileExistsError`; a wrong
argument or setting is a `ValueError`.

This page is made by `python docs/make_errors.py` from `credstore/error_codes.py`.

"""


def class_of(code: ErrorCode) -> type[StorageError]:
    """The class that carries a code."""
    found = getattr(errors, code.raised_as, None) or getattr(proof_errors, code.raised_as)
    assert issubclass(found, StorageError)
    return found


def page() -> str:
    """The whole page."""
    text = HEAD + "| code | what happened |\n|---|---|\n"
    for name in dict.fromkeys(code.raised_as for code in ErrorCode):
        rows = [code for code in ErrorCode if code.raised_as == name]
        kind = class_of(rows[0])
        bases = ", ".join(base.__name__ for base in kind.__bases__)
        again = "; retry may help, unless the error says otherwise" if kind.default_retryable else ""
        text += f"| **`{name}`** | a {bases}{again} |\n"
        for code in rows:
            text += f"| `{code}` | {code.meaning} |\n"
    return text


if __name__ == "__main__":
    Path(__file__).with_name("errors.md").write_text(page())
