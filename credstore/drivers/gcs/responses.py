"""What a response of Google says: its errors as `StorageError`, its JSON as values. Pure.

Rules of this file: no text of a response reaches a message, since it may repeat what was sent; a missing
header or field is None or a typed error, never a KeyError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from credstore.driver.meaning import Meaning
from credstore.drivers.gcs.errors import BAD_TOKEN, EXPIRED, PRIVATE, meaning_of
from credstore.drivers.gcs.resources import Resource, number, text, unreadable
from credstore.errors import Applied, ErrorCode, StorageConfigurationError, StorageError

REQUEST_ID = "x-guploader-uploadid"
INCOMPLETE = 308
"""Status of a resumable upload that has not ended."""
CANCELLED = 499
"""Status of a resumable upload that was cancelled."""
_decoded = json.JSONDecoder().raw_decode
_NO_JSON = (ValueError, RecursionError)
"""What is not JSON, or nested deeper than anything of Google's, raises."""
_BOM = b"\xef\xbb\xbf"
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_REASON = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NO_CONTENT = 204
_JSON_ERROR = re.compile(rb'\s*\{\s*"error"\s*:\s*[{"]')
_XML_CODE = re.compile(rb"<Error>\s*<Code>([A-Za-z0-9_]{1,64})</Code>")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")
_RANGE = re.compile(r"bytes=0-(\d{1,19})")


@dataclass(frozen=True, slots=True)
class ListReply:
    """One page: objects and prefixes as the service lists them, and the token of the next page or None."""

    items: tuple[Resource, ...]
    prefixes: tuple[str, ...]
    token: str | None


@dataclass(frozen=True, slots=True)
class RewriteReply:
    """How far a copy is: bytes so far; then the token to continue with, or what it became."""

    rewritten: int
    token: str | None
    resource: Resource | None


def reason_of(body: bytes) -> tuple[str | None, str]:
    """Google's reason and text, as far as there are any.

    The XML API has a code of one word instead, and an upload may be refused in plain text.
    """
    body = body.removeprefix(_BOM)
    try:
        said = json.loads(body) if body.lstrip()[:1] == b"{" else None
    except _NO_JSON:
        said = None
    code = _XML_CODE.search(body[:4096]) if said is None else None
    if code is not None:
        return code[1].decode("ascii"), code[1].decode("ascii")
    error = cast("dict[str, Any]", said).get("error") if isinstance(said, dict) else None
    if not isinstance(error, dict):
        return None, body[:200].decode("utf-8", "replace") if body[:1] not in {b"<", b"{"} else ""
    told = cast("dict[str, Any]", error)
    first: Any = told["errors"][0] if isinstance(told.get("errors"), list) and told["errors"] else {}
    reason = text(cast("dict[str, Any]", first).get("reason")) if isinstance(first, dict) else None
    known = reason if reason is not None and _REASON.fullmatch(reason) else None
    return known, text(told.get("message")) or ""


def is_of_google(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a failure that arrived through a proxy is Google's own."""
    return REQUEST_ID in headers or reason_of(body)[0] is not None


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    emulated: bool = False,
    anonymous: bool = False,
) -> StorageError | None:
    """The error that a response means, or None for success; the caller sets `applied`.

    Args:
        status: HTTP status.
        headers: With lower-case names.
        body: What arrived of it.
        emulated: Whether it is an emulator's: those refuse without saying why, as Google never does.
        anonymous: Whether the request had no token.
    """
    if 200 <= status < 300 or (status == INCOMPLETE and "location" not in headers):  # noqa: PLR2004 - HTTP's class of success
        return None
    reason, said = reason_of(body)
    foreign = REQUEST_ID not in headers and not _is_error(reason, body) and status not in {408, 429}
    said_by_emulator = emulated and status >= 400 and not _is_page(headers)  # noqa: PLR2004 - HTTP's class of errors
    if foreign and status < 500 and not said_by_emulator:  # noqa: PLR2004 - of the server's own failures
        return not_google(status)
    meaning = without_token(meaning_of(status, reason, said), anonymous=anonymous)
    return build_error(meaning, reason, headers, status)


def without_token(meaning: Meaning, *, anonymous: bool) -> Meaning:
    """What an error means to a request that had no token, so that none has expired."""
    return PRIVATE if anonymous and meaning in {EXPIRED, BAD_TOKEN} else meaning


def _is_error(reason: str | None, body: bytes) -> bool:
    """Whether a body is an error as Google writes them; some of those who speak its API give no reason."""
    return reason is not None or _JSON_ERROR.match(body[:4096].removeprefix(_BOM)) is not None


def check_deleted(status: int, headers: Mapping[str, str], body: bytes, *, emulated: bool) -> None:
    """Refuse a success of a deletion that Google cannot have given, such as a login page with status 200.

    Nothing but its status says that something was deleted, as no body comes with it.

    Args:
        status: HTTP status.
        headers: With lower-case names.
        body: All of it.
        emulated: Whether it is an emulator's, which may send 200.

    Raises:
        StorageConfigurationError: It is not Google's; `applied` is "maybe".
    """
    if REQUEST_ID not in headers and (body or not (status == _NO_CONTENT or emulated)):
        raise not_google(status, "maybe")


def _is_page(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").lower().startswith("text/html")


def build_error(
    meaning: Meaning, reason: str | None, headers: Mapping[str, str], status: int | None
) -> StorageError:
    """The error for one row of the table and the facts of one response."""
    return meaning.built(reason, status, request_id_of(headers))


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """The id by which Google's support finds a request."""
    found = headers.get(REQUEST_ID, "")
    return found if _REQUEST_ID.fullmatch(found) else None


def not_google(status: int | None, applied: Applied = "no") -> StorageConfigurationError:
    """The error of a response that Google cannot have sent."""
    return StorageConfigurationError(
        "something other than Google Cloud Storage responded; check `endpoint`, and whether a proxy or login "
        "page is in between",
        code=ErrorCode.NOT_S3,
        status_code=status,
        applied=applied,
    )


def parse_json(body: bytes) -> dict[str, Any]:
    """The object that a successful response is.

    Raises:
        StorageConfigurationError: It is not one, so Google did not send it.
    """
    said: object
    try:
        text = body.decode()
        said, end = _decoded(text)
        if end != len(text):
            said = json.loads(text)
    except _NO_JSON:
        said = _otherwise(body)
    if not isinstance(said, dict):
        raise not_google(None)
    return cast("dict[str, Any]", said)


def _otherwise(body: bytes) -> object:
    """A document that does not begin at once, or in another of JSON's encodings; None where it is invalid."""
    try:
        return json.loads(body)
    except _NO_JSON:
        return None


def parse_resource(body: bytes) -> Resource:
    """The object that a successful change of one leaves.

    Raises:
        StorageConfigurationError: It is not one, so Google did not send it.
    """
    return _object(parse_json(body))


def _object(said: Resource) -> Resource:
    if not isinstance(said.get("name"), str) or number(said.get("size")) is None:
        raise not_google(None)
    return said


def parse_list(body: bytes) -> ListReply:
    """One page of a listing.

    Raises:
        StorageIntegrityError: It is not one.
    """
    said = parse_json(body)
    items, prefixes = said.get("items", []), said.get("prefixes", [])
    if not isinstance(items, list) or not isinstance(prefixes, list):
        raise unreadable("a listing")
    entries = [cast("Resource", each) for each in cast("list[object]", items) if isinstance(each, dict)]
    names = [each for each in cast("list[object]", prefixes) if isinstance(each, str)]
    return ListReply(tuple(entries), tuple(names), text(said.get("nextPageToken")))


def parse_rewrite(body: bytes) -> RewriteReply:
    """How far a copy is.

    Raises:
        StorageIntegrityError: It does not say.
    """
    said = parse_json(body)
    rewritten, token = number(said.get("totalBytesRewritten")), text(said.get("rewriteToken"))
    resource = said.get("resource")
    if said.get("done") is True and isinstance(resource, dict):
        return RewriteReply(rewritten or 0, None, _object(cast("Resource", resource)))
    if token is None or rewritten is None:
        raise unreadable("the state of a copy")
    return RewriteReply(rewritten, token, None)


def received(headers: Mapping[str, str]) -> int | None:
    """Bytes of a resumable upload that have arrived for good; None if the response does not say."""
    told = headers.get("range")
    if told is None:
        return 0
    found = _RANGE.fullmatch(told.strip())
    return None if found is None else int(found[1]) + 1


def session_of(headers: Mapping[str, str]) -> str:
    """Path and query of a resumable upload that was started; the host is always our own.

    Raises:
        StorageIntegrityError: The response does not say where it is.
    """
    parts = urlsplit(headers.get("location", ""))
    if not parts.path.startswith("/") or "upload_id=" not in parts.query:
        raise unreadable("the beginning of an upload")
    return f"{parts.path}?{parts.query}"


def parse_content_range(told: str | None) -> tuple[int, int, int] | None:
    """First byte, one past the last, and total size in a 206; None if it does not say."""
    found = _CONTENT_RANGE.fullmatch(told or "")
    if found is None:
        return None
    first, last, total = (int(each) for each in found.groups())
    return (first, last + 1, total) if first <= last < total else None
