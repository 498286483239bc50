"""Cloud CDN and Media CDN: every vector of Google's samples, and Ed25519 verified by the public key."""

import base64
import hashlib
import hmac
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from credstore.encryption import Secret
from credstore.errors import StorageUnsupportedError
from credstore.links.google import CloudCdnSigner, MediaCdnSigner, MediaCdnTokenSigner
from tests.links.signers import LATER, NOW, URL, steady

CLOUD_KEY = "nZtRohdNF9m3cKM24IcK4w=="
CLOUD_EXPIRES = 1549751401
MEDIA_KEY = "BxwXXNjeGaoWqjr7GHEymRJkP4SaOC12dTGixk7Yr8I="
MEDIA_EXPIRES = 1650848400
TOKEN_EXPIRES = 1663070400
INDEX, ROOT = "http://35.186.234.33/index.html", "http://www.example.com/"
PATH = "http://www.example.com/some/path?some=query&another=param"


def cloud(**settings):
    return CloudCdnSigner(key_name="my-key", key=Secret(CLOUD_KEY), **settings)


def media(**settings):
    return MediaCdnSigner(key_name="my-key", key=Secret(MEDIA_KEY), **settings)


@pytest.mark.parametrize(
    ("make", "expires_at", "url", "prefix", "added"),
    [
        (cloud, CLOUD_EXPIRES, INDEX, None, "CRFqQnVfFyiUyR63OQf-HRUpIwc="),
        (cloud, CLOUD_EXPIRES, ROOT, None, "OqDUFfHpN5Vxga6r80bhsgxKves="),
        (cloud, CLOUD_EXPIRES, PATH, None, "9Q9TCxSju8-W5nUkk5CuTrun2_o="),
        (cloud, CLOUD_EXPIRES, INDEX, "http://35.186.234.33/", "j7HYgoQ8dIOVsW3Rw4cpkjWfRMA="),
        (cloud, CLOUD_EXPIRES, ROOT, ROOT, "UdT5nVks6Hh8QFMJI9kmXuXYBk0="),
        (cloud, CLOUD_EXPIRES, PATH, "http://www.example.com/some/", "3th4ThmpS95I1TAKYyYSCSq3dnQ="),
        (media, MEDIA_EXPIRES, INDEX, None, "16-oE9GZ5U9S_LYrW8RplZhvMfI7RGtGRY0C-Ahh6YAwiJ0UaEi6rQuPxfm6R-cBPfs8MwRGiu2fAoS1JOoKCA=="),
        (media, MEDIA_EXPIRES, ROOT, None, "QhWcq48iCRTJFayWexw929QRxjOxE8ZPSQ38ybTxLhu77hmS_JB6GSougMu_-ejS_ZiGguqxT-HfgSFuy3f5DQ=="),
        (media, MEDIA_EXPIRES, PATH, None, "Li_D6rxUh1Kj54JbmUuAms2wmjJHJUcMXJHgYxjL4LqYH02wSX-4gCayXgklNSDpfBfSHnbdC_wvcdyXvADGDw=="),
        (media, MEDIA_EXPIRES, INDEX, "http://35.186.234.33/", "mR4jNsWVn39ofSC5425SXwZVzHAAixemdcRGHgPuO1V1Fl7lJs2Ws5aPOGp-MhbDinFYUkutHh-I9c5Du4jtAA=="),
        (media, MEDIA_EXPIRES, ROOT, ROOT, "gFGKa4T8Fn1GiTMp1VBd6sSfjRKcPEgTB1k8mn48yXyzg4-Dfbrk-HJeYFGFznZvkF_eSPg1K03hqbMDkFTiAg=="),
        (media, MEDIA_EXPIRES, PATH, "http://www.example.com/some/", "pVN8HKc6Be-PDczd9NjqSui3HHaoCLUN5iDv6JhQ77uKigsCih6z_cMTGjeXhgGASh1zr-ZPrOnxWJxxGWxsBg=="),
    ],
)  # fmt: skip
def test_published_urls(make, expires_at, url, prefix, added):
    begin = f"URLPrefix={base64.urlsafe_b64encode(prefix.encode()).decode()}&" if prefix else ""
    query = f"{begin}Expires={expires_at}&KeyName=my-key&Signature={added}"
    link = make(url_prefix=prefix).sign(url, now=expires_at - 60, expires_at=expires_at)
    assert link == f"{url}{'&' if '?' in url else '?'}{query}"


@pytest.mark.parametrize("configured", [False, True])
@pytest.mark.parametrize(
    ("make", "expires_at", "name", "url", "signature"),
    [
        (cloud, CLOUD_EXPIRES, "Cloud-CDN-Cookie", INDEX, "uImwlOBCPs91mlCyG9vyyZRrNWU="),
        (cloud, CLOUD_EXPIRES, "Cloud-CDN-Cookie", "http://www.example.com/foo/", "Z9uYAu73YHioRScZDxnP-TnS274="),
        (media, MEDIA_EXPIRES, "Edge-Cache-Cookie", INDEX, "kTJ4QVEax5TZmxypq8pnIkjky-s_UtKGPSCd-nxqMYfwqr5HunAy-7XumWc3asRCHI2_ikVQXs7IDXJ9gV28Dg=="),
        (media, MEDIA_EXPIRES, "Edge-Cache-Cookie", "http://www.example.com/foo/", "I0BnupL1tKbXklf1rK50nlC9JMh4HBLogTKByatOFRvALofT159BegB26Z2WmrI-ZAgAp8Q-1__bWtFdMAqCAA=="),
    ],
)  # fmt: skip
def test_published_cookies(make, expires_at, name, url, *, signature, configured):
    # The samples' Media CDN cookies lack the padding that their code writes.
    signer = make(url_prefix=url if configured else None)
    prefix = base64.urlsafe_b64encode(url.encode()).decode()
    assert signer.sign_cookie(
        url + "?a=b" if not configured else url + "x", now=expires_at - 60, expires_at=expires_at
    ) == {name: f"URLPrefix={prefix}:Expires={expires_at}:KeyName=my-key:Signature={signature}"}


@pytest.mark.parametrize("make", [cloud, media])
def test_a_prefix_must_cover_the_object(make):
    signer = make(url_prefix="https://cdn.example.com/b/")
    for ask in (signer.sign, signer.sign_cookie):
        with pytest.raises(StorageUnsupportedError, match="`url_prefix`"):
            ask(URL, now=NOW, expires_at=LATER)


@pytest.mark.parametrize(
    "make", [cloud, media, lambda **limit: MediaCdnTokenSigner(key=Secret(MEDIA_KEY), **limit)]
)
def test_the_routes_limit_holds(make):
    signer = make(max_expires_in=3600)
    signer.sign(URL, now=NOW, expires_at=LATER)
    with pytest.raises(StorageUnsupportedError, match="at most 3600 seconds"):
        signer.sign(URL, now=NOW, expires_at=LATER + 1)


PATHS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="./~"), min_size=1, max_size=9
).map(lambda key: "/" + quote(key, safe=""))


def padded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@given(PATHS, st.integers(NOW + 1, NOW + 10**7))
def test_the_edge_computes_the_same(path, expires_at):
    path = steady(path)
    url = "https://cdn.example.com" + path
    link = cloud().sign(url, now=NOW, expires_at=expires_at)
    signed, _, signature = link.partition("&Signature=")
    assert signed == f"{url}?Expires={expires_at}&KeyName=my-key"
    assert padded(signature) == hmac.new(padded(CLOUD_KEY), signed.encode(), hashlib.sha1).digest()
    signed, _, signature = media().sign(url, now=NOW, expires_at=expires_at).partition("&Signature=")
    public = Ed25519PrivateKey.from_private_bytes(padded(MEDIA_KEY)).public_key()
    public.verify(padded(signature), signed.encode())
    token = MediaCdnTokenSigner(key=Secret(MEDIA_KEY)).sign(url, now=NOW, expires_at=expires_at)
    start, _, signature = token.partition("~Signature=")
    assert start == f"{url}?edge-cache-token=FullPath~Expires={expires_at}"
    public.verify(padded(signature), f"FullPath={path}~Expires={expires_at}".encode())


TOKEN_SEED = "DJUcnLguVFKmVCFnWGubG1MZg7fWAnxacMjKDhVZMGI="
SHARED = "g_SlMILiIWKqsC6Z2L7gy0sReDOqtSrJrE7CXNr5Nl8="


@pytest.mark.parametrize(
    ("algorithm", "globs", "tail"),
    [
        ("ed25519", (), "Signature=X74OTNjtseIUmsab-YiOTZ8jyX_KG7v4YQWwcFpfFmjhzaX8NdweMc9Wglj8wxEsEW85g3_MBG3T9jzLZFQDCw"),
        ("ed25519", ("/*",), "Signature=9pBdD_6O6LB-4V67HZ_SOc2G_jIkSZ_tMsKnVqElmPlwKB_xDiW7DKAnv8L8CmweeZquaLFlnLogbMcIV8bNCQ"),
        ("sha1", (), "hmac=7af78177d6bc001d5626eefe387b1774a4a99ca2"),
        ("sha1", ("/*",), "hmac=c1c446eea24faa31392519f975fea7eefb945625"),
        ("sha256", (), "hmac=365b41fd77297371d890fc9a56e4e3d3baa4c7afbd230a0e9a81c8e1bcab9420"),
        ("sha256", ("/*",), "hmac=9439ecdd5c4919f76f915dea72afa85a045579794e63d8cda664f5a1140c8d93"),
    ],
)  # fmt: skip
def test_published_tokens(algorithm, globs, tail):
    key = Secret(TOKEN_SEED if algorithm == "ed25519" else SHARED)
    signer = MediaCdnTokenSigner(key=key, algorithm=algorithm, path_globs=globs)
    url = "https://media.example.com/example.m3u8"
    begin = f"PathGlobs={','.join(globs)}" if globs else "FullPath"
    assert signer.sign(url, now=TOKEN_EXPIRES - 60, expires_at=TOKEN_EXPIRES) == (
        f"{url}?edge-cache-token={begin}~Expires={TOKEN_EXPIRES}~{tail}"
    )


def test_a_glob_must_cover_the_object():
    signer = MediaCdnTokenSigner(key=Secret(MEDIA_KEY), path_globs=("/b/*", "/a/?.json"))
    signer.sign(URL, now=NOW, expires_at=LATER)
    with pytest.raises(StorageUnsupportedError, match="`path_globs`"):
        signer.sign(URL + "x", now=NOW, expires_at=LATER)


def test_a_path_cannot_add_fields_to_a_token():
    with pytest.raises(StorageUnsupportedError, match="'~'"):
        MediaCdnTokenSigner(key=Secret(MEDIA_KEY)).sign(
            f"{URL}~Expires=9999999999", now=NOW, expires_at=LATER
        )
