"""google-cloud-storage talking to the fake: its requests go to the same place as our driver's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPResponse

from credstore.testing.scripted import ScriptedAnswer, SentRequest
from tests.drivers.gcs.fake import FakeGcs


class _ToFake(BaseAdapter):
    def __init__(self, fake: FakeGcs) -> None:
        super().__init__()
        self._fake = fake

    def send(self, request, **_):
        body = request.body
        if hasattr(body, "read"):
            body = body.read()
        headers = {
            name.lower(): value if isinstance(value, str) else value.decode()
            for name, value in request.headers.items()
        }
        headers["authorization"] = f"Bearer {self._fake.token}"
        sent = SentRequest(
            request.method, request.url, headers, body.encode() if isinstance(body, str) else body or b""
        )
        answer = self._fake.answer(sent)
        if not isinstance(answer, ScriptedAnswer):
            raise requests.exceptions.ConnectionError("broken")
        found = requests.Response()
        found.status_code, found.url, found.request = answer.status, request.url, request
        found.reason = HTTPStatus(answer.status).phrase if answer.status != 499 else "Cancelled"
        found.headers = CaseInsensitiveDict(answer.headers)
        raw = HTTPResponse(
            body=_reader(answer.body), headers=dict(answer.headers), status=answer.status, preload_content=False,
            decode_content=False,
        )  # fmt: skip
        found.raw = raw
        return found

    def close(self) -> None:
        """Hold nothing."""


def _reader(data: bytes):
    from io import BytesIO

    return BytesIO(data)


@contextmanager
def vendor(fake: FakeGcs) -> Iterator[storage.Bucket]:
    """The bucket of the fake, by the vendor's own client."""
    session = requests.Session()
    session.mount("https://", _ToFake(fake))
    session.mount("http://", _ToFake(fake))
    # A session that authorizes is usual here; this one needs only the member that the client looks at.
    session.is_mtls = False
    client = storage.Client(project="acme", credentials=AnonymousCredentials(), _http=session)
    try:
        yield client.bucket("proofs")
    finally:
        client.close()
