"""Pages about proofs without a browser: what is served to whom, with which headers, and that all text is text."""

import asyncio
import json
import re
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore import MemoryStorageProvider
from credstore.errors import StorageConnectionError, StorageInvalidRequestError
from credstore.proofs import ProofStore, TrustStore, parse_trust_store, trust_key, verify_bundle
from credstore.proofs.log import LogCheck
from credstore.proofs.log.policy import parse_log_policy
from credstore.web import GivenPictures, ProofLinkPages, ProofPages, StoredPictures, WebApp
from credstore.web.folder import folder_files
from credstore.web.markup import PageParts, render_page
from credstore.web.negotiation import prefers_html
from credstore.web.report import PageReport, fill, origin_of, page_words
from credstore.web.site_files import has_c2pa, served_files, site_file
from tests.proofs.material import ISSUER, NOW, SIGNER, START, STRANGER
from tests.proofs.pictures import encoded, picture
from tests.web.logged import ALONE
from tests.web.test_logs import asked

ROOT = Path(__file__).parents[2]
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
PHOTO = encoded(picture(1))
TRUST = TrustStore(1, (trust_key(SIGNER.public_key, issuers=[ISSUER], valid_from=START),))
HOSTILE = "</script></textarea><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&lt;${x}{issuer}"


class Tags(HTMLParser):
    """The elements, attributes and texts of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.texts = [], {}, []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value)

    def handle_data(self, data):
        self.texts.append(data)


class Failing(MemoryStorageProvider):
    """Cannot be reached once it is told so."""

    down = False

    async def get_metadata(self, *arguments, **options):
        if self.down:
            raise StorageConnectionError("the network is down")
        return await super().get_metadata(*arguments, **options)


def run(test, **options):
    """Run a test with a store, its pages, and what asks them by ASGI."""

    async def main():
        provider = Failing()
        chosen = {"pictures": "pictures/", "clock": lambda: NOW, **options}
        async with ProofStore(provider, trust=TRUST, signer=SIGNER, clock=lambda: NOW) as store:
            pages = ProofPages(store, **chosen)
            app = WebApp({"/proofs": pages})

            async def ask(path, accept=""):
                headers = [(b"accept", accept.encode())] if accept else []
                return await asked(app, "GET", f"/proofs{path}", headers=headers)

            await test(store, pages, ask)

    asyncio.run(main())


def test_a_browser_gets_a_page_and_a_program_the_bundle():
    async def test(store, pages, ask):
        proof = await store.issue(
            PHOTO, media_type="image/png", uri="pictures/one.png", claims={"title": HOSTILE}
        )
        await store.provider.store("pictures/one.png", PHOTO)
        for path, accept in (("", ""), ("", "*/*"), ("", "application/json"), (".credproof.json", BROWSER)):
            status, headers, body = await ask(f"/{proof.proof_id}{path}", accept)
            assert status == 200
            assert headers["content-type"] == "application/vnd.credstore.proof-bundle.v1+json"
            assert headers["access-control-allow-origin"] == "*"
            assert headers.get("vary") == ("accept" if path == "" else None)
            assert verify_bundle(body, TRUST, now=NOW).proof.record.proof_id == proof.proof_id
        status, headers, body = await ask(f"/{proof.proof_id}", BROWSER)
        page = Tags(body.decode())
        assert (status, headers["content-type"], headers["vary"]) == (
            200,
            "text/html; charset=utf-8",
            "accept",
        )
        assert headers["cache-control"] == "no-store"
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'")
        assert "frame-ancestors 'none'" in policy
        assert f"connect-src 'self' {ISSUER};" in policy
        assert "unsafe-inline" not in policy
        assert ("wasm-unsafe-eval" in policy) is has_c2pa()
        # The page has what the header has, for servers that send none.
        assert policy.startswith(page.attributes["content"][0])
        assert "Verified" in page.texts
        assert f"{proof.proof_id}.png" in page.attributes["src"]
        assert any(
            HOSTILE in json.loads(text).get("title", "") for text in page.texts if text.startswith("{\n")
        )
        assert page.tags.count("script") == 2
        assert not [name for name in page.attributes if name.startswith("on") or name == "style"]
        assert not [each for each in (*page.attributes["src"], *page.attributes["href"]) if "//" in each]
        status, headers, body = await ask(f"/{proof.proof_id}.png")
        assert (status, headers["content-type"], body) == (200, "image/png", PHOTO)
        assert headers["x-content-type-options"] == "nosniff"
        for path in (".jpg", ".gif", ".html.html", ".svg"):
            assert (await ask(f"/{proof.proof_id}{path}"))[0] == 404

    run(test)


def test_the_page_without_a_proof_and_what_it_loads():
    async def test(store, pages, ask):
        proof = await store.issue(PHOTO)
        status, headers, body = await ask("/", BROWSER)
        assert (status, "connect-src 'self';" in headers["content-security-policy"]) == (200, True)
        page = Tags(body.decode())
        for name in page.attributes["src"] + page.attributes["href"]:
            if not name.startswith("#"):
                assert (await ask(f"/{name}"))[0] == 200, name
        for name in served_files():
            status, headers, body = await ask(f"/{name}")
            assert (status, body) == (200, site_file(name))
            assert headers["content-type"].partition(";")[0] in {
                "text/css", "text/javascript", "image/svg+xml", "application/wasm", "text/plain",
            }  # fmt: skip
        _, _, keys = await ask("/keys.json")
        assert parse_trust_store(keys) == TRUST
        _, _, found = await ask(f"/find/{proof.record.asset.sha256.hex()}.json")
        assert json.loads(found) == {"proofs": [proof.proof_id]}
        for path in (
            "/page.html", "/words.json", "/card.html", "/../app.py", "/c2pa/../page.html", "/log-policy.txt", "/find/00.json",
            f"/find/{'0' * 64}.json", "/01920000-0000-7000-8000-00000000000A", "/c2pa/", "",
        ):  # fmt: skip
            assert (await ask(path, BROWSER))[0] == 404, path

    run(test)


def test_proofs_that_ended_and_those_that_are_not_there():
    async def test(store, pages, ask):
        revoked = await store.issue(PHOTO)
        expired = await store.issue(PHOTO, expires_in=60)
        await store.revoke(revoked.proof_id, reason="incorrect")
        erased = await store.issue(PHOTO)
        await store.delete(erased.proof_id)
        status, _, body = await ask(f"/{revoked.proof_id}", BROWSER)
        assert status == 200
        assert f"{ISSUER} has revoked this proof at 2026-06-01 00:00:00 UTC: incorrect." in body.decode()
        for proof_id, status in ((erased.proof_id, 200), ("01920000-0000-7000-8000-00000000aaaa", 404)):
            found, _, body = await ask(f"/{proof_id}", BROWSER)
            page = Tags(body.decode())
            assert (found, "bundle" in page.attributes["id"]) == (status, False)
            assert "Verified" not in page.texts
        assert (await ask("/01920000-0000-7000-8000-00000000aaaa"))[0] == 404
        # A valid proof is named before others of the same asset.
        valid = await store.issue(PHOTO)
        _, _, found = await ask(f"/find/{valid.record.asset.sha256.hex()}.json")
        assert json.loads(found)["proofs"][0] in {valid.proof_id, expired.proof_id}
        assert set(json.loads(found)["proofs"]) == {valid.proof_id, expired.proof_id, revoked.proof_id}

    run(test)


def test_another_key_is_refused_on_the_page():
    async def test(store, pages, ask):
        proof = await store.issue(PHOTO)
        trust = TrustStore(1, (trust_key(STRANGER.public_key, issuers=[ISSUER], valid_from=START),))
        async with ProofStore(store.provider, trust=trust, close_provider=False) as strangers:
            shown = await ProofPages(strangers).page(proof.proof_id)
        assert (shown.report.state, shown.bundle) == ("failed", None)
        assert shown.report.checks[0][0] == "failed"
        assert shown.report.issuer is None

    run(test)


def test_a_picture_is_shown_only_if_it_is_the_one():
    async def test(store, pages, ask):
        provider = store.provider
        proof = await store.issue(PHOTO, uri="pictures/a.png")
        named = f"pictures/{proof.record.asset.sha256.hex()}"
        assert (await pages.page(proof.proof_id)).picture is None
        await provider.store("pictures/a.png", PHOTO[:-1] + b"x")
        assert (await pages.page(proof.proof_id)).picture is None
        assert (await ask(f"/{proof.proof_id}.png"))[0] == 404
        await provider.store("pictures/a.png", PHOTO)
        for _ in range(2):
            shown = await pages.page(proof.proof_id)
            assert shown.picture == f"{proof.proof_id}.png"
            assert ("done", page_words()["checks"]["asset"]) in shown.report.checks
        await provider.delete("pictures/a.png")
        assert (await pages.page(proof.proof_id)).picture is None
        await provider.store(named, PHOTO)
        assert (await ask(f"/{proof.proof_id}.png"))[2] == PHOTO
        provider.down = True
        assert (await ask(f"/{proof.proof_id}", BROWSER))[0] == 503
        provider.down = False
        # Outside of the prefix nothing is looked at, and what browsers would run is no picture.
        outside = await store.issue(PHOTO + b"2", uri="secret/b.png")
        await provider.store("secret/b.png", PHOTO + b"2")
        assert (await pages.page(outside.proof_id)).picture is None
        drawing = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
        script = await store.issue(drawing, uri="pictures/c.svg", media_type="image/svg+xml")
        await provider.store("pictures/c.svg", drawing)
        assert (await pages.page(script.proof_id)).picture is None
        with pytest.raises(StorageInvalidRequestError):
            StoredPictures(provider, "x" * 2000)

    run(test)


def test_a_folder_has_what_the_server_has(tmp_path):
    (tmp_path / "photo.png").write_bytes(PHOTO)
    (tmp_path / "other.png").write_bytes(encoded(picture(2)))
    given_files = GivenPictures([tmp_path / "other.png", tmp_path / "photo.png"])

    async def test(store, pages, ask):
        one, two = await store.issue(PHOTO), await store.issue(b"a text")
        files = {each.name: each async for each in folder_files(pages, [one.proof_id, two.proof_id])}
        expected = {
            *served_files(), "index.html", "keys.json", "log-policy.txt", f"{one.proof_id}.html", f"{two.proof_id}.html",
            f"{one.proof_id}.credproof.json", f"{two.proof_id}.credproof.json", f"{one.proof_id}.png",
            f"find/{one.record.asset.sha256.hex()}.json", f"find/{two.record.asset.sha256.hex()}.json",
        }  # fmt: skip
        assert set(files) == expected
        page = files[f"{one.proof_id}.html"].data.decode()
        assert "Checked when this page was made" in page
        assert files[f"{one.proof_id}.png"].data == PHOTO
        assert files["index.html"].content_type == "text/html; charset=utf-8"
        with pytest.raises(Exception, match="there is no proof"):
            [each async for each in folder_files(pages, ["01920000-0000-7000-8000-00000000aaaa"])]

    check = LogCheck(parse_log_policy(ALONE.encode()))
    run(test, pictures=given_files, place="folder", check_log=check, log_policy=ALONE.encode())


def test_a_temporary_link_grants_its_record_and_nothing_beside_it():
    async def test(store, pages, ask):
        proof = await store.issue(PHOTO, uri="pictures/a.png")
        await store.provider.store("pictures/a.png", PHOTO)
        links = ProofLinkPages(pages)
        key = f"proofs/v1/r/{proof.proof_id[-2:]}/{proof.proof_id}.json"
        assert await links.page(key, "application/json") is None
        assert await links.page("photos/a.png", BROWSER) is None
        shown = await links.page(key, BROWSER)
        page = Tags(shown.body.decode())
        assert (shown.status, shown.headers["content-type"]) == (200, "text/html; charset=utf-8")
        (href,) = [each for each in page.attributes["href"] if each.startswith("data:")]
        assert href.startswith("data:application/vnd.credstore.proof-bundle.v1+json;base64,")
        assert page.attributes["src"] == ["/.credstore-page/page.js"]
        for name, there in (
            ("page.js", True),
            ("keys.json", True),
            (f"{proof.proof_id}.png", False),
            ("find/" + "0" * 64 + ".json", False),
        ):
            assert (await links.file(name) is not None) is there

    run(test)


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_no_text_becomes_markup(summary, name, value):
    report = PageReport(
        "failed",
        summary,
        summary,
        facts=((name, value),),
        checks=(("open", value),),
        by=name,
        claims={name: value},
        issuer=value,
    )
    plain = PageReport(
        "failed",
        "a",
        "a",
        facts=(("a", "a"),),
        checks=(("open", "a"),),
        by="a",
        claims={"a": "a"},
        issuer="a",
    )
    hostile, harmless = (
        Tags(render_page(PageParts(report, name, value, summary))),
        Tags(render_page(PageParts(plain, "a", "a", "a"))),
    )
    assert hostile.tags == harmless.tags
    assert {each: len(values) for each, values in hostile.attributes.items()} == {
        each: len(values) for each, values in harmless.attributes.items()
    }


def test_a_gap_is_not_filled_from_what_fills_another():
    assert fill("{a} and {b}, {c}", a="{b}", b="${a}") == "{b} and ${a}, "


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("TEXT/HTML;q=0.5, application/json;q=0.4", True),
        ("text/html;q=0.5, application/json", False),
        ("text/html, application/json", True),
        ("application/vnd.credstore.proof-bundle.v1+json, text/html;q=0.9", False),
        ("text/html;q=0", False),
        ("text/*", False),
        ("", False),
        (",;q=1,;;", False),
    ],
)
def test_who_wants_a_page(accept, html):
    assert prefers_html(accept) is html


@pytest.mark.parametrize(
    ("issuer", "origin"),
    [
        ("https://news.example/a?b", "https://news.example"),
        ("https://News.example:8443", "https://news.example:8443"),
        ("http://news.example", None),
        ("https://a.example; script-src *", None),
        ("https://a.example'unsafe-inline'/", None),
        ("https://[::1]/", None),
        ("https://a:99999/", None),
        ("https://user@news.example", "https://news.example"),
        ("did:web:news.example", None),
        (None, None),
    ],
)
def test_an_issuer_adds_its_origin_to_the_policy_and_nothing_else(issuer, origin):
    assert origin_of(issuer) == origin


def test_scripts_have_no_way_to_make_markup_of_text():
    for name in served_files():
        if name.endswith(".js") and not name.startswith("c2pa/"):
            code = site_file(name).decode()
            assert not re.search(
                r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function|setAttribute\(\"on",
                code,
            ), name
            assert not re.search(r"https?://(?!credstore\.dev|in-toto\.io)[a-z]", code), name


def test_every_sentence_is_said():
    words = page_words()
    code = "".join(
        site_file(name).decode()
        for name in served_files()
        if name.endswith(".js") and not name.startswith("c2pa/")
    )
    code += "".join(path.read_text() for path in (ROOT / "credstore" / "web").glob("*.py"))
    dynamic = {"states", "by", "marks", "values"}
    unsaid = [
        f"{kind}.{name}"
        for kind in words.keys() - dynamic
        for name in words[kind]
        if not re.search(rf"\b{name}\b", code)
    ]
    assert not unsaid


@pytest.mark.system
def test_the_wheel_has_the_page(tmp_path):
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    folder = ROOT / "credstore" / "web" / "site"
    expected = {
        f"credstore/web/site/{each.relative_to(folder).as_posix()}"
        for each in folder.rglob("*")
        if each.is_file()
    }
    assert {
        "credstore/web/site/page.html",
        "credstore/web/site/page.js",
        "credstore/web/site/c2pa/c2pa.wasm",
    } <= expected
    assert expected <= names
