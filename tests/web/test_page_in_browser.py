"""The verification page in Chromium: what turns green, amber and red, for whom it is readable, and what it asks for."""

import asyncio
import base64
import json
import os
import shutil
import ssl
import subprocess
import threading
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from credstore import LocalConfig, LocalStorageProvider
from credstore.edge.server import listen, serve_links
from credstore.proofs import LocalSigner, ProofStore, TrustStore, encode_trust_store, trust_key
from credstore.proofs.c2pa import sign_manifest
from credstore.proofs.format.dsse import encode_envelope
from credstore.proofs.format.trust_publication import encode_trust_statement
from credstore.web import ProofLinkPages, ProofPages, WebApp
from credstore.web.serving import serving_app
from tests.edge.programs import program
from tests.proofs.c2pa_material import CREDENTIALS, DEFINITION
from tests.proofs.material import ROOT as ROOT_SIGNER
from tests.proofs.material import seal
from tests.proofs.pictures import encoded, picture
from tests.servers.certificates import make_certificate

pytestmark = pytest.mark.system
SCRIPT = Path(__file__).parent / "browsing.mjs"
ISSUER = "https://news.example"
START = datetime(2026, 1, 1, tzinfo=UTC)
SIGNER, OTHER = LocalSigner.generate(), LocalSigner.generate("ecdsa-p256-sha256")
HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
SHOTS = os.environ.get("CREDSTORE_SCREENSHOTS")
"""A folder that keeps the screenshots, to be looked at."""


def trusting(*signers: LocalSigner) -> TrustStore:
    return TrustStore(
        1, tuple(trust_key(each.public_key, issuers=[ISSUER], valid_from=START) for each in signers)
    )


TRUST = trusting(SIGNER)


async def browse(tmp_path, url, *steps, status=200, **options):
    """The outcomes of steps on a page that comes with this status.

    Its console has no errors but for files that are not there, and for a page that is refused as it should be.
    """
    shot = [{"verb": "shoot", "path": str(Path(SHOTS, f"{options.pop('name')}.png"))}] if SHOTS else []
    options.pop("name", None)
    asked = {"url": url, "profile": str(tmp_path / "profile"), "steps": [*steps, *shot], **options}
    asked["program"] = program("chromium", "chromium-browser", "google-chrome")
    shutil.rmtree(tmp_path / "profile", ignore_errors=True)
    done = await asyncio.to_thread(
        subprocess.run,
        ["node", str(SCRIPT)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["status"] == status
    refused = {url} if status >= 400 else set()
    problems = [
        each for each in found["problems"] if "404" not in each["text"] and each["url"] not in refused
    ]
    assert problems == []
    return found


def opened(test, tmp_path, **options):
    """Run a test with a store, its pages on a server, and a proof of a picture with Content Credentials."""

    async def main():
        original = encoded(picture(3, (480, 360)), "JPEG")
        signed = await sign_manifest(
            original,
            "image/jpeg",
            definition={**DEFINITION, "title": HOSTILE},
            credential=CREDENTIALS["ES256"],
            embed=True,
        )
        config = LocalConfig(path=str(tmp_path / "store"), link_url="http://127.0.0.1:1")
        async with ProofStore(LocalStorageProvider(config), trust=TRUST, signer=SIGNER) as store:
            proof = await store.issue(
                signed.asset, media_type="image/jpeg", uri="pictures/a.jpg", claims={"title": HOSTILE}
            )
            await store.provider.store("pictures/a.jpg", signed.asset)
            pages = ProofPages(store, pictures="pictures/")
            async with serving_app(WebApp({"/": pages}), listen("127.0.0.1", 0)) as url:
                await test(store, pages, proof, signed.asset, url)

    asyncio.run(main())


def given(*files):
    """Files dropped on the page."""
    return {
        "verb": "drop",
        "files": [
            {"name": name, "type": kind, "body": base64.b64encode(body).decode()}
            for name, kind, body in files
        ],
    }


CARDS, AXE = {"verb": "cards"}, {"verb": "axe"}
READ = {"verb": "waitFor", "selector": "[data-given] [data-part=manifest]:not([hidden])"}


def states(cards):
    return [each["state"] for each in cards]


def test_amber_by_itself_and_green_with_the_key_of_the_link(tmp_path):
    async def test(store, pages, proof, asset, url):
        address = f"{url}/{proof.proof_id}"
        found = await browse(
            tmp_path, address, READ, CARDS, AXE, {"verb": "text", "selector": "title"}, name="amber"
        )
        cards, violations = found["results"][1:3]
        assert states(cards) == ["verified", "consistent"]
        assert violations == []
        served, own = cards
        assert served["facts"] == own["facts"]
        assert [each for each in served["checks"] if each not in own["checks"] and "UTC" not in each[1]] == [
            ["done", "The key counts for this issuer, and did so at that time"]
        ]
        assert json.loads(own["claims"]) == {"title": HOSTILE}
        assert served["picture"] == 480
        # Content Credentials by the library, whose texts are a stranger's, too.
        assert "fit each other" in own["history"]
        assert HOSTILE in own["history"]
        assert {each.split()[0] for each in found["requests"]} == {"GET"}
        assert all(each.split()[1].startswith((url, "data:", "blob:")) for each in found["requests"])
        keyid = SIGNER.public_key.keyid
        green = await browse(
            tmp_path, f"{address}#key={keyid}", CARDS, AXE, name="green", width=320, dark=True
        )
        assert states(green["results"][0]) == ["verified", "verified"]
        assert "the key in the link" in green["results"][0][1]["by"]
        assert green["results"][1] == []

    opened(test, tmp_path)


def test_red_for_another_key_and_for_a_link_that_asks_for_rubbish(tmp_path):
    async def test(store, pages, proof, asset, url):
        for fragment in (f"key={OTHER.public_key.keyid}", "key=sha256:short", "log=rubbish"):
            found = await browse(tmp_path, f"{url}/{proof.proof_id}#{fragment}", CARDS, AXE, name="other-key")
            cards, violations = found["results"][:2]
            assert states(cards) == ["unknown", "failed"], fragment
            assert cards[0]["title"] == "Disputed"
            assert violations == []

    opened(test, tmp_path)


def test_red_for_a_file_that_was_tampered_with(tmp_path):
    """And green for the one that was not, beside it, once a trust store is given."""

    async def test(store, pages, proof, asset, url):
        tampered = bytearray(asset)
        tampered[-900] ^= 1
        keys = ("keys.json", "application/json", encode_trust_store(TRUST))
        steps = (
            given(keys, ("right.jpg", "image/jpeg", asset), ("wrong.jpg", "image/jpeg", bytes(tampered))),
            {"verb": "waitFor", "selector": "[data-given=yes] ~ [data-given=yes] [data-part=manifest]:not([hidden])"},
            CARDS, AXE, {"verb": "overflow"},
        )  # fmt: skip
        found = await browse(tmp_path, f"{url}/{proof.proof_id}", *steps, name="tampered", width=1300)
        cards, violations, overflow = found["results"][2:5]
        assert states(cards) == ["verified", "verified", "verified", "failed"]
        assert cards[3]["facts"][0] == ["File", "wrong.jpg"]
        assert "This is not the file" in cards[3]["summary"]
        assert "dataHash.mismatch" in cards[3]["history"]
        assert (violations, overflow) == ([], 0)
        assert {each.split()[0] for each in found["requests"]} == {"GET"}
        # A page without a proof finds the one of a file; what has none is no verdict.
        (tmp_path / "right.jpg").write_bytes(asset)
        (tmp_path / "text.txt").write_bytes(b"hello")
        steps = [{"verb": "give", "files": [str(tmp_path / name)]} for name in ("right.jpg", "text.txt")]
        found = await browse(
            tmp_path, f"{url}/", *steps, CARDS, AXE, {"verb": "overflow"}, width=320, name="two-narrow"
        )
        cards, violations, overflow = found["results"][2:5]
        assert states(cards) == ["consistent", "nothing"]
        assert (violations, overflow) == ([], 0)

    opened(test, tmp_path)


class Folder:
    """Static files as a server has them."""

    def __init__(self, files):
        self.files = files

    async def answer(self, path, query):
        from credstore.web.app import Answer

        file = self.files.get(path.removeprefix("/"))
        return None if file is None else Answer(body=file.data, content_type=file.content_type)


def test_a_bundle_that_was_changed_in_the_bucket_turns_the_page_red(tmp_path):
    """A folder of files whose bundle, and whose picture, somebody replaced after the page was made."""
    from credstore.web.folder import folder_files

    async def test(store, pages, proof, asset, url):
        from dataclasses import replace

        files = {each.name: each async for each in folder_files(pages, [proof.proof_id])}
        forged = LocalSigner.generate()
        async with ProofStore(
            LocalStorageProvider(LocalConfig(path=str(tmp_path / "x"))), trust=trusting(forged), signer=forged
        ) as other:
            false = await other.issue(asset, proof_id=proof.proof_id)
            bundle = await other.export(false.proof_id)
        name = f"{proof.proof_id}.credproof.json"
        envelope = json.loads(files[name].data)
        envelope["envelope"]["signatures"][0]["sig"] = (
            envelope["envelope"]["signatures"][0]["sig"][::-1].replace("==", "") + "=="
        )
        for changes, fragment, expected in (
            ({}, "", ["verified", "consistent"]),
            (
                {name: bundle, "keys.json": encode_trust_store(trusting(forged))},
                f"#key={SIGNER.public_key.keyid}",
                ["unknown", "failed"],
            ),
            ({name: json.dumps(envelope).encode()}, "", ["unknown", "failed"]),
            ({f"{proof.proof_id}.jpg": asset[:-1] + b"x"}, "", ["unknown", "failed"]),
        ):
            changed = {**files, **{each: replace(files[each], data=data) for each, data in changes.items()}}
            async with serving_app(WebApp({"/": Folder(changed)}), listen("127.0.0.1", 0)) as static:
                found = await browse(
                    tmp_path, f"{static}/{proof.proof_id}.html{fragment}", CARDS, name="folder"
                )
            assert states(found["results"][0]) == expected, changes.keys()

    opened(test, tmp_path)


def test_a_page_that_knows_no_key_says_where_one_could_come_from(tmp_path):
    from credstore.web.folder import folder_files

    async def test(store, pages, proof, asset, url):
        files = {each.name: each async for each in folder_files(pages, [proof.proof_id])}
        del files["keys.json"]
        page = f"{proof.proof_id}.html"
        for fragment, said in (
            ("", "This page has no keys, so it cannot tell who signed this; the key comes from the issuer"),
            (
                f"#key={SIGNER.public_key.keyid}",
                "The key in the link is not at hand; the key comes from the issuer",
            ),
        ):
            async with serving_app(WebApp({"/": Folder(files)}), listen("127.0.0.1", 0)) as static:
                steps = (CARDS, {"verb": "text", "selector": "#well-known"}, AXE, {"verb": "overflow"})
                found = await browse(tmp_path, f"{static}/{page}{fragment}", *steps, width=320, name="no-key")
            cards, button, violations, overflow = found["results"][:4]
            assert states(cards) == ["verified", "unknown"]
            assert cards[1]["summary"].startswith(said)
            for word in (f"fetch what {ISSUER} publishes with the button below", "keys.json", "#key=sha256:"):
                assert word in cards[1]["summary"]
            assert button == f"Fetch the keys that {ISSUER} publishes"
            assert (violations, overflow) == ([], 0)
        # Without a site of the issuer, there is no button to name.
        from dataclasses import replace

        changed = replace(
            files[page], data=files[page].data.replace(b'data-issuer="https://', b'data-issuer="urn:x-')
        )
        async with serving_app(
            WebApp({"/": Folder({**files, page: changed})}), listen("127.0.0.1", 0)
        ) as static:
            found = await browse(tmp_path, f"{static}/{page}", CARDS, name="no-site")
        summary = found["results"][0][1]["summary"]
        assert "give the trust store that it hands out (keys.json)" in summary
        assert "button" not in summary

    opened(test, tmp_path)


def test_without_scripts_and_by_keyboard(tmp_path):
    async def test(store, pages, proof, asset, url):
        address = f"{url}/{proof.proof_id}"
        found = await browse(
            tmp_path, address, {"verb": "text", "selector": "main"}, script=False, name="no-script"
        )
        text = found["results"][0]
        assert "Verified" in text
        assert "Without scripts this page shows the verdict of whoever made it" in text
        assert "nothing is sent" not in text
        focused = {"verb": "focused"}
        steps = [step for _ in range(12) for step in ({"verb": "press", "key": "Tab"}, focused)]
        found = await browse(tmp_path, address, *steps, name="keyboard")
        stops = [each for each in found["results"] if each]
        assert stops[0] == "skip"
        assert {"bundle", "files", "well-known"} <= {*stops}

    opened(test, tmp_path)


def test_a_temporary_link_shows_its_page(tmp_path):
    async def test(store, pages, proof, asset, url):
        async with serve_links(
            store.provider, listener=listen("127.0.0.1", 0), pages=ProofLinkPages(pages)
        ) as base:
            link = str(await store.link(proof.proof_id, timedelta(hours=1))).replace(
                "http://127.0.0.1:1", base
            )
            found = await browse(tmp_path, f"{link}#key={SIGNER.public_key.keyid}", CARDS, AXE, name="link")
            await browse(tmp_path, f"{link}x", status=403, script=False, name="broken-link")
        cards, violations = found["results"][:2]
        assert states(cards) == ["verified", "verified"]
        assert violations == []
        assert found["headers"]["vary"] == "accept"

    opened(test, tmp_path)


@asynccontextmanager
async def issuer_site(files, place):
    """The issuer's own web server, with TLS; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            data = files.get(self.path)
            self.send_response(200 if data else 404)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    certificate, key = make_certificate(place)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    # Handshakes are made by the threads that serve, so that none holds up the next connection.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_keys_that_the_issuer_publishes_are_fetched_on_a_click(tmp_path):
    root = trust_key(ROOT_SIGNER.public_key, issuers=[], usages=["root"], valid_from=START)
    signed = encode_envelope(seal(encode_trust_statement(TRUST.add(root)), ROOT_SIGNER))

    async def test(store, pages, proof, asset, url):
        async with issuer_site({"/.well-known/credstore-trust.json": signed}, tmp_path) as port:
            resolve = [
                "--ignore-certificate-errors",
                f"--host-resolver-rules=MAP news.example:443 127.0.0.1:{port}",
            ]
            steps = (
                CARDS,
                {"verb": "click", "selector": "#well-known"},
                {"verb": "waitFor", "selector": "[data-given][data-state=verified]"},
                CARDS,
            )
            found = await browse(tmp_path, f"{url}/{proof.proof_id}", *steps, args=resolve, name="well-known")
        assert states(found["results"][0]) == ["verified", "consistent"]
        assert states(found["results"][3]) == ["verified", "verified"]
        assert "publishes on its site now" in found["results"][3][1]["by"]
        elsewhere = [
            each
            for each in found["requests"]
            if url not in each and "data:" not in each and "blob:" not in each
        ]
        assert elsewhere == ["GET https://news.example/.well-known/credstore-trust.json"]

    opened(test, tmp_path)
