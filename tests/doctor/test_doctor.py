"""The doctor at stores that work, and at each that is broken in one way: what it finds, and the cure it names."""

import asyncio
import re
import socket
import time

import pytest

import credstore
from credstore import LocalConfig, S3CompatibleConfig, Secret, StorageFactory, serve_links
from credstore.config.registry import Registry
from credstore.doctor import Examination, Source, settings_of
from credstore.doctor.findings import CURES
from credstore.doctor.permissions import cure_of
from tests.faults.certificates import make_server
from tests.faults.messages import error as refused
from tests.faults.origin import Origin
from tests.faults.script import Respond
from tests.faults.signatures import Account
from tests.servers.gcs_emulator import running_emulator

KEY_ID, SECRET = "AKIDEXAMPLE0", "canary-secret-value"


def examined(provider, **options):
    """Findings by check."""

    async def main():
        async with provider:
            return await gathered(provider, **options)

    return asyncio.run(main())


async def gathered(provider, **options):
    return {each.check: each async for each in Examination(provider, **options).findings()}


def states(found):
    return {check: each.state for check, each in found.items()}


def config_for(url, **changes):
    return S3CompatibleConfig(
        **{
            "bucket": "proofs",
            "endpoint": url,
            "access_key_id": KEY_ID,
            "secret_access_key": Secret(SECRET),
            "max_retries": 0,
            **changes,
        }
    )


def at_origin(prepare=None, *, changes=None, options=None, **settings):
    """What is found at an origin that checks signatures."""

    async def main():
        async with Origin(**settings) as origin:
            origin.store.buckets["proofs"] = {}
            origin.allow(Account(KEY_ID, SECRET))
            if prepare is not None:
                prepare(origin)
            async with StorageFactory(environ={}) as factory:
                provider = factory.create(config_for(origin.url, **(changes or {})))
                found = await gathered(provider, **(options or {}))
            assert origin.store.buckets.get("proofs", {}) == {}, "something is left of the trial"
            return found

    return asyncio.run(main())


EVERYTHING = {
    "name", "connection", "clock", "credentials", "bucket", "may list", "may store", "may look up", "may read",
    "may copy", "link", "may delete",
}  # fmt: skip


def test_a_store_that_works_is_found_to():
    found = at_origin()
    assert set(found) == EVERYTHING
    assert set(states(found).values()) == {"ok"}
    assert found["credentials"].detail == "accepted: the key AKID…PLE0"
    assert not any(each.cure for each in found.values())


def deny(name, status=403, **match):
    return lambda origin: origin.plan(
        "before-apply", Respond(lambda _: refused(status, name)), times=None, **match
    )


def test_a_wrong_secret():
    found = at_origin(changes={"secret_access_key": Secret("canary-other")})
    assert found["credentials"].state == "failed"
    assert found["credentials"].code == "AUTHENTICATION_FAILED"
    assert "make a new key at the provider" in found["credentials"].cure
    assert found["permissions"].state == "not tried"
    assert "may store" not in found


def test_an_unknown_key():
    found = at_origin(changes={"access_key_id": "AKIDOTHER"})
    assert (found["credentials"].state, found["credentials"].code) == ("failed", "AUTHENTICATION_FAILED")


def test_an_absent_bucket():
    found = at_origin(lambda origin: origin.store.buckets.clear())
    assert states(found)["credentials"] == "ok"
    assert (found["bucket"].state, found["bucket"].code) == ("failed", "BUCKET_NOT_FOUND")
    assert "check the bucket's name" in found["bucket"].cure


@pytest.mark.parametrize(("off", "state"), [(0, "ok"), (300, "warning"), (-300, "warning"), (3600, "failed")])
def test_a_clock_that_is_wrong(off, state):
    found = at_origin(options={"clock": lambda: time.time() + off})
    assert found["clock"].state == state
    if off:
        way = "ahead of" if off > 0 else "behind"
        assert re.search(rf"clock is [\d,]+ s {way} the endpoint's", found["clock"].detail)
        assert "timedatectl" in found["clock"].cure


def test_a_listing_that_is_denied_is_no_reason_to_stop():
    found = at_origin(deny("AccessDenied", operation="ListObjectsV2"))
    assert states(found)["credentials"] == "ok"
    assert found["may list"].state == "failed"
    assert "s3:ListBucket" in found["may list"].cure
    assert found["may store"].state == "ok"


def test_writing_that_is_denied():
    found = at_origin(deny("AccessDenied", operation="PutObject"))
    assert found["may store"].state == "failed"
    assert "s3:PutObject" in found["may store"].cure
    assert "may delete" not in found


def test_a_server_that_is_not_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = examined(StorageFactory(environ={}).create(config_for(f"http://127.0.0.1:{port}")))
    assert (found["connection"].state, found["connection"].code) == ("failed", "CONNECTION_FAILED")
    assert found["bucket"].state == "not tried"


def test_a_name_that_does_not_exist():
    found = examined(StorageFactory(environ={}).create(config_for("https://no-such-host.invalid")))
    assert (found["name"].state, found["name"].code) == ("failed", "NAME_NOT_FOUND")
    assert "whether this machine has a network" in found["name"].cure


def test_a_certificate_that_is_not_trusted(tmp_path):
    server, _ = make_server(tmp_path)
    found = at_origin(tls=server)
    assert (found["connection"].state, found["connection"].code) == ("failed", "TLS")
    assert "CREDSTORE_CA_FILE" in found["connection"].cure


def test_a_web_server_is_no_object_store(tmp_path):
    async def page(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>"
        )
        await writer.drain()
        writer.close()

    async def main():
        async with await asyncio.start_server(page, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with credstore.connect(config_for(f"http://127.0.0.1:{port}")) as store:
                return await gathered(store)

    found = asyncio.run(main())
    assert found["bucket"].state == "failed"
    assert "not an object store" in found["bucket"].cure


def test_a_folder_and_its_links(tmp_path):
    async def main():
        async with credstore.connect(tmp_path / "store") as store:
            without = await gathered(store)
            async with serve_links(store):
                return without, await gathered(store)

    without, served = asyncio.run(main())
    assert {**states(without), "link": "ok"} == states(served)
    assert set(states(served).values()) == {"ok"}
    assert without["link"].state == "not tried"
    assert "credstore serve" in without["link"].cure
    assert not [each for each in (tmp_path / "store").iterdir() if each.is_file()]


def test_a_folder_that_is_missing_is_not_made(tmp_path):
    found = examined(StorageFactory(environ={}).create(LocalConfig(tmp_path / "none", create=False)))
    assert found["bucket"].state == "failed"
    assert "make the folder" in found["bucket"].cure
    assert not (tmp_path / "none").exists()


def test_nothing_is_stored_where_nothing_may_be(tmp_path):
    for config, options in (
        (LocalConfig(tmp_path, read_only=True), {}),
        (LocalConfig(tmp_path), {"writing": False}),
    ):
        found = examined(StorageFactory(environ={}).create(config), **options)
        assert found["may store"].state == "not tried"
    assert list(tmp_path.iterdir()) == []


def test_google_s_emulator_works():
    with running_emulator() as server:
        config = credstore.GcsConfig(server.make_bucket(), emulator_host=server.url, auth_mode="anonymous")
        found = examined(StorageFactory(environ={}).create(config))
    assert states(found)["may delete"] == states(found)["may read"] == "ok"


def test_where_settings_come_from(tmp_path):
    environ = {"CREDSTORE_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
    config = StorageFactory(environ=environ).configure("s3://proofs/team?timeout=5s")
    source = Source("given", environ, frozenset({"AWS_ACCESS_KEY_ID"}), ".env")
    found = {each.check: each.detail for each in settings_of(config, Registry(), source)}
    assert found["provider"] == "s3 (given)"
    assert found["bucket"] == "proofs (given)"
    assert found["prefix"] == "team/ (given)"
    assert found["timeout"] == "5.0 (given)"
    assert found["access_key_id"] == "AKID…PLE0 (AWS_ACCESS_KEY_ID in .env)"
    assert found["secret_access_key"] == "set, not shown (AWS_SECRET_ACCESS_KEY)"
    assert SECRET not in repr(found) + repr(source)


def test_every_cure_is_of_a_code_and_every_cloud_has_its_permissions():
    assert set(CURES) <= set(credstore.ErrorCode)
    for config in (LocalConfig("x"), config_for("https://s3.example"), credstore.GcsConfig("proofs")):
        for verb in ("list", "store", "get_metadata", "retrieve", "copy", "delete", "link"):
            assert cure_of(verb, config).startswith("it needs ")
