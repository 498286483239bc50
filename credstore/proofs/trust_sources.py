"""Trust stores from the web: signed by a root key that is pinned here, never trusted at first sight.

An organisation publishes its trust store at a well-known address; whoever fetches it has got its root key in
another way. What the server says, whatever its certificate, counts for nothing without that key.
"""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

from credstore.arguments import typed
from credstore.errors import StorageConfigurationError, StorageNotFoundError
from credstore.proofs.format.dsse import LARGEST_ENVELOPE
from credstore.proofs.format.errors import ProofConflictError
from credstore.proofs.format.signing import PublicKey
from credstore.proofs.format.trust import TrustedKey, TrustStore
from credstore.proofs.format.trust_publication import open_trust_store
from credstore.proofs.log.http import LogHttp, check_url

WELL_KNOWN = "/.well-known/credstore-trust.json"
"""Where an organisation publishes its trust store (RFC 8615); not registered."""
TIMEOUT = 30.0
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


@typed
def pinned_root(public_key: PublicKey) -> TrustStore:
    """A trust store with nothing but a root key, to start from: `fetch_trust_store` replaces it.

    Args:
        public_key: Known from somewhere other than the address it will be fetched from.
    """
    return TrustStore(0, (TrustedKey(public_key, frozenset(), frozenset({"root"}), _FIRST),))


@typed
async def fetch_trust_store(
    url: str,
    pinned: TrustStore,
    *,
    now: datetime | None = None,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - of one request
) -> TrustStore:
    """The newest published trust store, if a pinned root key has signed it.

    Keep what this returns, and pin it next time: an older one is refused then.

    Args:
        url: An https address; without a path, `/.well-known/credstore-trust.json` is added. Plain http only
            to this machine.
        pinned: The newest trust store that was kept, with a `root` key; or `pinned_root`.
        now: The verifier's clock; the system's unless given.
        timeout: Seconds for the request.

    Returns:
        The published one; `pinned` itself where that is published.

    Raises:
        StorageConfigurationError: Not an https address, or no root key is pinned.
        StorageNotFoundError: There is none at the address.
        ProofUntrustedKeyError: No pinned root key that is valid now has signed it.
        ProofConflictError: It is older than `pinned`, or says something else under the same version.
        ProofError: It is not a trust store, or does not verify.
        StorageError: The server cannot be reached, or responds otherwise.

    Cost: 1 request.
    """
    address = _checked(url)
    if not any("root" in each.usages for each in pinned.keys):
        raise StorageConfigurationError("a trust store is fetched only if its root key is pinned before")
    async with LogHttp(timeout=timeout) as http:
        data = await http.get(address, LARGEST_ENVELOPE)
    if data is None:
        raise StorageNotFoundError("there is no trust store at this address", key=address)
    trust = open_trust_store(data, pinned, now=datetime.now(UTC) if now is None else now)
    if trust == pinned:
        return pinned
    if trust.version <= pinned.version:
        raise ProofConflictError(
            f"the published trust store is version {trust.version}, but version {pinned.version} is already "
            "known, and is another one",
            key=address,
        )
    return trust


def _checked(url: str) -> str:
    check_url(url)
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_this_machine(parts.hostname or ""):
        raise StorageConfigurationError("a trust store is fetched over https; plain http is for this machine")
    return url if parts.path not in {"", "/"} else f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}"


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
