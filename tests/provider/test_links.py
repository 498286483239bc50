"""Temporary links: never one that cannot work, and what they say of themselves."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from credstore import (
    LinkGrant,
    LocalConfig,
    LocalStorageProvider,
    S3CompatibleConfig,
    S3CompatibleStorageProvider,
    Secret,
    StorageAccessDeniedError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageUnsupportedError,
)
from credstore.provider.links import disposition
from tests.provider.support import Spy, run

SECRET = "canary-secret"


def on_disk(tmp_path, action, **settings):
    import asyncio

    async def main():
        async with LocalStorageProvider(LocalConfig(path=str(tmp_path), **settings)) as provider:
            return await action(provider)

    return asyncio.run(main())


def signing(action, **settings):
    """On a cloud nobody asks: links are made without a request."""
    import asyncio

    config = S3CompatibleConfig(
        bucket="proofs",
        endpoint="https://s3.example.com",
        access_key_id="AKIDEXAMPLE",
        secret_access_key=Secret(SECRET),
        flavor="minio",
        **settings,
    )

    async def main():
        async with S3CompatibleStorageProvider(config) as provider:
            return await action(provider)

    return asyncio.run(main())


def test_a_link_works_and_ends(tmp_path):
    async def main(provider):
        await provider.store("a/é b.json", b"{}")
        link = await provider.get_signed_url("a/é b.json", 60)
        assert link.method == "GET"
        assert timedelta(seconds=55) < link.expires_at - datetime.now(UTC) <= timedelta(seconds=60)
        parts = urlsplit(link)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert provider.verify_link("GET", parts.path, query) == LinkGrant("a/é b.json", {}, link.expires_at)
        for method, path, changed in (
            ("PUT", parts.path, query),
            ("GET", parts.path + "x", query),
            ("GET", parts.path, {**query, "expires": str(int(query["expires"]) + 1)}),
        ):
            with pytest.raises(StorageAccessDeniedError):
                provider.verify_link(method, path, changed)

    on_disk(tmp_path, main)


def test_a_link_to_nothing_is_refused(tmp_path):
    async def main(provider):
        with pytest.raises(StorageNotFoundError):
            await provider.get_signed_url("absent")
        assert await provider.get_signed_url("absent", check=False)

    on_disk(tmp_path, main)


class Bare(Spy):
    """A driver whose links give the stored bytes, as those of clouds do."""

    @property
    def capabilities(self):
        return replace(super().capabilities, links_decode=False)


def test_a_link_to_what_a_browser_cannot_read_is_refused():
    async def main(provider):
        await provider.store("zst", b"proof" * 99, compress="zstd")
        await provider.store("gz", b"proof" * 99, compress="gzip")
        for method in ("GET", "HEAD"):
            with pytest.raises(StorageUnsupportedError, match="compress='gzip'"):
                await provider.get_signed_url("zst", method=method)
            assert await provider.get_signed_url("gz", method=method)

    run(main, Bare())


def test_links_that_decode_lead_to_opaque_objects_too(tmp_path):
    async def main(provider):
        assert provider.capabilities.links_decode
        await provider.store("zst", b"proof" * 99, compress="zstd")
        for method in ("GET", "HEAD"):
            assert "encoding" not in await provider.get_signed_url("zst", method=method)

    on_disk(tmp_path, main)
    run(main)


@pytest.mark.parametrize("seconds", [0, -1, 604_801, float("nan"), float("inf")])
def test_a_lifetime_out_of_range_is_refused(seconds):
    async def main(provider):
        with pytest.raises(StorageInvalidRequestError, match="7 days"):
            await provider.get_signed_url("key", seconds, check=False)

    signing(main)


def test_every_method_of_a_cloud():
    async def main(provider):
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            link = await provider.get_signed_url("key", 60, method, check=False)
            assert link.method == method
            assert link.startswith("https://s3.example.com/proofs/key?")
            assert SECRET not in link
            assert "X-Amz-Signature" not in repr(link)

    signing(main)


def test_a_put_link_past_the_pipeline_is_refused():
    async def main(provider):
        with pytest.raises(StorageUnsupportedError, match="compress=False"):
            await provider.get_signed_url("key", method="PUT")

    signing(main, compress="gzip")


def test_a_put_link_tells_what_to_send():
    async def main(provider):
        link = await provider.get_signed_url("key", method="PUT", content_type="image/png")
        assert link.headers["content-type"] == "image/png"
        assert "content-type" in parse_qs(urlsplit(link).query)["X-Amz-SignedHeaders"][0]

    signing(main)


def test_headers_of_the_answer_are_signed_in():
    async def main(provider):
        link = await provider.get_signed_url(
            "key", check=False, content_type="text/plain", cache_control="no-store", download_name="a.txt"
        )
        query = parse_qs(urlsplit(link).query)
        assert query["response-content-type"] == ["text/plain"]
        assert query["response-cache-control"] == ["no-store"]
        assert query["response-content-disposition"][0].startswith("attachment; filename=")

    signing(main)


@pytest.mark.parametrize(
    "options",
    [{"download": "x"}, {"download_name": "a\r\nb"}, {"content_type": "a\nb"}, {"content_disposition": "\0"}],
)
def test_a_wrong_option_is_refused(options):
    async def main(provider):
        with pytest.raises(StorageInvalidRequestError):
            await provider.get_signed_url("key", check=False, **options)

    signing(main)


@pytest.mark.parametrize(
    "name", ["plain.txt", "Übersicht.pdf", 'quo"te\\.txt', "日本 語.json", "100%.txt", "a;b=c"]
)
def test_a_download_name_is_read_back(name):
    """By RFC 6266 `filename*` wins where it is there, as browsers do."""
    header = disposition(name)
    assert header.isascii()
    extended = re.search(r"filename\*=UTF-8''([^;]+)", header)
    plain = re.search(r'filename="([^"]*)"', header)
    assert (unquote(extended[1]) if extended else plain[1]) == name


def test_links_of_a_memory_store_are_of_its_objects():
    from credstore.drivers.memory import MemoryObjects

    shared = MemoryObjects()

    async def main(provider):
        await provider.store("key", b"1")
        return str(await provider.get_signed_url("key", content_type="text/x"))

    link = urlsplit(run(main, Spy(shared)))
    query = {name: values[0] for name, values in parse_qs(link.query).items()}

    async def same(provider):
        grant = provider.verify_link("GET", link.path, query)
        assert (grant.key, grant.overrides) == ("key", {"content-type": "text/x"})

    async def another(provider):
        with pytest.raises(StorageAccessDeniedError):
            provider.verify_link("GET", link.path, query)

    run(same, Spy(shared))
    run(another, Spy())
    assert shared.link_secret.hex() not in repr(shared)
    assert repr(shared.link_secret) not in repr(shared)


def test_a_memory_store_has_no_links_to_versions_and_none_that_write():
    async def main(provider):
        with pytest.raises(StorageUnsupportedError, match="versions"):
            await provider.get_signed_url("key", version_id="1", check=False)
        with pytest.raises(StorageUnsupportedError, match="GET, HEAD"):
            await provider.get_signed_url("key", method="PUT")

    run(main)


def test_the_public_url_is_no_secret(tmp_path):
    async def main(provider):
        assert provider.get_url("a b/é") == "https://cdn.example.com/p/a%20b/%C3%A9"
        assert (await provider.store("k", b"1")).url == "https://cdn.example.com/p/k"

    on_disk(tmp_path, main, cdn_url="https://cdn.example.com/p/")
