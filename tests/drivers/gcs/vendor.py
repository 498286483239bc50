"""google-cloud-storage talking to the fake: its requests go to the same place as our driver's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.drivers.answering import session_to
from tests.drivers.gcs.fake import FakeGcs


@contextmanager
def vendor(fake: FakeGcs) -> Iterator[storage.Bucket]:
    """The bucket of the fake, by the vendor's own client."""
    session = session_to(fake.answer, authorization=f"Bearer {fake.token}")
    # A session that authorizes is usual here; this one needs only the member that the client looks at.
    session.is_mtls = False
    client = storage.Client(project="acme", credentials=AnonymousCredentials(), _http=session)
    try:
        yield client.bucket("proofs")
    finally:
        client.close()
