"""The recipe of docs/recipes runs: a service over a local store, its links answered as credstore serves them."""

import asyncio
import hashlib
import importlib.util
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from fastapi.testclient import TestClient

from credstore import LocalConfig, LocalStorageProvider, StorageConnectionError, serve_links
from credstore.proofs import LocalSigner, ProofStore, TrustStore, encode_trust_store, trust_key, verify_proof

RECIPE = Path(__file__).parents[2] / "docs" / "recipes" / "fastapi_proofs.py"
IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(100_000)
SHA256 = hashlib.sha256(IMAGE).hexdigest()
PNG = {"content-type": "image/png"}
SIGNER = LocalSigner.generate()
TRUST = TrustStore(
    1,
    (
        trust_key(
            SIGNER.public_key,
            issuers=["https://issuer.example"],
            usages=["proof", "revoke"],
            valid_from=datetime.now(UTC) - timedelta(days=1),
        ),
    ),
)


class Service:
    """The recipe's app over a store of its own, and the edge that answers the store's links."""

    def __init__(self, place):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.config = LocalConfig(
            path=place / "store",
            link_url=f"http://127.0.0.1:{self.listener.getsockname()[1]}",
        )
        spec = importlib.util.spec_from_file_location("fastapi_proofs", RECIPE)
        self.recipe = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.recipe)

    def run(self, verb):
        """The result of `await verb(proofs)` in another process's stead: its own store on the same root."""

        async def use():
            provider = LocalStorageProvider(self.config)
            async with ProofStore(provider, trust=TRUST, signer=SIGNER) as proofs:
                return await verb(proofs)

        return asyncio.run(use())

    def follow(self, url):
        """Status, headers and body behind a temporary link."""

        async def use():
            async with (
                LocalStorageProvider(self.config) as provider,
                serve_links(provider, listener=self.listener),
                aiohttp.ClientSession() as session,
                session.get(url) as answer,
            ):
                return answer.status, answer.headers, await answer.read()

        return asyncio.run(use())


@pytest.fixture
def service(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("AWS_", "CREDSTORE_", "STORAGE_"))]:
        monkeypatch.delenv(name)
    found = Service(tmp_path)
    (tmp_path / "signer.pem").write_bytes(SIGNER.to_pem())
    (tmp_path / "keys.json").write_bytes(encode_trust_store(TRUST))
    monkeypatch.setenv("CREDSTORE_URL", f"file://{tmp_path}/store?link_url={found.config.link_url}")
    monkeypatch.setenv("PROOFS_SIGNER", str(tmp_path / "signer.pem"))
    monkeypatch.setenv("PROOFS_TRUST", str(tmp_path / "keys.json"))
    with found.listener:
        yield found


@pytest.fixture
def client(service):
    with TestClient(service.recipe.app, follow_redirects=False) as client:
        yield client
    assert service.recipe.app.state.proofs.closed
    assert service.recipe.app.state.proofs.provider.closed


def pieces():
    for start in range(0, len(IMAGE), 10_000):
        yield IMAGE[start : start + 10_000]


def test_an_image_gets_a_proof_that_id_hash_and_link_find(service, client):
    answer = client.post("/proofs", content=pieces(), headers=PNG)
    assert answer.status_code == 201
    told = answer.json()
    assert told["sha256"] == SHA256
    assert told["size"] == len(IMAGE)
    assert told["media_type"] == "image/png"
    assert client.get(answer.headers["location"]).json() == told
    assert client.get(f"/images/{SHA256}/proofs").json() == [told]

    redirect = client.get(f"/proofs/{told['id']}/record")
    assert redirect.status_code == 307
    assert redirect.headers["cache-control"] == "no-store"
    status, headers, record = service.follow(redirect.headers["location"])
    assert status == 200
    assert headers["content-type"] == "application/vnd.dsse.envelope.v1+json"
    proof = verify_proof(record, TRUST, now=datetime.now(UTC), proof_id=told["id"])
    assert proof.record.asset.sha256.hex() == SHA256


def test_a_repeat_with_one_key_gets_one_proof_and_another_statement_a_conflict(client):
    once = {**PNG, "Idempotency-Key": "order-1"}
    first = client.post("/proofs", content=IMAGE, headers=once)
    again = client.post("/proofs", content=IMAGE, headers=once)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    # The same image under another type that its bytes may have: not what was signed under this key.
    changed = client.post("/proofs", content=IMAGE, headers={**once, "content-type": "image/apng"})
    assert changed.status_code == 409
    assert changed.json() == {"error": "PROOF_CONFLICT"}
    assert client.get(f"/images/{SHA256}/proofs").json() == [first.json()]


def test_a_key_is_of_one_image(client):
    once = {**PNG, "Idempotency-Key": "order-1"}
    first = client.post("/proofs", content=IMAGE, headers=once).json()
    other = client.post("/proofs", content=IMAGE + b"another", headers=once).json()
    assert other["id"] != first["id"]
    assert other["sha256"] != SHA256
    assert client.get(f"/images/{SHA256}/proofs").json() == [first]
    assert client.get(f"/images/{other['sha256']}/proofs").json() == [other]


def test_a_type_that_the_bytes_contradict_is_refused(client):
    refused = client.post("/proofs", content=IMAGE, headers={"content-type": "image/webp"})
    assert refused.status_code == 400
    assert client.get(f"/images/{SHA256}/proofs").json() == []


def test_what_is_no_image_or_too_large_or_no_id_is_refused(service, client, monkeypatch):
    assert client.post("/proofs", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    monkeypatch.setattr(service.recipe, "LARGEST", 50_000)
    assert client.post("/proofs", content=pieces(), headers=PNG).status_code == 413
    for path in ("/proofs/nothing", "/images/nothing/proofs"):
        refused = client.get(path)
        assert refused.status_code == 400
        assert set(refused.json()) == {"error"}
    assert client.get(f"/images/{SHA256}/proofs").json() == []


def test_gone_and_absent_proofs_are_told_apart(service, client):
    absent = "01920000-0000-7000-8000-0000000000ff"
    for path in (f"/proofs/{absent}", f"/proofs/{absent}/record"):
        missing = client.get(path)
        assert missing.status_code == 404
        assert missing.json() == {"error": "PROOF_NOT_FOUND"}
    first, second, third = (
        client.post("/proofs", content=b"image %d" % number, headers=PNG).json()["id"] for number in range(3)
    )
    service.run(lambda proofs: proofs.revoke(first))
    service.run(lambda proofs: proofs.delete(second))
    for gone, code in ((first, "PROOF_REVOKED"), (second, "PROOF_ERASED")):
        for path in (f"/proofs/{gone}", f"/proofs/{gone}/record"):
            answer = client.get(path)
            assert answer.status_code == 410
            assert answer.json() == {"error": code}
    assert client.get(f"/proofs/{third}").status_code == 200


def test_a_store_that_fails_or_lies_gives_502_and_tells_nothing(service, client, tmp_path, monkeypatch):
    async def failing(*_args, **_options):
        raise StorageConnectionError("cannot reach https://secret.internal", key="proofs/v1/secret")

    told = client.post("/proofs", content=IMAGE, headers=PNG).json()
    (record,) = (path for path in tmp_path.rglob(f"*{told['id']}.json*") if "/r/" in str(path))
    record.write_bytes(record.read_bytes().replace(b'"payload"', b'"Payload"'))
    answers = [client.get(f"/proofs/{told['id']}")]
    for verb in ("retrieve", "store", "list"):
        monkeypatch.setattr(LocalStorageProvider, verb, failing)
    answers += [
        client.get(f"/proofs/{told['id']}"),
        client.get(f"/images/{SHA256}/proofs"),
        client.post("/proofs", content=IMAGE, headers=PNG),
    ]
    for answer in answers:
        assert answer.status_code == 502
        assert answer.json() == {"error": "STORE_FAILED"}
