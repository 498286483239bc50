"""Timestamps over HTTP (RFC 3161 section 3.4), and the verbs of a proof store for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

from credstore.arguments import typed, typed_class
from credstore.errors import StorageError, StorageInvalidRequestError, StorageUnavailableError
from credstore.proofs.format.errors import ProofTimestampError
from credstore.proofs.store.evidence import Timestamper, TimestampReport
from credstore.proofs.store.layout import checked_id, shown_id
from credstore.provider.call import Call, Lifetime

if TYPE_CHECKING:
    from credstore.proofs.store.reading import ProofReader

TIMEOUT = 30.0
RENEW_WITHIN = timedelta(days=365)
_OK, _SERVER_ERROR = 200, 500


@typed_class
class TimestampClient:
    """Asks one timestamping authority; close it, or use it with `async with`.

    Attributes:
        name: Its address, without a query.
    """

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        """Open nothing yet.

        Args:
            url: Where the authority takes requests, of `https` or, as many do, `http`: a response proves
                itself, and the request has no more in it than a digest.
            timeout: Seconds for one request, more than 0.

        Raises:
            StorageConfigurationError: Not a URL.
        """
        from credstore.proofs.log.http import LogHttp, check_url

        check_url(url)
        self._url = url
        self.name = url.partition("?")[0]  # What follows may be a secret of the subscriber.
        self._http = LogHttp(timeout=timeout)

    async def stamp(self, message: bytes) -> bytes:
        """A timestamp over a message, of which the authority gets only the SHA-256.

        Raises:
            ProofTimestampError: The response is not a timestamp over this, or not for this request.
            StorageUnavailableError: The authority has failed.
            StorageError: It cannot be reached, or refuses.

        Cost: 1 request.
        """
        from credstore.proofs.format.timestamp import (
            LARGEST_RESPONSE,
            make_timestamp_request,
            parse_token,
        )

        request, nonce = make_timestamp_request(message)
        answer = await self._http.send(
            "POST", self._url, request, LARGEST_RESPONSE, "application/timestamp-query"
        )
        if answer.status != _OK:
            kind = StorageUnavailableError if answer.status >= _SERVER_ERROR else StorageError
            raise kind(
                "the timestamping authority did not return a timestamp",
                key=self.name,
                status_code=answer.status,
            )
        token = parse_token(answer.body)
        if token.nonce != nonce or not token.is_over(message):
            raise ProofTimestampError("the timestamp is not the one that was asked for")
        return answer.body

    async def aclose(self) -> None:
        """Release everything; safe to call again."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<TimestampClient {self.name}>"


class TimestampVerbs:
    """The verbs of a `ProofStore` about trusted time."""

    _lifetime: Lifetime
    _reader: ProofReader

    @typed
    async def timestamp(
        self, proof_id: str, authorities: Timestamper | Sequence[Timestamper]
    ) -> TimestampReport:
        """Have a proof's signatures stamped, so that they count after their keys do not.

        Args:
            proof_id: UUID in lower case.
            authorities: Who is asked, such as `TimestampClient`s: several, so that one may fail or be
                compromised later.

        Returns:
            What each attested; the timestamps are stored with the proof, and used by every read that needs
            them.

        Raises:
            ProofTimestampError: None of them returned a timestamp of a pinned authority.
            StorageConfigurationError: The store was opened without `timestamps`, or no one is asked.
            ProofError: As `get`, except for revoked and expired proofs.
            StorageError: The store or every authority failed; a repeat is harmless.

        Cost: as `get`, then 1 request to each authority and 1 to the store for each signature, and a listing
            with 1 request for each timestamp.
        Source: RFC 3161; provenance §2.5b.
        """
        with Call(self._lifetime, "proof.timestamp", shown_id(proof_id), mutation=True) as call:
            proof = (await self._reader.find(checked_id(proof_id))).proof
            report = await self._reader.evidence.stamp(proof_id, proof.envelope, _clients(authorities))
            call.attributes.update(stamped=len(report.times), failed=len(report.failed))
            return report

    @typed
    async def renew_timestamps(
        self,
        proof_id: str,
        authorities: Timestamper | Sequence[Timestamper],
        *,
        within: timedelta = RENEW_WITHIN,
    ) -> TimestampReport:
        """Have the timestamps of a proof stamped again, before the certificates of their authorities end.

        Args:
            proof_id: UUID in lower case.
            authorities: Who is asked.
            within: Nothing is asked where a timestamp lasts longer than this.

        Returns:
            What each attested; without times where nothing had to be renewed.

        Raises:
            ProofTimestampError: There is no timestamp that counts, or as `timestamp`.
            StorageError: As `timestamp`.

        Cost: as `timestamp`, with 1 request to each authority.
        Source: RFC 4998; provenance §2.5b.
        """
        with Call(self._lifetime, "proof.renew_timestamps", shown_id(proof_id), mutation=True) as call:
            if not isinstance(cast("object", within), timedelta) or within < timedelta(0):
                raise StorageInvalidRequestError("within is a timedelta of 0 or more")
            proof = (await self._reader.find(checked_id(proof_id))).proof
            clients = _clients(authorities)
            report = await self._reader.evidence.renew(proof_id, proof.envelope, clients, within)
            call.attributes.update(stamped=len(report.times), failed=len(report.failed))
            return report


def _clients(given: Timestamper | Sequence[Timestamper]) -> tuple[Timestamper, ...]:
    return tuple(given) if isinstance(given, Sequence) else (given,)
