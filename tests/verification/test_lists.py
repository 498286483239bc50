"""Public lists: fetched from a server on loopback, saved with address, date and digest, read again."""

import asyncio
import base64
import http.server
import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from credstore.errors import StorageConfigurationError, StorageError, StorageInvalidRequestError
from credstore.verification import VerificationPolicy, verify
from credstore.verification.fetching import Fetcher
from credstore.verification.lists import PUBLIC_LISTS, PublicList, saved_lists, update_lists
from tests.proofs.c2pa_material import AUTHORITY, Authority
from tests.verification.test_verify import PNG, sign

NOW = datetime(2026, 11, 29, tzinfo=UTC)
OTHER = Authority()


@contextmanager
def publisher(files: dict[str, bytes]):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def jwks(*entities: tuple[bytes, bool]) -> bytes:
    def key(pem: bytes) -> dict:
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        return {"kty": "EC", "x5c": [base64.b64encode(der).decode()]}

    found = [{"display_name": "News", "isCA": ca, "jwks": {"keys": [key(pem)]}} for pem, ca in entities]
    return json.dumps({"version": "0.1", "entities": [*found, {"jwks": 7}, 7]}).encode()


def lists(base: str) -> list[PublicList]:
    return [
        PublicList(
            "signers", "a list of signers", "signers", f"{base}/signers.pem", purposes=f"{base}/store.cfg"
        ),
        PublicList("stamps", "a list of authorities", "timestamps", f"{base}/stamps.pem"),
        PublicList("news", "a list of publishers", "identities", f"{base}/news.json", form="jwks"),
    ]


FILES = {
    "/signers.pem": b"# a comment\n" + AUTHORITY.root,
    "/store.cfg": b"1.3.6.1.5.5.7.3.4\n",
    "/stamps.pem": OTHER.root,
    "/news.json": jwks((AUTHORITY.root, True), (OTHER.root, False)),
}


def update(files, folder):
    async def scene():
        async with Fetcher() as fetcher:
            return await update_lists(fetcher.list, folder=folder, lists=lists(base), now=NOW)

    with publisher(files) as base:
        return asyncio.run(scene()), base


def test_lists_are_fetched_saved_and_named_in_verdicts(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert saved_lists().uses() == ()
    done, base = update(FILES, None)
    assert [(each.name, each.certificates, each.error) for each in done] == [
        ("signers", 1, None),
        ("stamps", 1, None),
        ("news", 2, None),
    ]
    uses = saved_lists().uses()
    assert [(each.purpose, each.name, each.date, each.source) for each in uses] == [
        ("signers", "a list of signers", "2026-11-29", f"{base}/signers.pem"),
        ("timestamps", "a list of authorities", "2026-11-29", f"{base}/stamps.pem"),
        ("identities", "a list of publishers", "2026-11-29", f"{base}/news.json"),
    ]
    assert [each.sha256 for each in uses] == [each.sha256 for each in done]
    # Whoever gives no policy has these.
    verdict = asyncio.run(verify(sign(embed=True).asset))
    assert verdict.state == "verified"
    assert verdict.lists == uses
    (tmp_path / "policy.toml").write_text("[c2pa]\nsaved = true\n")
    assert VerificationPolicy.from_toml(tmp_path / "policy.toml").c2pa.uses() == uses


def test_a_list_that_fails_leaves_the_saved_one(tmp_path):
    update(FILES, tmp_path)
    before = saved_lists(tmp_path).uses()
    for broken in (b"", b"<html>captive portal</html>", b"\xff" * 100):
        done, _ = update({"/signers.pem": broken, "/store.cfg": b"x", "/news.json": broken}, tmp_path)
        assert all(each.error for each in done)
        assert "nothing at" in done[1].error
        assert [each.sha256 for each in saved_lists(tmp_path).uses()] == [each.sha256 for each in before]


@pytest.mark.parametrize("name", ["signers.pem", "signers.cfg", "lists.json"])
def test_saved_lists_that_were_changed_are_refused(tmp_path, name):
    update(FILES, tmp_path)
    (tmp_path / name).write_bytes(OTHER.root if name.endswith("pem") else b"[7]")
    with pytest.raises(StorageConfigurationError):
        saved_lists(tmp_path)


def test_addresses_are_https_and_names_are_their_own():
    assert len({each.name for each in PUBLIC_LISTS}) == len(PUBLIC_LISTS)
    assert {each.purpose for each in PUBLIC_LISTS} == {"signers", "timestamps", "identities"}
    for each in PUBLIC_LISTS:
        assert all(
            url is None or url.startswith("https://") for url in (each.anchors, each.allowed, each.purposes)
        )


@pytest.mark.parametrize(
    "url",
    [
        "http://proofs.example/x",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://10.0.0.1/x",
        "https://169.254.169.254/latest",
        "https://localhost/x",
        "https://[::ffff:127.0.0.1]/x",
        "file:///etc/passwd",
        "https://",
        "https://[",
        "no address",
    ],
)
def test_an_asset_cannot_send_a_verifier_anywhere(url):
    async def scene():
        async with Fetcher() as fetcher:
            await fetcher.manifest(url)

    with pytest.raises(StorageInvalidRequestError):
        asyncio.run(scene())


def test_an_intranet_is_reached_when_that_was_asked_for():
    with publisher({"/m.c2pa": b"manifest"}) as base:

        async def scene():
            async with Fetcher(anywhere=True) as fetcher:
                assert await fetcher.manifest(f"{base}/m.c2pa") == b"manifest"
                assert await fetcher.manifest(f"{base}/none") is None
                with pytest.raises(StorageError):
                    await fetcher.manifest("https://")

        asyncio.run(scene())
    assert PNG
