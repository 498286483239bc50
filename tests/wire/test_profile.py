"""Where a profile leads is what botocore's own client would do, and its keys go nowhere else."""

import asyncio
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from botocore.session import Session
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from credstore.config.chained import located, located_once
from credstore.config.environ import from_env
from credstore.config.mapping import from_mapping
from credstore.config.stores import S3Config
from credstore.config.url import from_url
from credstore.driver import SignRequest
from credstore.drivers.s3.address import corrected_place, place_of
from credstore.drivers.s3.driver import S3Driver
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError
from credstore.factory import StorageFactory
from credstore.provider.presets import S3StorageProvider
from credstore.provider.provider import StorageProvider
from credstore.testing import ScriptedAnswer, ScriptedTransport
from tests.drivers.s3.support import xml_error
from tests.faults.certificates import make_server
from tests.faults.origin import Origin

CANARY = "canary-secret"


@pytest.fixture(autouse=True, scope="module")
def _less_log():
    """Its debug log of a thousand examples is most of the time of this file."""
    logger = logging.getLogger("botocore")
    before = logger.level
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(before)


KEYS = f"aws_access_key_id = AKIDFILE\naws_secret_access_key = {CANARY}\n"
OWN = {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": CANARY}
"""Keys of the environment, in AWS's own variables."""
EMPTY = b'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'


@pytest.fixture(autouse=True)
def files(monkeypatch, tmp_path):
    """Nothing of AWS's but what a test gives; the directory of its files."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


ENDPOINTS = ["http://127.0.0.1:9000", "https://s3.corp.example", "https://s3.corp.example:8443/"]
REGIONS = ["eu-west-1", "us-east-1", "cn-north-1", "us-gov-west-1"]
FLAG = st.sampled_from(["true", "false"])


def lines(**choices):
    """Settings of a section, each there or not."""
    held = {name: st.none() | values for name, values in choices.items()}
    return st.fixed_dictionaries(held).map(lambda found: {k: v for k, v in found.items() if v is not None})


PLAIN = lines(
    endpoint_url=st.sampled_from(ENDPOINTS),
    region=st.sampled_from(REGIONS),
    use_fips_endpoint=FLAG,
    use_dualstack_endpoint=FLAG,
    ignore_configured_endpoint_urls=FLAG,
    services=st.just("places"),
)
OF_S3 = lines(
    addressing_style=st.sampled_from(["path", "virtual", "auto"]),
    use_dualstack_endpoint=FLAG,
    us_east_1_regional_endpoint=st.sampled_from(["regional", "legacy"]),
)
VARIABLES = lines(
    AWS_PROFILE=st.sampled_from(["corp", "other"]),
    AWS_DEFAULT_PROFILE=st.sampled_from(["corp", "other"]),
    AWS_DEFAULT_REGION=st.sampled_from(REGIONS),
    AWS_ENDPOINT_URL=st.sampled_from(["https://all.env.example"]),
    AWS_ENDPOINT_URL_S3=st.sampled_from(["https://s3.env.example"]),
    AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=FLAG,
    AWS_USE_FIPS_ENDPOINT=FLAG,
    AWS_USE_DUALSTACK_ENDPOINT=FLAG,
)
GIVEN = lines(
    profile=st.sampled_from(["corp", "other"]),
    region=st.sampled_from(REGIONS[:3]),
    endpoint=st.just("https://given.example"),
    addressing=st.sampled_from(["path", "virtual"]),
)


def section(name, plain, of_s3):
    text = f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in plain.items())
    return text + ("s3 =\n" + "".join(f"  {k} = {v}\n" for k, v in of_s3.items()) if of_s3 else "")


def clients_place(bucket, chosen):
    """Origin and path of an object, and region, by a link that botocore's client signs."""
    style = {"addressing_style": chosen["addressing"]} if "addressing" in chosen else {}
    if chosen.get("accelerate"):
        style["use_accelerate_endpoint"] = True
    client = Session(profile=chosen.get("profile")).create_client(
        "s3",
        region_name=chosen.get("region"),
        endpoint_url=chosen.get("endpoint"),
        aws_access_key_id="AKID",
        aws_secret_access_key="unused",
        config=Config(
            signature_version="s3v4",
            s3=style,
            use_dualstack_endpoint=chosen.get("dual_stack") or None,
            use_fips_endpoint=chosen.get("fips") or None,
        ),
    )
    sent = []

    def stop(request, **_):
        sent.append(request)
        raise InterruptedError

    client.meta.events.register("before-send.s3", stop)
    with pytest.raises(InterruptedError):
        client.head_object(Bucket=bucket, Key="key")
    parts = urlsplit(sent[0].url)
    scope = sent[0].headers["Authorization"].decode().partition("Credential=AKID/")[2]
    return f"{parts.scheme}://{parts.netloc}", parts.path, scope.split("/")[1]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(PLAIN, OF_S3, PLAIN, OF_S3),
    lines(endpoint_url=st.just("https://services.example")),
    st.tuples(VARIABLES, st.sampled_from([{}, OWN])),
    GIVEN,
    st.sampled_from(["box", "box.with.dots"]),
)
@example(  # A variable is weaker than the `s3` section.
    ({}, {"use_dualstack_endpoint": "true"}, {}, {}),
    {},
    ({"AWS_DEFAULT_PROFILE": "corp", "AWS_USE_DUALSTACK_ENDPOINT": "false"}, OWN),
    {},
    "box",
)
def test_the_place_is_the_one_of_botocores_client(profiles, services, variables, chosen, bucket):
    # With TLS, botocore takes such a bucket for the path all the same.
    assume("." not in bucket or chosen.get("addressing") != "virtual")
    file = Path(os.environ["AWS_CONFIG_FILE"])
    file.write_text(
        section("profile corp", *profiles[:2])
        + section("profile other", *profiles[2:])
        + "[services places]\n"
        + "s3 =\n  signature = none\n"
        + "".join(f"  {key} = {value}\n" for key, value in services.items())
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (variables[0] | variables[1]).items():
            patch.setenv(name, value)
        url = f"s3://{bucket}?" + "&".join(f"{name}={value}" for name, value in chosen.items())
        url = url.rstrip("?")
        try:
            expected = clients_place(bucket, chosen)
        except Exception:  # Of botocore, such as FIPS where there is none.
            with pytest.raises(StorageConfigurationError):
                located(S3Config(bucket=bucket, **chosen))
            with pytest.raises(StorageConfigurationError):
                located(from_url(url, os.environ))
            return
        config = S3Config(bucket=bucket, **chosen)
        if not config.place_is_open:  # All is given, and botocore has no say.
            expected = ("https://given.example", f"/{bucket}/key", chosen["region"])
            if chosen["addressing"] == "virtual":
                expected = (f"https://{bucket}.given.example", "/key", chosen["region"])
        place = place_of(located(config) if config.place_is_open else config)
        # By way of the environment it comes to the same.
        read = from_url(url, os.environ)
        # Keys of the environment are found at once, unless the call names a profile.
        assert (read.access_key_id is None) is (not variables[1] or "profile" in chosen)
        same = place_of(located(read) if read.place_is_open else read)
    assert (place.origin, place.path("key"), place.region) == expected
    assert same == place


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(["accelerate", "dual_stack", "fips"], st.just(True))),
    st.sampled_from([*REGIONS, "us-west-2", "ap-southeast-4", "us-gov-east-1", "cn-northwest-1"]),
    st.sampled_from(["box", "box.with.dots"]),
    st.sampled_from([{}, {"addressing": "path"}, {"addressing": "virtual"}]),
    st.sampled_from(["keys", "profile"]),
)
@example({"accelerate": True}, "us-gov-west-1", "box", {}, "profile")
@example({"accelerate": True}, "us-gov-west-1", "box", {}, "keys")
def test_aws_own_endpoints_are_botocores(variants, region, bucket, addressing, source):
    assume(variants)
    chosen = {"region": region, **addressing, **variants}
    # Elsewhere botocore has its own ideas of such names: it takes the path after all, or an invalid host.
    assume(bucket == "box" or addressing.get("addressing") != "virtual")
    if source == "profile":
        Path(os.environ["AWS_CONFIG_FILE"]).write_text(f"[default]\nregion = {chosen.pop('region')}\n")
    keys = {} if source == "profile" else {"access_key_id": "AKID", "secret_access_key": Secret("unused")}
    expected = clients_place(bucket, chosen) if is_possible(variants, region, bucket, addressing) else None
    if expected is None:
        with pytest.raises(StorageConfigurationError):
            located(S3Config(bucket=bucket, **keys, **chosen))
        return
    config = S3Config(bucket=bucket, **keys, **chosen)
    place = place_of(located(config) if config.place_is_open else config)
    assert (place.origin, place.path("key"), place.region) == expected


def is_possible(variants, region, bucket, addressing):
    """What AWS's documents say; botocore refuses only a part of it, and sends the rest elsewhere."""
    china, gov = region.startswith("cn-"), region.startswith("us-gov-")
    if variants.get("fips") and (china or variants.get("accelerate")):
        return False
    path = addressing.get("addressing") == "path" or bucket != "box"
    return not (variants.get("accelerate") and (path or china or gov))


@pytest.mark.parametrize("name", ["accelerate", "dual_stack", "fips"])
def test_an_endpoint_of_ones_own_has_no_variants(name):
    with pytest.raises(StorageConfigurationError, match="leave out `endpoint`"):
        S3Config(bucket="box", endpoint="https://given.example", **{name: True})


def test_one_bucket_is_the_same_store_by_each_of_its_endpoints():
    keys = {"bucket": "box", "region": "eu-west-1", "access_key_id": "id", "secret_access_key": Secret("x")}
    places = {S3Config(**keys, **{name: True}).place for name in ("accelerate", "dual_stack", "fips")}
    assert places == {S3Config(**keys).place}
    with pytest.raises(StorageConfigurationError, match="the same store"):
        StorageFactory().create_with_fallback(S3Config(**keys), S3Config(**keys, accelerate=True))


def test_a_region_that_turns_out_to_be_another_keeps_the_variant():
    keys = {"bucket": "box", "region": "eu-west-1", "access_key_id": "id", "secret_access_key": Secret("x")}
    for variants, origin in (
        ({"accelerate": True}, "https://box.s3-accelerate.amazonaws.com"),
        ({"accelerate": True, "dual_stack": True}, "https://box.s3-accelerate.dualstack.amazonaws.com"),
        ({"fips": True}, "https://box.s3-fips.us-east-2.amazonaws.com"),
        ({"dual_stack": True}, "https://box.s3.dualstack.us-east-2.amazonaws.com"),
    ):
        config = S3Config(**keys, **variants)
        better = corrected_place(place_of(config), config, "us-east-2")
        assert (better.origin, better.region) == (origin, "us-east-2")


def corp(files, text="", name="corp"):
    """A profile with keys of its own."""
    with (files / "credentials").open("a") as file:
        file.write(f"[{name}]\n{KEYS}")
    with (files / "config").open("a") as file:
        file.write(f"[profile {name}]\n{text}\n")


def sent_by(config, method="ping"):
    """Origins of the requests that a driver of this config sends, and the key id that signs them."""

    async def main():
        transport = ScriptedTransport(ScriptedAnswer(200, EMPTY))
        driver = S3Driver(config, transport=transport)
        try:
            if method == "ping":
                await driver.ping()
                signed = transport.requests[0].headers["authorization"]
                return transport.requests[0].url.partition("?")[0], signed.partition("=")[2].partition("/")[0]
            signed = await driver.sign(SignRequest(key="k"))
            return signed.url.partition("?")[0], signed.url.partition("Credential=")[2].partition("%2F")[0]
        finally:
            assert method == "ping" or not transport.requests
            await driver.aclose()

    return asyncio.run(main())


def nothing_is_sent_by(config):
    async def main():
        transport = ScriptedTransport(ScriptedAnswer(200, EMPTY))
        driver = S3Driver(config, transport=transport)
        for call in (driver.ping(), driver.head("k"), driver.sign(SignRequest(key="k"))):
            with pytest.raises(StorageConfigurationError) as caught:
                await call
        assert transport.requests == []
        await driver.aclose()
        return caught.value

    return asyncio.run(main())


@pytest.mark.parametrize("method", ["ping", "sign"])
def test_a_profiles_keys_go_to_the_profiles_endpoint(files, method):
    corp(files, "endpoint_url = http://127.0.0.1:9000")
    path = "/k" if method == "sign" else ""
    found = sent_by(S3Config(bucket="box", profile="corp"), method)
    assert found == (f"http://127.0.0.1:9000/box{path}", "AKIDFILE")


def test_a_given_endpoint_wins_over_the_profiles_while_its_region_counts(files):
    corp(files, "endpoint_url = http://127.0.0.1:9000\nregion = eu-west-3")
    config = S3Config(bucket="box", profile="corp", endpoint="https://given.example")
    assert sent_by(config)[0] == "https://given.example/box"
    assert located(config).region == "eu-west-3"


def test_the_public_url_is_at_the_profiles_endpoint_before_and_after_the_first_request(files):
    corp(files, "endpoint_url = http://127.0.0.1:9000")
    store = S3StorageProvider(S3Config(bucket="box", profile="corp", prefix="team"))
    assert store.get_url("a b") == "http://127.0.0.1:9000/box/team/a%20b"
    cdn = S3StorageProvider(S3Config(bucket="box", profile="nowhere", cdn_url="https://cdn.example"))
    assert cdn.get_url("k") == "https://cdn.example/k"


SOURCES = {
    "url": lambda environ: from_url("s3://box?profile=corp", environ),
    "mapping": lambda environ: from_mapping({"provider": "s3", "bucket": "box", "profile": "corp"}, environ),
    "environment": lambda environ: from_env(
        {**environ, "CREDSTORE_PROVIDER": "s3", "CREDSTORE_BUCKET": "box", "AWS_PROFILE": "corp"}
    ),
    "factory": lambda environ: StorageFactory(environ=environ).configure("s3://box?profile=corp"),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize(
    "variable", ["CREDSTORE_ENDPOINT", "STORAGE_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"]
)
def test_a_profiles_keys_never_go_to_an_endpoint_of_the_environment(files, variable, source):
    corp(files, "endpoint_url = http://127.0.0.1:9000")
    error = nothing_is_sent_by(source({variable: "https://elsewhere.example"}))
    assert error.code == "FOREIGN_ENDPOINT"
    assert (error.applied, error.bucket) == ("no", "box")
    assert variable in str(error)
    # What says the same contradicts nobody.
    found = sent_by(source({variable: "http://127.0.0.1:9000/"}))
    assert found == ("http://127.0.0.1:9000/box", "AKIDFILE")


KINDS = {
    "process": f"credential_process = {sys.executable} %s/answer.py",
    "role": "role_arn = arn:aws:iam::123456789012:role/x\nsource_profile = base",
    "web identity": "role_arn = arn:aws:iam::123456789012:role/x\nweb_identity_token_file = %s/token",
    "sso": "sso_start_url = https://x.awsapps.com/start\nsso_region = eu-west-1\n"
    "sso_account_id = 123456789012\nsso_role_name = x",
    "nothing, so the machine's": "",
}


@pytest.mark.parametrize("text", KINDS.values(), ids=KINDS)
def test_wherever_a_profile_has_its_keys_from_they_stay_with_it(files, text):
    (files / "answer.py").write_text("raise SystemExit('was run')")
    (files / "config").write_text(f"[profile corp]\nregion = eu-west-1\n{text.replace('%s', str(files))}\n")
    corp(files, name="base")
    error = nothing_is_sent_by(SOURCES["url"]({"CREDSTORE_ENDPOINT": "https://elsewhere.example"}))
    assert error.code == "FOREIGN_ENDPOINT"


def test_keys_of_no_profile_stay_with_the_configuration_too(files):
    environ = {"CREDSTORE_ENDPOINT": "https://elsewhere.example"}
    assert nothing_is_sent_by(from_url("s3://box", environ)).code == "FOREIGN_ENDPOINT"


def test_what_the_call_names_itself_is_where_the_keys_go(files):
    corp(files, "endpoint_url = http://127.0.0.1:9000")
    environ = {"CREDSTORE_ENDPOINT": "https://elsewhere.example"}
    config = from_url("s3://box?profile=corp&endpoint=https://named.example", environ)
    assert sent_by(config)[0] == "https://named.example/box"
    from_environment = from_env({"CREDSTORE_URL": "s3://box?profile=corp&endpoint=https://named.example"})
    assert sent_by(from_environment)[0] == "https://named.example/box"


def test_an_endpoint_of_the_environment_is_botocores_matter_where_it_sees_it(files, monkeypatch):
    corp(files, "endpoint_url = http://127.0.0.1:9000")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://env.example")
    assert sent_by(from_url("s3://box?profile=corp", os.environ))[0] == "https://env.example/box"
    corp(files, "endpoint_url = http://127.0.0.1:9001\nignore_configured_endpoint_urls = true", "deaf")
    found = sent_by(from_url("s3://box?profile=deaf&region=eu-west-1", os.environ))
    assert found[0] == "https://box.s3.eu-west-1.amazonaws.com/"


def test_a_chosen_profile_is_stronger_than_keys_of_the_environment_as_for_botocore(files, monkeypatch):
    corp(files, "endpoint_url = http://127.0.0.1:9000")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    assert sent_by(from_url("s3://box?profile=corp", os.environ))[1] == "AKIDFILE"
    assert sent_by(S3Config(bucket="box", profile="corp"))[1] == "AKIDFILE"
    monkeypatch.setenv("AWS_PROFILE", "corp")
    assert sent_by(from_url("s3://box", os.environ))[1] == "AKIDENV"
    assert sent_by(S3Config(bucket="box"))[1] == "AKIDENV"


BESIDE_OWN = {
    "url": lambda environ: from_url("s3://box", environ),
    "mapping": lambda environ: from_mapping({"provider": "s3", "bucket": "box"}, environ),
    "environment": lambda environ: from_env(
        {**environ, "CREDSTORE_PROVIDER": "s3", "CREDSTORE_BUCKET": "box"}
    ),
    "factory": lambda environ: StorageFactory(environ=environ).configure("s3://box"),
}


@pytest.mark.parametrize("method", ["ping", "sign"])
@pytest.mark.parametrize("source", BESIDE_OWN.values(), ids=BESIDE_OWN)
@pytest.mark.parametrize("name", ["corp", "default"])
def test_keys_of_the_environment_go_where_the_profile_beside_them_leads(files, source, name, method):
    (files / "config").write_text(
        f"[{'default' if name == 'default' else f'profile {name}'}]\n"
        "services = mine\nregion = eu-west-3\n[services mine]\ns3 =\n  endpoint_url = http://127.0.0.1:9000\n"
    )
    config = source(OWN if name == "default" else {**OWN, "AWS_PROFILE": name})
    path = "/k" if method == "sign" else ""
    assert sent_by(config, method) == (f"http://127.0.0.1:9000/box{path}", "AKIDENV")
    assert located(config).region == "eu-west-3"
    store = S3StorageProvider(source(OWN if name == "default" else {**OWN, "AWS_PROFILE": name}))
    assert store.get_url("k") == "http://127.0.0.1:9000/box/k"


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("region = eu-west-3", "eu-west-3", "https://box.s3.eu-west-3.amazonaws.com/"),
        (
            "region = eu-west-3\ns3 =\n  addressing_style = path",
            "eu-west-3",
            "https://s3.eu-west-3.amazonaws.com/box",
        ),
        (
            "region = eu-west-3\nuse_dualstack_endpoint = true",
            "eu-west-3",
            "https://box.s3.dualstack.eu-west-3.amazonaws.com/",
        ),
        (
            "region = us-east-2\nuse_fips_endpoint = true",
            "us-east-2",
            "https://box.s3-fips.us-east-2.amazonaws.com/",
        ),
    ],
)
def test_the_rest_of_the_profile_counts_for_keys_of_the_environment(files, text, region, expected):
    (files / "config").write_text(f"[default]\n{text}\n")
    config = BESIDE_OWN["url"](OWN)
    assert sent_by(config) == (expected, "AKIDENV")
    assert located(config).region == region


GIVEN_ENDPOINTS = {
    "url": lambda environ: from_url("s3://box?endpoint=https://given.example", environ),
    "mapping": lambda environ: from_mapping(
        {"provider": "s3", "bucket": "box", "endpoint": "https://given.example"}, environ
    ),
    "ours": lambda environ: from_url("s3://box", {**environ, "CREDSTORE_ENDPOINT": "https://given.example"}),
    "original": lambda environ: from_url(
        "s3://box", {**environ, "STORAGE_ENDPOINT": "https://given.example"}
    ),
    "changed": lambda environ: replace(
        from_url("s3://box", {**environ, "AWS_ENDPOINT_URL": "https://weak.example"}),
        endpoint="https://given.example",
    ),
}


@pytest.mark.parametrize("source", GIVEN_ENDPOINTS.values(), ids=GIVEN_ENDPOINTS)
@pytest.mark.parametrize("ignoring", ["true", "false"])
def test_what_is_given_is_where_keys_of_the_environment_go(files, source, ignoring):
    (files / "config").write_text(
        f"[default]\nendpoint_url = http://127.0.0.1:9000\nignore_configured_endpoint_urls = {ignoring}\n"
    )
    assert sent_by(source(OWN)) == ("https://given.example/box", "AKIDENV")


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
@pytest.mark.parametrize("switch", [None, "true", "false"])
@pytest.mark.parametrize("text", ["", "ignore_configured_endpoint_urls = true"], ids=["heeding", "ignoring"])
def test_endpoints_of_the_environment_are_ignored_where_botocore_ignores_them(files, variable, switch, text):
    (files / "config").write_text(f"[default]\nregion = eu-west-3\n{text}\n")
    environ = {**OWN, variable: "https://env.example/"}
    if switch is not None:
        environ["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = switch
    ignored = switch == "true" or (switch is None and bool(text))
    expected = "https://box.s3.eu-west-3.amazonaws.com/" if ignored else "https://env.example/box"
    assert sent_by(from_url("s3://box", environ)) == (expected, "AKIDENV")


def test_the_variables_are_those_of_the_environment_that_was_given(files):
    (files / "another").write_text("[profile other]\nendpoint_url = http://127.0.0.1:9001\n")
    environ = {**OWN, "AWS_CONFIG_FILE": str(files / "another"), "AWS_DEFAULT_PROFILE": "other"}
    environ["AWS_PROFILE"] = "weaker"
    assert sent_by(from_url("s3://box", environ)) == ("http://127.0.0.1:9001/box", "AKIDENV")
    switches = {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"}
    found = sent_by(from_url("s3://box?region=us-east-2", {**OWN, **switches}))
    assert found == ("https://box.s3-fips.dualstack.us-east-2.amazonaws.com/", "AKIDENV")


def test_a_profile_beside_keys_of_the_environment_that_is_not_there_is_named(files):
    error = nothing_is_sent_by(from_url("s3://box", {**OWN, "AWS_PROFILE": "nowhere"}))
    assert "'nowhere'" in str(error)


@pytest.mark.parametrize(
    "keys",
    [
        {"CREDSTORE_ACCESS_KEY_ID": "AKIDOURS", "CREDSTORE_SECRET_ACCESS_KEY": CANARY},
        {"access_key_id": "AKIDOURS", "secret_access_key": CANARY},
    ],
    ids=["of credstore's variables", "given"],
)
def test_keys_that_are_not_awss_go_nowhere_that_a_profile_says(files, keys):
    corp(files, "endpoint_url = http://127.0.0.1:9000", "default")
    ours = {name: value for name, value in keys.items() if name.startswith("CREDSTORE")}
    given = {name: value for name, value in keys.items() if name not in ours}
    environ = {**ours, "AWS_PROFILE": "default", "AWS_ENDPOINT_URL": ""}
    config = from_mapping({"provider": "s3", "bucket": "box", "region": "eu-west-1", **given}, environ)
    assert sent_by(config) == ("https://box.s3.eu-west-1.amazonaws.com/", "AKIDOURS")


@pytest.mark.parametrize("endpoint", [None, "https://s3.corp.example"])
@pytest.mark.parametrize("bucket", ["box", "box.with.dots"])
def test_without_files_keys_of_the_environment_need_no_botocore_and_go_where_it_would_send_them(
    monkeypatch, endpoint, bucket
):
    chosen = {"region": "eu-west-3"} | ({} if endpoint is None else {"endpoint": endpoint})
    expected = clients_place(bucket, chosen)
    environ = {**OWN, "AWS_REGION": "eu-west-3"} | (
        {} if endpoint is None else {"AWS_ENDPOINT_URL": endpoint}
    )
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    place = place_of(located(from_url(f"s3://{bucket}", environ)))
    assert (place.origin, place.path("key"), place.region) == expected


def test_two_stores_with_keys_of_the_environment_are_one_place_where_nothing_says_otherwise(files):
    own = from_url("s3://box?region=eu-west-3", OWN)
    given = S3Config(bucket="box", region="eu-west-3", access_key_id="AKID", secret_access_key=Secret(CANARY))
    assert own.place == given.place
    assert (
        from_url("s3://box", {**OWN, "AWS_PROFILE": "corp"}).place
        == S3Config(bucket="box", profile="corp").place
    )


CHOSEN = {
    "profile": ({}, "?profile=corp"),
    "profile and place": ({}, "?profile=corp&region=eu-west-1&addressing=path&endpoint={url}"),
    "keys of the environment": ({**OWN, "AWS_PROFILE": "corp"}, ""),
    "keys of the environment and place": (
        {**OWN, "AWS_PROFILE": "corp"},
        "?region=eu-west-1&addressing=path&endpoint={url}",
    ),
}


@pytest.mark.parametrize("chosen", CHOSEN)
@pytest.mark.parametrize("named", ["by the profile", "by a variable", "by the store", "nowhere"])
def test_the_authorities_of_the_configuration_are_trusted_where_none_are_given(
    files, monkeypatch, chosen, named
):
    context, authority = make_server(files)
    variables, parameters = CHOSEN[chosen]

    async def main():
        async with Origin(least_part=1, tls=context) as origin:
            origin.store.buckets["box"] = {}
            bundle = {"by the profile": authority, "by the store": "/no/such/file"}.get(named)
            corp(files, f"endpoint_url = {origin.url}\n" + (f"ca_bundle = {bundle}\n" if bundle else ""))
            if named == "by a variable":
                monkeypatch.setenv("AWS_CA_BUNDLE", authority)
            if named == "by the store":
                monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such/file")
            config = from_url("s3://box" + parameters.replace("{url}", origin.url), variables)
            if named == "by the store":
                config = replace(config, ca_file=authority)
            async with S3StorageProvider(replace(config, max_retries=0)) as store:
                if named == "nowhere":
                    with pytest.raises(StorageConfigurationError) as caught:
                        await store.store("k", b"x")
                    assert caught.value.code == "TLS"
                else:
                    await store.store("k", b"x")
                    assert await store.retrieve("k") == b"x"

    asyncio.run(main())


def test_authorities_that_are_not_there_are_named(files):
    corp(files, "endpoint_url = https://127.0.0.1:9\nca_bundle = /no/such/file")

    async def main():
        async with S3StorageProvider(S3Config(bucket="box", profile="corp", max_retries=0)) as store:
            with pytest.raises(StorageConfigurationError, match="ca_bundle") as caught:
                await store.store("k", b"x")
            assert (caught.value.applied, caught.value.retryable) == ("no", False)

    asyncio.run(main())


def test_given_keys_trust_nothing_that_a_profile_names(files):
    corp(files, "ca_bundle = /no/such/file", "default")
    given = S3Config(bucket="box", access_key_id="AKID", secret_access_key=Secret(CANARY))
    assert not given.trust_is_open


def test_aws_region_counts_where_the_profile_names_none(files):
    corp(files)
    corp(files, "region = eu-west-3", "placed")
    environ = {"AWS_REGION": "eu-west-1"}
    assert located(from_url("s3://box?profile=corp", environ)).region == "eu-west-1"
    assert located(from_url("s3://box?profile=placed", environ)).region == "eu-west-3"
    assert located(from_url("s3://box?profile=placed&region=eu-west-2", environ)).region == "eu-west-2"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("endpoint_url = http://minio.example", "is http"),
        ("endpoint_url = https://169.254.169.254", "link-local"),
        ("endpoint_url = https://x.r2.cloudflarestorage.com", "belongs to r2"),
        ("endpoint_url = https://s3.example.com/base", "no usual S3 endpoint"),
        ("endpoint_url = nonsense", "no usual S3 endpoint"),
        ("services = missing", "no usual S3 endpoint"),
    ],
)
def test_where_no_key_may_go_a_profile_does_not_lead_either(files, text, told):
    corp(files, text)
    assert told in str(nothing_is_sent_by(S3Config(bucket="box", profile="corp")))


def test_a_bucket_for_which_botocore_signs_otherwise_is_refused(files):
    corp(files, "region = us-east-1")
    error = nothing_is_sent_by(S3Config(bucket="box--use1-az4--x-s3", profile="corp"))
    assert "no usual S3 endpoint" in str(error)


def test_a_profile_that_is_not_there_is_named_before_anything_is_sent(files):
    assert "'nowhere'" in str(nothing_is_sent_by(S3Config(bucket="box", profile="nowhere")))


def test_one_address_of_memory_is_another_once_the_files_say_so(files):
    corp(files, "endpoint_url = http://127.0.0.1:9000")
    config = S3Config(bucket="box", profile="corp")
    assert located_once(config).endpoint == "http://127.0.0.1:9000"
    (files / "config").write_text("[profile corp]\nendpoint_url = http://127.0.0.1:9001\n")
    assert located_once(config).endpoint == "http://127.0.0.1:9000"
    assert sent_by(config)[0] == "http://127.0.0.1:9001/box"  # Keys go where it leads now,
    assert located_once(config).endpoint == "http://127.0.0.1:9001"  # and addresses follow.


def test_newer_keys_of_a_profile_that_leads_elsewhere_now_are_not_sent_where_it_led(files):
    corp(files, "endpoint_url = http://127.0.0.1:9000")
    expired = xml_error("ExpiredToken")

    async def main():
        transport = ScriptedTransport(
            ScriptedAnswer(200, EMPTY), ScriptedAnswer(400, expired), ScriptedAnswer(200, EMPTY)
        )
        driver = S3Driver(S3Config(bucket="box", profile="corp"), transport=transport)
        await driver.ping()
        (files / "config").write_text("[profile corp]\nendpoint_url = http://127.0.0.1:9001\n")
        with pytest.raises(StorageConfigurationError, match="make a new store") as caught:
            await driver.ping()
        assert caught.value.code == "FOREIGN_ENDPOINT"
        assert len(transport.requests) == 2
        await driver.aclose()

    asyncio.run(main())


def test_newer_keys_of_a_profile_that_still_leads_there_are_used(files):
    corp(files, "endpoint_url = http://127.0.0.1:9000")

    async def main():
        transport = ScriptedTransport(
            ScriptedAnswer(200, EMPTY),
            ScriptedAnswer(400, xml_error("ExpiredToken")),
            ScriptedAnswer(200, EMPTY),
        )
        driver = S3Driver(S3Config(bucket="box", profile="corp"), transport=transport)
        await driver.ping()
        newer = (files / "credentials").read_text().replace("AKIDFILE", "AKIDNEW")
        (files / "credentials").write_text(newer)
        await driver.ping()
        assert "Credential=AKIDNEW/" in transport.requests[2].headers["authorization"]
        await driver.aclose()

    asyncio.run(main())


def test_statistics_name_the_region_of_the_profile(files):
    corp(files, "endpoint_url = http://127.0.0.1:9000\nregion = eu-west-3")
    config = S3Config(bucket="box", profile="corp")

    async def main():
        driver = S3Driver(config, transport=ScriptedTransport(ScriptedAnswer(200, EMPTY)))
        async with StorageProvider(driver, config) as store:
            assert (await store.get_stats()).region == "eu-west-3"
            assert store.get_url("k") == "http://127.0.0.1:9000/box/k"

    asyncio.run(main())
