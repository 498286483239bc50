"""`credstore.verify`, which loads what it needs when it is called: `import credstore` stays light."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from credstore.model import Storable

if TYPE_CHECKING:
    from credstore.proofs.c2pa.verifying import Fetch
    from credstore.proofs.store.proof_store import ProofStore
    from credstore.verification.evidence import AssetVerdict
    from credstore.verification.policy import VerificationPolicy


async def verify(
    asset: Storable,
    *,
    policy: VerificationPolicy | None = None,
    store: ProofStore | None = None,
    media_type: str | None = None,
    fetch: Fetch | None = None,
    now: datetime | None = None,
) -> AssetVerdict:
    """One verdict from everything that a file carries and everything that is kept with it.

    Args:
        asset: A path to a file or folder; or bytes, a binary file or an (async) iterable of bytes, next to
            which there is nothing.
        policy: Whom to trust; by default the public lists that were saved and the snapshot in
            `encypher-c2pa`.
        store: Where credstore's proofs are looked for by the file's digest, and if there are none, proofs of
            pictures that look like this one (extra `perceptual`), which never make it "verified"; not closed.
            Its own trust store counts, not the policy's.
        media_type: What the file is said to be; by default what its name says.
        fetch: Fetches a manifest from the address that the file names; None fetches nothing.
        now: The verifier's clock, with a time zone.

    Returns:
        The verdict; `require()` raises unless it is "verified".

    Raises:
        StorageInvalidRequestError: The asset cannot be read, or changed while it was read.
        StorageConfigurationError: A saved list cannot be read.
        StorageError: The store cannot be read.
        Exception: What `fetch` or the asset's own stream raised.
    """
    from credstore.verification.checking import check

    return await check(asset, policy=policy, store=store, media_type=media_type, fetch=fetch, now=now)
