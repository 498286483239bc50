"""Links of a CDN's signer: through the provider, and refused where the edge could not serve them."""

import asyncio
import base64
import gzip
import hashlib
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from credstore import (
    CallableSigner,
    CustomerKey,
    LocalConfig,
    LocalStorageProvider,
    MemoryConfig,
    MemoryStorageProvider,
    NginxSigner,
    R2Config,
    R2StorageProvider,
    S3CompatibleConfig,
    S3CompatibleStorageProvider,
    Secret,
    SpacesCdnSigner,
    SpacesConfig,
    SpacesStorageProvider,
    StorageConfigurationError,
    StorageFactory,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageUnsupportedError,
)
from tests.faults.rig import put_raw
from tests.faults.rig import run as on_origin

KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": Secret("canary-secret")}
NGINX = NginxSigner(secret=Secret("canary-nginx"))


def run(action, *, signer=NGINX, cdn_url="https://cdn.example.com/p", **settings):

    async def main():
        config = MemoryConfig(cdn_url=cdn_url, **settings)
        async with MemoryStorageProvider(config, link_signer=signer) as provider:
            await provider.store("a/ü b.json", b"{}")
            return await action(provider)

    return asyncio.run(main())


def test_the_link_leads_to_the_cdn_with_its_token():
    async def main(provider):
        before = datetime.now(UTC)
        link = await provider.get_signed_url("a/ü b.json", 600)
        parts = urlsplit(link)
        assert (parts.netloc, parts.path) == ("cdn.example.com", "/p/a/%C3%BC%20b.json")
        query = {name: value[0] for name, value in parse_qs(parts.query).items()}
        signed = f"{query['expires']}/p/a/ü b.json canary-nginx".encode()
        digest = hashlib.md5(signed, usedforsecurity=False).digest()
        assert query["md5"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert link.expires_at.timestamp() == int(query["expires"])
        assert 599 <= (link.expires_at - before).total_seconds() <= 601
        assert query["md5"] not in repr(link)

    run(main)


def test_what_the_edge_cannot_give_is_refused_by_name():
    async def main(provider):
        for options in (
            {"download_name": "x"},
            {"content_disposition": "inline"},
            {"content_type": "text/plain"},
            {"cache_control": "no-store"},
            {"version_id": "1"},
        ):
            with pytest.raises(StorageUnsupportedError, match=next(iter(options))):
                await provider.get_signed_url("a/ü b.json", **options)
        with pytest.raises(StorageNotFoundError):
            await provider.get_signed_url("nothing")
        assert await provider.get_signed_url("nothing", check=False)
        for wrong in (0, -1, 1e12, float("nan"), "sixty"):
            with pytest.raises(StorageInvalidRequestError, match="seconds"):
                await provider.get_signed_url("a/ü b.json", wrong)
        await provider.store("opaque", b"x" * 100, compress="zstd")
        with pytest.raises(StorageUnsupportedError, match="opaque"):
            await provider.get_signed_url("opaque")

    run(main)


def test_other_methods_go_to_the_store_itself():
    async def test(rig):
        await rig.store.store("k", b"{}")
        assert "X-Amz-Signature" in await rig.store.get_signed_url("k", method="DELETE")
        assert "cdn.example.com" in await rig.store.get_signed_url("k", method="HEAD")

    def with_signer(rig):
        rig.store._session.link_signer = NGINX
        return test(rig)

    on_origin(with_signer, cdn_url="https://cdn.example.com")


def test_without_a_cdn_there_is_nothing_to_sign():
    async def main(provider):
        with pytest.raises(StorageConfigurationError, match="cdn_url"):
            await provider.get_signed_url("a/ü b.json")

    run(main, cdn_url=None)


def test_gzip_of_the_original_design_cannot_be_linked_past_the_store():
    async def test(rig):

        rig.store._session.link_signer = NGINX
        put_raw(rig, gzip.compress(b"{}"), x_compression="gzip")
        with pytest.raises(StorageUnsupportedError, match="Content-Encoding"):
            await rig.store.get_signed_url("k")

    on_origin(test, cdn_url="https://cdn.example.com")


def test_objects_under_a_customers_key_have_no_links():

    async def main():
        config = S3CompatibleConfig(
            bucket="proofs",
            endpoint="https://s3.example.com",
            cdn_url="https://cdn.example.com",
            encryption=CustomerKey(b"k" * 32),
            flavor="minio",
            **KEYS,
        )
        async with S3CompatibleStorageProvider(config, link_signer=NGINX) as provider:
            with pytest.raises(StorageUnsupportedError, match="SSE-C"):
                await provider.get_signed_url("k", check=False)

    asyncio.run(main())


def test_spaces_swaps_the_host_of_its_own_presigned_link():

    async def main():
        config = SpacesConfig(bucket="proofs", region="fra1", **KEYS)
        signer = SpacesCdnSigner(space="proofs", region="fra1")
        async with SpacesStorageProvider(config, link_signer=signer) as provider:
            link = await provider.get_signed_url("k", 60, check=False)
            assert urlsplit(link).netloc == "proofs.fra1.cdn.digitaloceanspaces.com"
            assert "X-Amz-Signature" in link
            head = await provider.get_signed_url("k", 60, "HEAD", check=False)
            assert urlsplit(head).netloc == "proofs.fra1.digitaloceanspaces.com"
            with pytest.raises(StorageInvalidRequestError, match="7 days"):
                await provider.get_signed_url("k", 8 * 86400, check=False)

    asyncio.run(main())


def test_an_r2_link_never_uses_the_custom_domain():

    async def main():
        config = R2Config(bucket="proofs", account_id="0" * 32, cdn_url="https://proofs.example.com", **KEYS)
        async with R2StorageProvider(config) as provider:
            link = await provider.get_signed_url("k", check=False)
            assert urlsplit(link).netloc.endswith(".r2.cloudflarestorage.com")

    asyncio.run(main())


@pytest.mark.parametrize("awaitable", [False, True])
def test_a_function_of_the_users_own(awaitable):
    seen = []

    def sign(url, expires_at):
        seen.append((url, expires_at))
        return url + "?token=1"

    async def sign_later(url, expires_at):
        return sign(url, expires_at)

    signer = CallableSigner(function=sign_later if awaitable else sign)

    async def main(provider):
        link = await provider.get_signed_url("a/ü b.json", 60)
        assert link == seen[0][0] + "?token=1"
        assert link.expires_at == seen[0][1]

    run(main, signer=signer)


def test_what_it_raises_is_the_callers():
    class Mine(Exception):
        pass

    def sign(_url, _expires_at):
        raise Mine

    async def main(provider):
        with pytest.raises(Mine):
            await provider.get_signed_url("a/ü b.json")

    run(main, signer=CallableSigner(function=sign))


def test_a_factory_gives_its_signer_to_all():

    async def main():
        factory = StorageFactory(link_signer=NGINX)
        store = factory.create(MemoryConfig(cdn_url="https://cdn.example.com"))
        await store.store("k", b"{}")
        assert "md5=" in await store.get_signed_url("k")
        await factory.aclose()

    asyncio.run(main())


def test_a_local_store_with_a_cdn_in_front(tmp_path):

    async def main():
        config = LocalConfig(path=str(tmp_path), cdn_url="http://127.0.0.1:8080")
        async with LocalStorageProvider(config, link_signer=NGINX) as store:
            await store.store("k", b"{}", compress="gzip")
            assert (await store.get_signed_url("k")).startswith("http://127.0.0.1:8080/k?")

    asyncio.run(main())
