"""A service that issues proofs for images: `uvicorn fastapi_proofs:app`.

    POST /proofs                      the image as body; with `Idempotency-Key` a repeat gets the same proof
                                      (409 where it says something else of the same image)
    GET  /proofs/{id}                 what the proof says, once it has verified
    GET  /images/{sha256}/proofs      all valid proofs of an image, newest first
    GET  /proofs/{id}/record          redirects to a temporary link to the signed record

Settings: those of a store (`CREDSTORE_URL` and its like), `PROOFS_SIGNER` (file of the private key, PEM) and
`PROOFS_TRUST` (file of the trust store). An image is hashed as it comes and never held.
"""

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from credstore import Container, StorageError, StorageInvalidRequestError
from credstore.proofs import (
    LocalSigner,
    Proof,
    ProofConflictError,
    ProofErasedError,
    ProofExpiredError,
    ProofNotFoundError,
    ProofRevokedError,
    ProofStore,
    parse_trust_store,
)

LARGEST = 64 * 1024 * 1024
YEAR = 365 * 86400
STATUS = {
    ProofNotFoundError: 404,
    ProofConflictError: 409,
    ProofErasedError: 410,
    ProofExpiredError: 410,
    ProofRevokedError: 410,
}


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with Container() as container, proofs_on(container) as proofs:
        app.state.proofs = proofs
        yield


def proofs_on(container: Container) -> ProofStore:
    signer = LocalSigner.from_pem(Path(os.environ["PROOFS_SIGNER"]).read_bytes())
    trust = parse_trust_store(Path(os.environ["PROOFS_TRUST"]).read_bytes())
    return ProofStore(container.storage_provider(), trust=trust, signer=signer, close_provider=False)


app = FastAPI(lifespan=lifespan)


def proof_store(request: Request) -> ProofStore:
    return request.app.state.proofs


Proofs = Annotated[ProofStore, Depends(proof_store)]


@app.exception_handler(StorageError)
async def explain(_: Request, error: StorageError) -> JSONResponse:
    """Codes of what concerns the caller; of the rest (keys, endpoints, causes) nothing but that it failed."""
    status = STATUS.get(type(error))
    if status is None and type(error) is StorageInvalidRequestError and error.code == error.default_code:
        status = 400
    if status is None:
        return JSONResponse({"error": "STORE_FAILED"}, 502)
    return JSONResponse({"error": error.code}, status)


@app.post("/proofs", status_code=201)
async def issue(
    request: Request,
    response: Response,
    proofs: Proofs,
    content_type: Annotated[str, Header()] = "",
    idempotency_key: Annotated[str | None, Header()] = None,
):
    if not content_type.startswith("image/"):
        raise HTTPException(415, "send the bytes of an image, with its Content-Type")
    proof = await proofs.issue(
        limited(request.stream()),
        media_type=content_type,
        expires_in=YEAR,
        idempotency_key=idempotency_key,
    )
    response.headers["Location"] = f"/proofs/{proof.proof_id}"
    return shown(proof)


@app.get("/proofs/{proof_id}")
async def get(proof_id: str, proofs: Proofs):
    return shown(await proofs.get(proof_id))


@app.get("/images/{sha256}/proofs")
async def find(sha256: str, proofs: Proofs):
    return [shown(proof) for proof in await proofs.find_by_hash(sha256)]


@app.get("/proofs/{proof_id}/record")
async def open_record(proof_id: str, proofs: Proofs):
    link = await proofs.link(proof_id, expires_in=300)
    return RedirectResponse(link, 307, {"Cache-Control": "no-store"})


async def limited(chunks):
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > LARGEST:
            raise HTTPException(413, f"an image has at most {LARGEST} bytes")
        yield chunk


def shown(proof: Proof) -> dict[str, object]:
    record = proof.record
    return {
        "id": proof.proof_id,
        "sha256": record.asset.sha256.hex(),
        "size": record.asset.size,
        "media_type": record.media_type,
        "issuer": record.issuer,
        "issued_at": record.issued_at,
        "expires_at": record.expires_at,
    }
