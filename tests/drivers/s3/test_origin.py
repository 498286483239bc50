"""Where a bucket is, and that nothing signed goes anywhere else (P25, N21)."""

import asyncio
from urllib.parse import urlsplit

import pytest

from credstore.config.settings import MIB
from credstore.config.stores import BackblazeConfig, R2Config, S3Config, SpacesConfig, WasabiConfig
from credstore.driver import SignRequest
from credstore.drivers.s3.address import Place, corrected_place, place_of
from credstore.drivers.s3.driver import credentials_of
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError
from credstore.testing import ScriptedTransport
from credstore.wire.transport import HttpRequest
from tests.drivers.s3.fake import Answer, FakeS3, error
from tests.drivers.s3.support import Stream, make_driver, put_request

ACCOUNT = "0123456789abcdef" * 2
KEYS = {"access_key_id": "a", "secret_access_key": Secret("s")}


@pytest.mark.parametrize(
    ("config", "origin", "path", "region"),
    [
        (S3Config(bucket="box"), "https://box.s3.us-east-1.amazonaws.com", "/k%20/%C3%BC", "us-east-1"),
        (
            S3Config(bucket="box", region="eu-west-3"),
            "https://box.s3.eu-west-3.amazonaws.com",
            "/k%20/%C3%BC",
            "eu-west-3",
        ),
        (S3Config(bucket="b.c"), "https://s3.us-east-1.amazonaws.com", "/b.c/k%20/%C3%BC", "us-east-1"),
        (
            S3Config(bucket="box", region="cn-north-1"),
            "https://box.s3.cn-north-1.amazonaws.com.cn",
            "/k%20/%C3%BC",
            "cn-north-1",
        ),
        (
            R2Config(bucket="box", account_id=ACCOUNT, **KEYS),
            f"https://{ACCOUNT}.r2.cloudflarestorage.com",
            "/box/k%20/%C3%BC",
            "auto",
        ),
        (
            R2Config(bucket="box", account_id=ACCOUNT, jurisdiction="eu", **KEYS),
            f"https://{ACCOUNT}.eu.r2.cloudflarestorage.com",
            "/box/k%20/%C3%BC",
            "auto",
        ),
        (
            SpacesConfig(bucket="box", region="ams3", **KEYS),
            "https://box.ams3.digitaloceanspaces.com",
            "/k%20/%C3%BC",
            "ams3",
        ),
        (
            WasabiConfig(bucket="box", region="eu-west-1", **KEYS),
            "https://s3.eu-west-1.wasabisys.com",
            "/box/k%20/%C3%BC",
            "eu-west-1",
        ),
        (
            BackblazeConfig(bucket="box", region="eu-central-003", **KEYS),
            "https://s3.eu-central-003.backblazeb2.com",
            "/box/k%20/%C3%BC",
            "eu-central-003",
        ),
        (
            S3Config(bucket="box", endpoint="http://127.0.0.1:9", addressing="path"),
            "http://127.0.0.1:9",
            "/box/k%20/%C3%BC",
            "us-east-1",
        ),
    ],
)
def test_where_each_cloud_puts_a_bucket(config, origin, path, region):
    place = place_of(config)
    assert (place.origin, place.path("k /ü"), place.region) == (origin, path, region)
    assert place.path(None) == ("/box" if path.startswith("/box/") else "/b.c" if "b.c" in path else "/")


@pytest.mark.parametrize(
    "settings",
    [
        {"bucket": ""},
        {"endpoint": "ftp://h"},
        {"endpoint": "h"},
        {"endpoint": "https://"},
        {"endpoint": "https://user:pw@h"},
        {"endpoint": "https://h/path"},
        {"endpoint": "https://h?x=1"},
        {"endpoint": "https://h:99999"},
        {"endpoint": "http://example.com"},
        {"endpoint": "http://localhost.example.com"},
        {"endpoint": "http://169.254.169.254"},
    ],
)
def test_an_endpoint_that_cannot_be_used_is_refused(settings):
    with pytest.raises(StorageConfigurationError) as caught:
        place_of(S3Config(**{"bucket": "box", **settings}))
    assert "pw" not in str(caught.value)


def test_http_is_allowed_on_loopback_or_when_asked_for():
    for host in ("127.0.0.1:1", "localhost:1", "[::1]:1", "s3.localhost"):
        place_of(S3Config(bucket="box", endpoint=f"http://{host}"))
    place_of(S3Config(bucket="box", endpoint="http://minio:9000", allow_http=True))
    with pytest.raises(StorageConfigurationError, match="region"):
        place_of(SpacesConfig(bucket="box", **KEYS))


AWS = S3Config(bucket="box")
CHINA = S3Config(bucket="box", region="cn-north-1")
FIPS = S3Config(bucket="box", endpoint="https://s3-fips.us-east-1.amazonaws.com", **KEYS)
DUAL = S3Config(bucket="box", endpoint="https://s3.dualstack.us-east-1.amazonaws.com", **KEYS)
PRIVATE = S3Config(bucket="box", endpoint="https://bucket.vpce-1.s3.us-east-1.vpce.amazonaws.com")
OWN = S3Config(bucket="box", endpoint="http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("config", "hint", "origin"),
    [
        (AWS, "eu-west-1", "https://box.s3.eu-west-1.amazonaws.com"),
        (AWS, "us-gov-west-1", "https://box.s3.us-gov-west-1.amazonaws.com"),
        (AWS, "us-east-1", None),
        (AWS, None, None),
        (AWS, "cn-north-1", None),
        (AWS, "evil", None),
        (AWS, "eu-west-1.evil.example", None),
        (AWS, "eu-west-1/../..", None),
        (AWS, "x@evil", None),
        (CHINA, "cn-northwest-1", "https://box.s3.cn-northwest-1.amazonaws.com.cn"),
        (CHINA, "eu-west-1", None),
        (PRIVATE, "eu-west-1", None),
        (FIPS, "us-west-2", "https://box.s3-fips.us-west-2.amazonaws.com"),
        (DUAL, "eu-west-1", "https://box.s3.dualstack.eu-west-1.amazonaws.com"),
        (DUAL, "cn-north-1", None),
        (OWN, "eu-west-1", "http://127.0.0.1:1"),
    ],
)
def test_a_hint_only_ever_chooses_among_aws_hosts(config, hint, origin):
    better = corrected_place(place_of(config), config, hint)
    base = "/box" if config is OWN else ""
    assert better == (None if origin is None else Place(origin, base, hint))


class Rerouted(ScriptedTransport):
    """Sends what is for AWS to the fake, and remembers where it was for."""

    def __init__(self, fake):
        super().__init__(fake.respond)
        self.url = fake.url
        self.hosts = []

    async def send(self, request: HttpRequest, *, deadline):
        parts = urlsplit(request.url)
        self.hosts.append(parts.netloc)
        path = f"{self.url}/bucket{parts.path}" + (f"?{parts.query}" if parts.query else "")
        moved = HttpRequest(method=request.method, url=path, headers=request.headers, body=request.body)
        return await super().send(moved, deadline=deadline)


def on_aws(test):
    async def main():
        fake = FakeS3()
        http = Rerouted(fake)
        driver = make_driver(None, "bucket", transport=http)
        try:
            await test(fake, driver, http)
        finally:
            await driver.aclose()

    asyncio.run(main())


FIRST = "bucket.s3.us-east-1.amazonaws.com"
SECOND = "bucket.s3.eu-west-1.amazonaws.com"
REDIRECT = {"x-amz-bucket-region": "eu-west-1", "Location": "http://evil.example/"}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(301, b"", REDIRECT),
        Answer(307, b"", REDIRECT),
        error(301, "PermanentRedirect", Region="eu-west-1", Endpoint="evil.example"),
        error(400, "AuthorizationHeaderMalformed", Region="eu-west-1"),
        error(400, "IllegalLocationConstraintException", Region="eu-west-1"),
    ],
)
def test_n21_a_bucket_is_followed_to_its_region_once_and_remembered(answer):
    async def check(fake, driver, http):
        fake.plan("PUT", answer)
        await driver.put(put_request("k", b"x"))
        assert http.hosts == [FIRST, SECOND]
        first, second = fake.sent("PUT")
        assert "/us-east-1/s3/" in first.headers["authorization"]
        assert "/eu-west-1/s3/" in second.headers["authorization"]
        assert "location" not in {name for seen in fake.log for name in seen.headers}
        await driver.put(put_request("k2", b"x"))
        assert http.hosts[2:] == [SECOND]
        link = await driver.sign(SignRequest(key="k"))
        assert link.url.startswith(f"https://{SECOND}/k?")

    on_aws(check)


def test_n21_a_head_without_a_body_is_followed_too():
    async def check(fake, driver, http):
        await driver.put(put_request("k", b"x"))
        fake.plan("HEAD", Answer(400, b"", REDIRECT))
        assert (await driver.head("k")).size == 1
        assert http.hosts[1:] == [FIRST, SECOND]

    on_aws(check)


@pytest.mark.parametrize("answer", [Answer(301), Answer(307, b"", {"Location": "https://evil.example/k"})])
def test_n21_a_bare_redirect_says_what_to_set(answer):
    async def check(fake, driver, http):
        fake.plan("GET", answer)
        with pytest.raises(StorageConfigurationError, match="`region`") as caught:
            await driver.get("k")
        assert caught.value.code == "WRONG_REGION"
        assert http.hosts == [FIRST]

    on_aws(check)


def test_n21_a_loop_ends_after_one_correction():
    async def check(fake, driver, http):
        fake.plan("GET", Answer(301, b"", REDIRECT))
        fake.plan("GET", Answer(301, b"", {"x-amz-bucket-region": "us-east-1"}))
        with pytest.raises(StorageConfigurationError, match="us-east-1") as caught:
            await driver.get("k")
        assert type(caught.value) is StorageConfigurationError
        assert http.hosts == [FIRST, SECOND]

    on_aws(check)


def test_n21_concurrent_requests_are_corrected_together():
    async def check(fake, driver, http):
        def answer(seen):
            wrong = "/us-east-1/s3/" in seen.headers["authorization"]
            return Answer(301, b"", REDIRECT) if wrong else fake.apply(seen)

        fake.plan("PUT", answer, times=99)
        await asyncio.gather(*(driver.put(put_request(str(number), b"x")) for number in range(8)))
        assert len(fake.objects) == 8
        assert set(http.hosts) == {FIRST, SECOND}

    on_aws(check)


def test_n21_a_body_that_is_gone_is_not_sent_again():
    async def check(fake, driver, http):
        fake.plan("PUT", Answer(301, b"", REDIRECT))
        with pytest.raises(StorageConfigurationError, match="eu-west-1"):
            await driver.put(put_request("k", body=Stream(b"x" * 6 * MIB, length=6 * MIB)))
        assert [seen.method for seen in fake.log] == ["PUT"]
        await driver.put(put_request("k", b"x"))
        assert http.hosts == [FIRST, SECOND]

    async def main():
        fake = FakeS3()
        http = Rerouted(fake)
        driver = make_driver(None, "bucket", transport=http, part_size=5 * MIB, multipart_threshold=8 * MIB)
        try:
            await check(fake, driver, http)
        finally:
            await driver.aclose()

    asyncio.run(main())


def test_another_clouds_wrong_region_says_what_to_set():
    async def main():
        fake = FakeS3()
        driver = make_driver(fake.url, transport=fake.transport(), kind=WasabiConfig)
        fake.plan("GET", Answer(301, b"", {"x-amz-bucket-region": "evil"}))
        with pytest.raises(StorageConfigurationError, match="'evil'"):
            await driver.ping()
        await driver.aclose()

    asyncio.run(main())


def test_credentials_come_from_the_configuration_or_from_awss_chain_alone():
    secret = Secret("s")
    with pytest.raises(StorageConfigurationError, match="go together"):
        S3Config(bucket="box", access_key_id="a")
    with pytest.raises(StorageConfigurationError, match="go together"):
        S3Config(bucket="box", secret_access_key=secret)
    with pytest.raises(StorageConfigurationError, match="R2_ACCESS_KEY_ID"):
        R2Config(bucket="box", account_id=ACCOUNT)
    given = S3Config(bucket="box", access_key_id="a", secret_access_key=secret)
    assert type(credentials_of(given)).__name__ == "StaticCredentials"
    assert type(credentials_of(S3Config(bucket="box"))).__name__ == "AwsChainCredentials"
