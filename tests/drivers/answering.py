"""A vendor's client over `requests`, talking to one of our fakes instead of a network."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from io import BytesIO

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPResponse

from credstore.testing.scripted import ScriptedAnswer, SentRequest


class ToFake(BaseAdapter):
    """Sends every request to a fake.

    Args:
        answer: Of the fake.
        headers: Sent with each request.
    """

    def __init__(self, answer: Callable[[SentRequest], ScriptedAnswer | Exception], **headers: str) -> None:
        super().__init__()
        self._answer, self._headers = answer, headers

    def send(self, request, **_):
        body = request.body
        if hasattr(body, "read"):
            body = body.read()
        headers = {
            name.lower(): value if isinstance(value, str) else value.decode()
            for name, value in request.headers.items()
        }
        sent = SentRequest(
            request.method,
            request.url,
            headers | self._headers,
            body.encode() if isinstance(body, str) else body or b"",
        )
        answer = self._answer(sent)
        if not isinstance(answer, ScriptedAnswer):
            raise requests.exceptions.ConnectionError("broken")
        found = requests.Response()
        found.status_code, found.url, found.request = answer.status, request.url, request
        found.reason = HTTPStatus(answer.status).phrase if answer.status != 499 else "Cancelled"
        found.headers = CaseInsensitiveDict(answer.headers)
        found.raw = HTTPResponse(
            body=BytesIO(answer.body),
            headers=dict(answer.headers),
            status=answer.status,
            request_method=request.method,
            preload_content=False,
            decode_content=False,
        )
        return found

    def close(self) -> None:
        """Hold nothing."""


def session_to(
    answer: Callable[[SentRequest], ScriptedAnswer | Exception], **headers: str
) -> requests.Session:
    """A session whose requests all go to a fake."""
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, ToFake(answer, **headers))
    return session
