"""How manifests are hosted: headers, options, and the `Link` header, written and read."""

import pytest

from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.manifest_links import (
    LARGEST_MANIFEST,
    MANIFEST_TYPE,
    find_manifest_url,
    link_header,
    link_manifest,
    manifest_headers,
    manifest_options,
)

URL = "https://proofs.example/m/ff/a,b;c.c2pa?x=1&y='2'"


def test_headers_let_every_page_and_cdn_use_a_manifest():
    headers = manifest_headers()
    assert headers == {
        "Content-Type": "application/c2pa",
        "Cache-Control": "public, max-age=31536000, immutable",
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "Link, ETag",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
    }
    options = manifest_options()
    assert options["content_type"] == headers["Content-Type"] == MANIFEST_TYPE
    assert options["cache_control"] == headers["Cache-Control"]
    assert options["compress"] is False


def test_a_link_is_written_and_found():
    header = link_header(URL)
    assert header == f'<{URL}>; rel="c2pa-manifest"; type="application/c2pa"'
    assert find_manifest_url(header) == URL
    assert find_manifest_url(f"</style.css>; rel=preload; as=style, {header}") == URL


@pytest.mark.parametrize(
    "header",
    [
        "<m>;rel=c2pa-manifest",
        '<m> ; rel = "C2PA-Manifest"',
        '<m>; title="a, b; <c>; rel=\\"x\\""; rel="preload c2pa-manifest"',
        "<a,b;c>; rel=preload, <m>; rel=c2pa-manifest",
        '<x>; rel="next"; rel="c2pa-manifest", <m>; REL=c2pa-manifest',
        '<x>; rel="c2pa-manifest"; anchor="/other", <m>; rel=c2pa-manifest',
        ", ,<m>; crossorigin; ; rel=c2pa-manifest,",
        "<x>,<m>;rel=c2pa-manifest;",
        "<m>;rel=c2pa-manifest, broken",
    ],
)
def test_links_are_read_as_rfc_8288_writes_them(header):
    assert find_manifest_url(header) == "m"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "m; rel=c2pa-manifest",
        "<m>",
        "<m>; rel",
        "<m>; rel=c2pa-manifests",
        "<m>; title=rel=c2pa-manifest",
        '<m>; title="; rel=c2pa-manifest',
        '<x>; title="<m>; rel=c2pa-manifest"',
        "<x>; title='<m>; rel=c2pa-manifest'",
        "<x> junk, <m>; rel=c2pa-manifest",
        "<m; rel=c2pa-manifest",
        "<x>; rel=c2pa-manifest" * 1000,
    ],
)
def test_what_is_no_link_to_a_manifest_is_not_found(header):
    assert find_manifest_url(header) is None


def test_long_headers_are_read_in_one_pass():
    assert find_manifest_url("<" * 16_000) is None
    assert find_manifest_url("<x>" + ";" * 16_000) is None
    assert find_manifest_url("<x>; " + "a" * 8_000 + " " * 8_000) is None
    assert find_manifest_url('<x>; a="' + "\\a" * 8_000) is None
    assert find_manifest_url("<m>; rel=c2pa-manifest" + " " * 20_000) is None


@pytest.mark.parametrize(
    "url",
    ["", "m", "/m", "ftp://a/b", "https://", "https://a/<b>", 'https://a/"', "https://a/\r\nX: y", "https://a/b#c",
     "https://a/%4", "https://a/é", "https://a/" + "b" * 2048],
)  # fmt: skip
def test_urls_that_would_not_do_are_refused(url):
    with pytest.raises(StorageInvalidRequestError):
        link_header(url)
    with pytest.raises(StorageInvalidRequestError):
        link_manifest(b"m", url)


def test_the_size_of_a_manifest_is_bounded():
    assert link_manifest(bytes(LARGEST_MANIFEST)).size == LARGEST_MANIFEST
    for size in (0, LARGEST_MANIFEST + 1):
        with pytest.raises(StorageInvalidRequestError):
            link_manifest(bytes(size))
