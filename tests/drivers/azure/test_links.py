"""Links: by the account's key, by a user delegation key, and none from a signature."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from credstore.driver.values import SignRequest
from credstore.encryption import Secret
from credstore.errors import StorageInvalidRequestError, StorageUnsupportedError
from tests.drivers.azure.fake import FakeAzure, refusal
from tests.drivers.azure.opening import open_link
from tests.drivers.azure.test_faults import run
from tests.drivers.azure.test_secrets import SAS, Tokens

LOGIN = {"auth_mode": "login"}


def told(link):
    return dict(parse_qsl(urlsplit(link.url).query))


def test_a_user_delegation_key_is_asked_for_once_and_again_for_a_link_that_outlives_it():
    async def check(fake, driver):
        links = await asyncio.gather(*(driver.sign(SignRequest(key=f"k{n}")) for n in range(4)))
        assert len(fake.sent) == 1
        assert {told(link)["skoid"] for link in links} == {"oid"}
        assert all(link.url.startswith("https://acme.blob.core.windows.net/proofs/k") for link in links)
        longest = await driver.sign(SignRequest(key="k", expires_in=604_800))
        # No link lasts longer than the key that it is made with.
        assert longest.expires_at == datetime.fromisoformat(told(longest)["ske"])
        assert told(longest)["se"] == told(longest)["ske"]
        now = driver._clock()
        for days, seconds, asked in ((3, 3600, 1), (6, 2 * 86_400, 2), (6.5, 3600, 2)):
            driver._clock = lambda days=days: now + days * 86_400
            await driver.sign(SignRequest(key="k", expires_in=seconds))
            assert len(fake.sent) == asked

    run(check, tokens=Tokens(), **LOGIN)


def test_who_may_not_delegate_learns_so():
    async def check(fake, driver):
        fake.faults.append(lambda sent, serve: refusal(403, "AuthorizationPermissionMismatch"))
        with pytest.raises(PermissionError, match="role assignments"):
            await driver.sign(SignRequest(key="k"))

    run(check, tokens=Tokens(), **LOGIN)


def test_what_a_link_can_impose_and_for_how_long():
    async def check(fake, driver):
        link = await driver.sign(
            SignRequest(
                key="a b/é", expires_in=60, overrides={"content-type": "text/plain"}, version_id="2026"
            )
        )
        assert link.url.startswith("https://acme.blob.core.windows.net/proofs/a%20b/%C3%A9?versionid=2026&")
        assert (told(link)["rsct"], told(link)["sr"], told(link)["sp"]) == ("text/plain", "bv", "r")
        assert timedelta(seconds=55) < link.expires_at - datetime.now(UTC) <= timedelta(seconds=60)
        put = await driver.sign(SignRequest(key="k", method="PUT", headers={"content-type": "image/png"}))
        assert dict(put.headers) == {"x-ms-blob-type": "BlockBlob", "content-type": "image/png"}
        for wrong in (
            SignRequest(key="k", overrides={"expires": "x"}),
            SignRequest(key="k", expires_in=604_801),
            SignRequest(key="k", expires_in=0.5),
        ):
            with pytest.raises(StorageInvalidRequestError):
                await driver.sign(wrong)
        assert not fake.sent

    run(check)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_a_link_opens_for_its_method_only_until_its_end_and_as_it_was_signed(method):
    """So that the fake opens no link that Azure would not."""

    async def check(fake, driver):
        fake.put("a b/é", b"data")
        request = SignRequest(key="a b/é", method=method, expires_in=60)
        link = await driver.sign(request)
        wrong = [
            replace(link, url=link.url.replace("a%20b", "other")),
            replace(link, url=link.url.replace(f"sp={told(link)['sp']}", "sp=racwd")),
            replace(link, url=f"{link.url}&rscd=inline"),
            replace(link, method="DELETE" if method != "DELETE" else "GET"),
        ]
        for each in wrong:
            assert (await open_link(fake, each, b"x")).status == 403
        assert (await open_link(fake, link, b"x")).status in {200, 201, 202}
        fake.clock += timedelta(seconds=61)
        assert (await open_link(fake, link, b"x")).status == 403

    run(check)


def test_a_link_to_a_version_opens_that_version():
    async def check(fake, driver):
        first, _ = fake.put("k", b"one"), fake.put("k", b"two")
        link = await driver.sign(SignRequest(key="k", version_id=first.version_id))
        assert (await open_link(fake, link, None)).body == b"one"
        other = replace(link, url=link.url.replace("versionid=2", "versionid=3"))
        assert (await open_link(fake, other, None)).status == 403

    run(check, FakeAzure(versions=True))


def test_a_signature_makes_no_links():
    async def check(fake, driver):
        assert driver.capabilities.presign == frozenset()
        with pytest.raises(StorageUnsupportedError):
            await driver.sign(SignRequest(key="k"))

    run(check, FakeAzure(), sas_token=Secret(SAS))
