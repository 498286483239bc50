"""KeyCDN: the secure token of a zone, MD5 of path, key and expiry. Pure.

Source: providers.md §4.5; keycdn.com/support/secure-token, "Secure Token for Access Control".
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Literal

from credstore.arguments import typed_class
from credstore.encryption import Secret
from credstore.errors import StorageUnsupportedError
from credstore.links.address import parse_address
from credstore.links.settings import check_choice, reveal
from credstore.links.signer import READING, Source, check_times
from credstore.model import Method

PathForm = Literal["encoded", "decoded"]

_RESERVED = frozenset({"token", "expire"})


@typed_class
@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCdnSigner:
    """Links of a KeyCDN zone with "Secure Token"; the edge sends 403 for wrong and 410 for expired ones.

    Attributes:
        secret: The zone's secure token key.
        path_form: How the edge sees a path that has to be percent-encoded. KeyCDN does not say, so a link to
            such an object is refused until you have tried one and set this.
    """

    name: str = field(default="KeyCDN", init=False, repr=False)
    source: Source = field(default="public", init=False, repr=False)
    methods: frozenset[Method] = field(default=READING, init=False, repr=False)
    max_expires_in: float | None = field(default=None, init=False, repr=False)
    secret: Secret
    path_form: PathForm | None = None

    def __post_init__(self) -> None:
        reveal(self.name, "secret", self.secret)
        if self.path_form is not None:
            check_choice(self.name, "path_form", self.path_form, PathForm)

    def sign(self, url: str, *, now: int, expires_at: int) -> str:
        """See `LinkSigner.sign`."""
        address = parse_address(url, cdn=self.name, reserved=_RESERVED)
        check_times(self.name, now=now, expires_at=expires_at)
        if "%" in address.path and self.path_form is None:
            raise StorageUnsupportedError(
                "KeyCDN does not say whether it signs percent-encoded or decoded paths; try one link of each "
                "and set `path_form`, or name objects with letters, digits and -._~ only"
            )
        path = address.decoded_path() if self.path_form == "decoded" else address.path.encode()
        text = path + f"{self.secret.reveal()}{expires_at}".encode()
        digest = (
            base64.urlsafe_b64encode(hashlib.md5(text, usedforsecurity=False).digest()).decode().rstrip("=")
        )
        return address.with_query(f"token={digest}&expire={expires_at}")
