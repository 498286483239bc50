"""The rows: each is whole, and one more row with its config and driver is a cloud everywhere."""

import ast
import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

import credstore
from credstore import S3Config, Secret, StorageConfigurationError, StorageFactory, StorageProvider
from credstore.config import registry
from credstore.config.environ import from_env
from credstore.config.field_types import Role, fields_with, held_by
from credstore.config.mapping import from_mapping
from credstore.config.registry import CLOUDS, Cloud, Registry, cloud_named, loaded
from credstore.config.settings import CommonConfig
from credstore.config.stores import MemoryConfig
from credstore.config.url import from_url
from credstore.driver import Driver
from credstore.drivers.memory import MemoryDriver
from credstore.drivers.s3.dialect import DIALECTS
from credstore.provider.presets import NamedProvider, provider_for

SOURCE = Path(credstore.__file__).parent


@pytest.mark.parametrize("row", CLOUDS, ids=lambda row: row.name)
def test_a_row_is_whole(row):
    config = row.config_class
    assert issubclass(config, CommonConfig)
    assert config.provider == row.label
    assert Driver in loaded(row.driver).__mro__
    assert row.driver.startswith("credstore.drivers.")
    assert issubclass(loaded(row.provider), NamedProvider)
    assert not row.dialect or row.dialect in DIALECTS
    held = held_by(config).keys()
    assert set(row.variables) <= held
    assert set(row.preset) <= held
    assert set(row.needed) <= held
    # The example that shows what it can do, and the row that its config comes back to.
    made = from_mapping({"provider": row.name, **row.needed}, {})
    assert made.cloud == row.name
    assert type(provider_for(made)) is loaded(row.provider)
    assert (
        from_url(row.url.partition("[")[0].replace("host", "host.example.com"), keys_of(row)).cloud
        == row.name
    )
    for alias in row.aliases:
        assert Registry().find(alias, where="the test") is row


def keys_of(row: Cloud) -> dict[str, str]:
    """All that a row needs, as variables; what the URL names itself is not read."""
    return {f"CREDSTORE_{field.upper()}": str(value) for field, value in row.needed.items()}


def test_roles_are_of_fields_that_there_are():
    for row in CLOUDS:
        own = set(row.config_class.roles) - set(CommonConfig.roles)
        assert own <= held_by(row.config_class).keys(), row.name
        for have, lack in row.config_class.needed_beside.items():
            assert {have, lack} <= fields_with(row.config_class, "key")


def test_all_that_holds_a_secret_is_a_key():
    for row in CLOUDS:
        for field, held in held_by(row.config_class).items():
            if Secret in held and field != "proxy":  # A proxy is of the machine, not of a cloud.
                assert field in fields_with(row.config_class, "key"), (row.name, field)


def test_no_host_is_of_two_clouds():
    hosts = [host for row in CLOUDS for host in row.hosts]
    assert len(hosts) == len(set(hosts))


def test_a_variable_of_one_cloud_is_of_no_other():
    owners: dict[str, str] = {}
    for row in CLOUDS:
        for levels in row.variables.values():
            for name in (name for level in levels for name in level):
                assert owners.setdefault(name, row.name) == row.name, name


def calls_of(name: str) -> set[str]:
    """Modules that call a function of this name."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and name in {
                getattr(node.func, "id", None),
                getattr(node.func, "attr", None),
            }:
                found.add(path.relative_to(SOURCE).as_posix())
    return found


def test_drivers_are_chosen_in_one_place():
    """The import rules cannot see a class named by a row, so who loads one is held here."""
    assert calls_of("loaded") == {"config/registry.py", "provider/presets.py"}
    named = set()
    for path in SOURCE.rglob("*.py"):
        texts = (
            node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)
        )
        if any(isinstance(text, str) and text.startswith("credstore.drivers.") for text in texts):
            named.add(path.relative_to(SOURCE).as_posix())
    assert named == {"config/registry.py"}


def test_nobody_asks_which_cloud_a_config_is():
    """But the driver of the family that has them, and the checks for servers of that family."""
    configs = {row.config_class.__name__ for row in CLOUDS} | {"S3FamilyConfig"}
    asking = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "isinstance":
                asked = {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
                asking |= {path.relative_to(SOURCE).as_posix()} if configs & asked else set()
    assert asking <= {"drivers/s3/driver.py", "testing/s3.py"}


@dataclass(frozen=True, kw_only=True)
class AcmeConfig(CommonConfig):
    """A cloud with containers and an account key."""

    provider: ClassVar[str] = "acme"
    roles: ClassVar[Mapping[str, Role]] = {
        **CommonConfig.roles, "container": "name", "account": "origin", "account_key": "key",
    }  # fmt: skip
    container: str = ""
    account: str = ""
    account_key: Secret | None = None
    shards: int = 1

    @property
    def public_base(self) -> str:
        return f"https://{self.account}.acme.example/{self.container}"

    @property
    def resolved_region(self) -> str | None:
        return "moon-1"

    @classmethod
    def placed(cls, authority: str, path: str) -> dict[str, object] | None:
        container, _, prefix = path.removeprefix("/").partition("/")
        return {"account": authority, "container": container} | ({"prefix": prefix} if prefix else {})


class AcmeDriver(MemoryDriver):
    """Takes the config alone."""

    def __init__(self, config: AcmeConfig) -> None:
        super().__init__(MemoryConfig())
        self.given = config


ACME = Cloud(
    name="acme",
    aliases=("apex",),
    config=f"{__name__}:AcmeConfig",
    driver=f"{__name__}:AcmeDriver",
    hosts=("acme.example",),
    url="acme://account/container",
    needed={"account": "example", "container": "example", "account_key": "example"},
    variables={"account_key": (("ACME_KEY",), ("ACME_CLI_KEY",)), "container": (("ACME_CONTAINER",),)},
    silencers={"ACME_QUIET": frozenset({"ACME_CLI_KEY"})},
    named_by="container",
)
KEY = {"ACME_KEY": "canary-secret-acme"}


@pytest.fixture
def acme(monkeypatch) -> Cloud:
    monkeypatch.setattr(registry, "CLOUDS", (*CLOUDS, ACME))
    return ACME


def test_one_more_row_is_a_cloud_by_every_name(acme):
    config = AcmeConfig(account="a", container="c", prefix="team", account_key=Secret("canary-secret-acme"))
    for given in (
        from_url("acme://a/c/team", KEY),
        from_url("apex://a/c?prefix=team", KEY),
        from_mapping({"provider": "apex", "account": "a", "container": "c", "prefix": "team"}, KEY),
        from_env({"CREDSTORE_URL": "acme://a/c", "CREDSTORE_PREFIX": "team", **KEY}),
        from_env({"STORAGE_PROVIDER": "apex", "CREDSTORE_ACCOUNT": "a", "ACME_CONTAINER": "c",
                  "CREDSTORE_PREFIX": "team", **KEY}),
        from_env({"ACME_CONTAINER": "c", "CREDSTORE_ACCOUNT": "a", "CREDSTORE_PREFIX": "team/", **KEY}),
    ):  # fmt: skip
        assert given == config
    assert cloud_named("acme") is acme
    assert {"acme", "apex"} <= set(StorageFactory(environ={}).get_registered_providers())


def test_one_more_row_is_made_and_does_all(acme):
    async def main():
        async with StorageFactory(environ=KEY) as factory:
            store = factory.create("acme://a/c/team")
            assert type(store) is StorageProvider
            assert store._session.driver._inner.given == store.config
            result = await store.store("k", b"1")
            assert (result.key, result.url) == ("k", "https://a.acme.example/c/team/k")
            assert (await store.get_stats()).region == "moon-1"
            assert await store.retrieve("k") == b"1"
            assert factory.create("apex://a/c?prefix=team/") is store
            both = factory.create_with_fallback("acme://a/c/team", "acme://a/c/other")
            await both.store("k", b"1")
            with pytest.raises(StorageConfigurationError, match="same store"):
                factory.create_with_fallback("acme://a/c/team", "acme://a/c/team/b")

    asyncio.run(main())


def test_the_command_line_knows_one_more_row(acme, capsys):
    from credstore.cli.main import run

    assert run(["providers", "--json"]) == 0
    (told,) = [each for each in json.loads(capsys.readouterr().out) if each["name"] == "acme"]
    assert told["aliases"] == ["apex"]
    assert told["variables"] == ["CREDSTORE_ACCOUNT", "CREDSTORE_CONTAINER", "CREDSTORE_ACCOUNT_KEY"]
    assert told["capabilities"]["conditional_create"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: from_url("acme://a/c?account_key=canary-secret-acme", {}),
            ["ACME_KEY", "URLs end up in logs"],
        ),
        (lambda: from_url("acme://user@a/c", {}), ["user or password", "ACME_KEY"]),
        (lambda: from_url("acme://a/c?http=true", {}), ["'http'", "acme does not know"]),
        (lambda: from_url("acme://a/c?shard=2", {}), ["did you mean `shards`"]),
        (lambda: from_env({"CREDSTORE_PROVIDER": "acmee"}), ["did you mean 'acme'"]),
        (lambda: from_env({"CREDSTORE_URL": "acme://a/c", "CREDSTORE_SHRADS": "2"}), ["CREDSTORE_SHARDS"]),
        (lambda: S3Config(bucket="proofs", endpoint="https://x.acme.example"), ["belongs to acme"]),
        (lambda: AcmeConfig(account="a", container="c", prefix="/x"), ["`prefix` of acme", "slash"]),
    ],
)
def test_what_is_wrong_with_one_more_row_is_said(acme, make, words):
    with pytest.raises(StorageConfigurationError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)
    assert "canary" not in str(caught.value)


def test_variables_of_one_more_row_follow_the_rules_of_all(acme):
    # Whose names they are: a place and an origin of another cloud are not read, tuning is.
    environ = {
        "CREDSTORE_PROVIDER": "s3", "CREDSTORE_PREFIX": "of-s3", "CREDSTORE_ACCOUNT": "of-s3",
        "CREDSTORE_SHARDS": "9", "CREDSTORE_TIMEOUT": "3s", **KEY,
    }  # fmt: skip
    config = from_url("acme://a/c", environ)
    assert (config.prefix, config.account, config.shards, config.timeout) == ("", "a", 1, 3.0)
    assert config.account_key == Secret("canary-secret-acme")
    quiet = {"ACME_CLI_KEY": "canary-secret-cli"}
    assert from_url("acme://a/c", quiet).account_key == Secret("canary-secret-cli")
    assert from_url("acme://a/c", {**quiet, "ACME_QUIET": "true"}).account_key is None


@pytest.mark.parametrize("word", ["two words", "with-hyphen", "Upper", "1st", ""])
def test_a_row_is_named_by_a_plain_lower_case_word(word):
    for row in (
        Cloud(name=word, config=MemoryConfig, driver=""),
        Cloud(name="x", aliases=(word,), config=MemoryConfig, driver=""),
    ):
        known = Registry()
        with pytest.raises(StorageConfigurationError, match="not a lower-case word"):
            known.register(row)
        assert known.words() == Registry().words()


def test_a_row_registered_in_one_place_is_known_there_alone():
    known = Registry()
    known.register(ACME)
    settings = {"provider": "acme", "account": "a", "container": "c"}
    assert from_mapping(settings, KEY, registry=known) == from_url("acme://a/c", KEY, registry=known)
    named = {"CREDSTORE_PROVIDER": "acme", "CREDSTORE_CONTAINER": "c", "CREDSTORE_ACCOUNT": "a"}
    assert from_env(named, registry=known).container == "c"
    for make in (lambda: from_mapping(settings, KEY), lambda: from_url("acme://a/c", KEY)):
        with pytest.raises(StorageConfigurationError, match="does not name a known provider"):
            make()


@dataclass(frozen=True, kw_only=True)
class PlainConfig(CommonConfig):
    """A store of one place, whose URL has nothing but parameters."""

    provider: ClassVar[str] = "plain"

    @property
    def place(self) -> object:
        return "plain"

    @property
    def public_base(self) -> str:
        return "https://plain.example"


def test_a_store_without_a_bucket_takes_none_from_a_url():
    known = Registry()
    known.register(Cloud(name="plain", config=PlainConfig, driver=""))
    assert from_url("plain:?prefix=team", {}, registry=known).prefix == "team/"
    with pytest.raises(StorageConfigurationError, match="must look like plain:"):
        from_url("plain://somewhere", {}, registry=known)
