"""Links as people open them: nginx's secure_link, presigned links and our own edge, by curl and Chromium."""

import asyncio
import gzip
import time
from pathlib import Path

import pytest

from credstore import (
    LocalConfig,
    LocalStorageProvider,
    NginxSigner,
    S3CompatibleConfig,
    S3CompatibleStorageProvider,
    Secret,
)
from credstore.cli.demo.samples import sample_records
from credstore.edge.server import listen
from tests.conftest import S3Server
from tests.edge.programs import curl, running_nginx, saved_by_chromium, shown_by_chromium, status
from tests.edge.support import served

pytestmark = pytest.mark.system
RECORD = sample_records()[0].content
NAME = "Beweis Ä – 証明.json"
SECRET = "a secret of nginx"


def on_moto(server: S3Server) -> S3CompatibleStorageProvider:
    return S3CompatibleStorageProvider(
        S3CompatibleConfig(
            bucket=server.bucket,
            endpoint=server.url,
            access_key_id="AKIDEXAMPLE",
            secret_access_key=Secret("example"),
            flavor="minio",
        )
    )


@pytest.fixture
def play_nginx(tmp_path: Path):
    """Runs a scene against nginx over a local store."""

    def play(scene) -> None:
        place = tmp_path / "nginx"
        place.mkdir()
        listener = listen("127.0.0.1", 0)
        cdn_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        signer = NginxSigner(secret=Secret(SECRET))
        config = LocalConfig(path=tmp_path / "store", cdn_url=cdn_url)

        async def work() -> None:
            async with LocalStorageProvider(config, link_signer=signer) as store:
                await scene(store, signer)

        (tmp_path / "store").mkdir()
        with running_nginx(tmp_path / "store", place, SECRET, listener):
            asyncio.run(work())

    return play


@pytest.mark.parametrize("key", ["proofs/a.json", "proofs/Prüfung ß/証明 + 100%.json", "a b~!'()*;=@&.json"])
def test_nginx_honours_a_signed_link(play_nginx, key: str) -> None:
    async def scene(store, signer) -> None:
        await store.store(key, RECORD)
        link = str(await store.get_signed_url(key, 600))
        assert await asyncio.to_thread(curl, "--fail", link) == RECORD

    play_nginx(scene)


def test_nginx_gives_a_gzip_proof(play_nginx) -> None:
    async def scene(store, signer) -> None:
        await store.store("gzip/ä.json", RECORD, compress="gzip")
        link = str(await store.get_signed_url("gzip/ä.json", 600))
        assert await asyncio.to_thread(curl, "--fail", "--compressed", link) == RECORD
        stored = await asyncio.to_thread(curl, "--fail", link)
        assert (len(stored) < len(RECORD), gzip.decompress(stored)) == (True, RECORD)

    play_nginx(scene)


def test_nginx_refuses_every_other_link(play_nginx) -> None:
    async def scene(store, signer) -> None:
        await store.store("a.json", RECORD)
        await store.store("b.json", RECORD)
        link = str(await store.get_signed_url("a.json", 600))
        now = int(time.time())
        expired = signer.sign(store.get_url("a.json"), now=now - 600, expires_at=now - 1)
        expires = link.partition("&expires=")[2]
        refused = {
            "nothing": (store.get_url("a.json"), 403),
            "another path": (link.replace("/a.json", "/b.json"), 403),
            "longer life": (link.replace(f"expires={expires}", f"expires={int(expires) + 1}"), 403),
            "no expiry": (link.partition("&expires=")[0], 403),
            "another digest": (link.replace("md5=", "md5=A"), 403),
            "expired": (expired, 410),
            "expired, with a new end": (expired.replace(f"={now - 1}", f"={now + 60}"), 403),
            "the secret of the store's own links": (
                store.get_url("x").removesuffix("x") + ".credstore/link-secret",
                404,
            ),
            "a listing": (store.get_url("x").removesuffix("x"), 403),
        }
        for name, (url, wanted) in refused.items():
            assert await asyncio.to_thread(status, url) == wanted, name
        assert await asyncio.to_thread(status, link) == 200

    play_nginx(scene)


@pytest.mark.parametrize("key", ["proofs/a.json", "proofs/Prüfung ß/証明 + 100%.json", "a b~!'()*;=@&.json"])
def test_curl_opens_a_presigned_link(s3_server: S3Server, key: str) -> None:
    async def main() -> None:
        async with on_moto(s3_server) as store:
            await store.store(key, RECORD, compress="gzip")
            link = str(await store.get_signed_url(key, 600))
            assert await asyncio.to_thread(curl, "--fail", "--compressed", link) == RECORD

    asyncio.run(main())


@pytest.mark.parametrize("compress", [False, "gzip", "zstd"])
def test_curl_opens_a_link_of_our_edge(tmp_path: Path, compress) -> None:
    async def main() -> None:
        async with served(tmp_path / "store") as (store, _):
            await store.store("Prüfung/証明 + 100%.json", RECORD, compress=compress)
            link = str(await store.get_signed_url("Prüfung/証明 + 100%.json"))
            for arguments in ((), ("--compressed",)):
                assert await asyncio.to_thread(curl, "--fail", *arguments, link) == RECORD
            part = await asyncio.to_thread(curl, "--fail", "--range", "10-99", link)
            assert part == RECORD[10:100]
            (tmp_path / "part").write_bytes(RECORD[:500])
            await asyncio.to_thread(curl, "--fail", "-C", "-", "-o", "part", link, cwd=tmp_path)
            assert (tmp_path / "part").read_bytes() == RECORD
            assert await asyncio.to_thread(status, link.replace("expires=1", "expires=2")) == 403

    asyncio.run(main())


def test_curl_saves_under_the_name_for_old_readers(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(None) as (store, _):
            await store.store("a.json", RECORD)
            link = str(await store.get_signed_url("a.json", download_name=NAME))
            await asyncio.to_thread(curl, "--fail", "-OJ", link, cwd=tmp_path)
            (saved,) = tmp_path.iterdir()
            assert saved.read_bytes() == RECORD
            # curl reads only the plain parameter, or with newer versions both.
            assert saved.name in {"Beweis _ _ __.json", NAME}

    asyncio.run(main())


@pytest.mark.parametrize("compress", ["gzip", "zstd", False])
def test_chromium_shows_a_proof_of_our_edge(tmp_path: Path, compress) -> None:
    async def main() -> None:
        async with served(tmp_path / "store") as (store, _):
            await store.store("証明/ä.json", RECORD, compress=compress)
            link = str(await store.get_signed_url("証明/ä.json"))
            assert RECORD.decode() in await asyncio.to_thread(shown_by_chromium, link, tmp_path / "profile")

    asyncio.run(main())


def test_chromium_shows_a_proof_by_its_presigned_link(s3_server: S3Server, tmp_path: Path) -> None:
    async def main() -> None:
        async with on_moto(s3_server) as store:
            await store.store("証明/ä.json", RECORD, compress="gzip")
            link = str(await store.get_signed_url("証明/ä.json", 600))
            assert RECORD.decode() in await asyncio.to_thread(shown_by_chromium, link, tmp_path / "profile")

    asyncio.run(main())


@pytest.mark.parametrize("place", ["our edge", "presigned"])
def test_chromium_saves_under_any_name(s3_server: S3Server, tmp_path: Path, place: str) -> None:
    into = tmp_path / "downloads"
    into.mkdir()

    async def save(store) -> None:
        await store.store("a.json", RECORD, compress="gzip")
        link = str(await store.get_signed_url("a.json", 600, download_name=NAME))
        assert await saved_by_chromium(link, tmp_path / "profile", into) == NAME
        assert (into / NAME).read_bytes() == RECORD

    async def main() -> None:
        if place == "presigned":
            async with on_moto(s3_server) as store:
                await save(store)
        else:
            async with served(None) as (store, _):
                await save(store)

    asyncio.run(main())
