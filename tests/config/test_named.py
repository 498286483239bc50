"""Stores with names, and files of variables: read where somebody names them, and never a value repeated."""

import asyncio
import os
from pathlib import Path

import pytest

import credstore
from credstore import Container, LocalConfig, StorageConfigurationError, StorageFactory
from credstore.config.env_file import with_env_file
from credstore.config.named import named_store, read_stores, stores_file

KEYS = "AWS_ACCESS_KEY_ID=AKIDEXAMPLE\nAWS_SECRET_ACCESS_KEY='of the file $HOME'\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a file of stores, and an environment that leads there."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "CREDSTORE_", "STORAGE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CREDSTORE_STORES", str(tmp_path / "stores.toml"))
    return tmp_path


def write(place, text, mode=0o600):
    (place / "stores.toml").write_text(text)
    (place / "stores.toml").chmod(mode)


def refusal(function, *arguments):
    with pytest.raises(StorageConfigurationError) as caught:
        function(*arguments)
    return caught.value.message


def configured(name):
    return StorageFactory().configure(name)


def test_a_name_stands_for_a_url_or_for_settings(place):
    write(
        place, '[photos]\nurl = "file:///srv/photos"\n\n[old]\nprovider = "local"\nlocal_path = "/srv/old"\n'
    )
    assert configured("photos") == LocalConfig("/srv/photos")
    assert configured("old") == LocalConfig("/srv/old")
    assert credstore.connect("photos", read_only=True).config == LocalConfig("/srv/photos", read_only=True)


def test_names_can_be_members_of_several_stores(place):
    write(
        place,
        '[a]\nurl = "memory://a"\n[b]\nurl = "memory://b"\n[both]\nurl = "multi://redundant?store=a&store=b"\n',
    )

    async def main():
        async with credstore.connect("both") as store:
            await store.store("k", b"1")
            assert await store.retrieve("k") == b"1"

    asyncio.run(main())


def test_a_store_with_its_own_file_takes_nothing_from_the_environment(place, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the environment")
    monkeypatch.setenv("CREDSTORE_REGION", "eu-central-1")
    (place / "photos.env").write_text(KEYS)
    write(place, '[photos]\nurl = "s3://photos?region=eu-west-1"\nenv_file = "photos.env"\n')
    config = configured("photos")
    assert (config.access_key_id, config.secret_access_key.reveal()) == ("AKIDEXAMPLE", "of the file $HOME")
    assert config.region == "eu-west-1"


def test_an_unknown_name_says_where_it_was_looked_for_and_what_is_near(place):
    hint = refusal(configured, "photos")
    assert "credstore stores add NAME URL" in hint
    assert str(place / "stores.toml") in hint
    write(place, '[photos]\nurl = "memory:"\n')
    assert "did you mean 'photos'?" in refusal(configured, "photo")
    assert "there are photos" in refusal(configured, "zzz")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[photos\n", "line 1 of the file of stores"),
        ('[photos]\nurl = "a"\n\nx', "is not TOML"),
        (f"[photos]\nurl = {'[' * 5000}", "nested too deeply"),
        (f"[photos]\nurl = {'9' * 5000}", "is not TOML"),
        ("photos = 1\n", "something that is not a store"),
        ('["a b"]\nurl = "memory:"\n', "something that is not a store"),
        ("[photos]\nurl = 1\n", "is not a store URL"),
        ('[photos]\nurl = "photos"\n', "is not a store URL"),
        ('[photos]\nurl = "memory:"\nname = "x"\n', "and other settings"),
        ('[photos]\nurl = "memory:"\nenv_file = 1\n', "is not a path"),
        ('[photos]\nurl = "memory:"\nenv_file = "none.env"\n', "cannot be read: No such file"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_without_its_values(place, text, words):
    write(place, text)
    assert words in refusal(configured, "photos")


def test_a_file_with_keys_is_for_its_owner_alone(place):
    text = '[photos]\nprovider = "s3"\nbucket = "photos"\naccess_key_id = "a"\nsecret_access_key = "hidden"\n'
    write(place, text, 0o644)
    message = refusal(configured, "photos")
    assert "chmod 600" in message
    assert "hidden" not in message
    write(place, text, 0o600)
    assert configured("photos").secret_access_key.reveal() == "hidden"


def test_where_the_file_is(tmp_path):
    home = Path("~/.config/credstore/stores.toml").expanduser()
    assert stores_file({}) == stores_file({"XDG_CONFIG_HOME": "relative"}) == home
    assert stores_file({"XDG_CONFIG_HOME": "/etc/x"}) == Path("/etc/x/credstore/stores.toml")
    assert stores_file({"CREDSTORE_STORES": "~/s.toml"}) == Path("~/s.toml").expanduser()
    assert read_stores(tmp_path / "none") == {}
    assert "cannot be read" in refusal(read_stores, tmp_path)
    assert "no store of that name" in refusal(named_store, "a", {"CREDSTORE_STORES": "none.toml"})


def test_the_environment_takes_precedence_over_a_file(place):
    (place / ".env").write_text('# settings\nexport A=1\nB="two words"\nC=${A}\nD=\n')
    found = with_env_file({"A": "mine", "B": ""}, ".env")
    assert dict(found) == {"A": "mine", "B": "two words", "C": "${A}", "D": ""}
    assert with_env_file(os.environ, None) is os.environ


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"A=1\nsecret\n", "line 2 of"),
        (b"A=1\n\n=hidden\n", "is not NAME=value"),
        (b"A=\xff\n", "is not UTF-8"),
    ],
)
def test_a_line_that_is_no_variable_is_named_by_its_number(place, content, words):
    (place / ".env").write_bytes(content)
    message = refusal(with_env_file, {}, ".env")
    assert words in message
    assert "hidden" not in message
    assert "secret" not in message


def test_connect_and_container_read_a_named_file_and_no_other(place):
    (place / ".env").write_text("CREDSTORE_URL=file:///srv/photos\n")
    assert credstore.connect(env_file=".env").config == LocalConfig("/srv/photos")
    assert Container(env_file=".env").storage_provider().config == LocalConfig("/srv/photos")
    assert "names no store" in refusal(credstore.connect)
    with pytest.raises(StorageConfigurationError, match="cannot be read"):
        Container(env_file="none")


def test_connect_gives_each_caller_a_store_of_its_own(place):
    async def main():
        async with credstore.connect("memory:") as one, credstore.connect("memory:") as other:
            await one.store("k", b"1")
            assert not await other.exists("k")

    asyncio.run(main())


def test_a_folder_is_a_path_object(place):
    assert credstore.connect(Path("photos")).config == LocalConfig("photos")
    for text in ("/srv/photos", "./photos", "~/photos", "C:\\photos"):
        assert "a folder of this machine is file:///path" in refusal(credstore.connect, text)


def test_the_place_alone_makes_a_config_and_a_provider(place):
    assert credstore.LocalStorageProvider("photos").config == LocalConfig(path="photos")
    assert credstore.LocalStorageProvider(Path("photos")).config == LocalConfig(path="photos")
    assert credstore.S3StorageProvider("photos").config == credstore.S3Config(bucket="photos")
    assert "made from its config" in refusal(credstore.S3StorageProvider, Path("photos"))
    assert "the bucket's name alone" in refusal(credstore.S3StorageProvider, "s3://photos")
    assert "made from its config" in refusal(credstore.AzureStorageProvider, "photos")
    assert "`account_id` of r2 is missing" in refusal(credstore.R2StorageProvider, "photos")


def test_a_local_address_is_absolute(place):
    assert credstore.LocalStorageProvider("st").get_url("k") == (place / "st" / "k").as_uri()


def test_a_wrong_letter_in_a_short_name_of_a_variable(monkeypatch, place):
    monkeypatch.setenv("CREDSTORE_URI", "memory:")
    assert "did you mean CREDSTORE_URL?" in refusal(credstore.connect)
    monkeypatch.delenv("CREDSTORE_URI")
    monkeypatch.setenv("CREDSTORE_URL", "memory:")
    for name in ("PORT", "PORT_8080_TCP", "PORT_8080_TCP_ADDR", "SERVICE_HOST", "SERVICE_PORT", "LOG"):
        monkeypatch.setenv(f"CREDSTORE_{name}", "tcp://10.0.0.1:8080")
    assert credstore.connect().get_provider_name() == "memory"


def test_a_setting_in_place_of_an_option_says_where_settings_go(place):
    with pytest.raises(
        StorageConfigurationError, match="connect has no option 'region'; settings of a store are"
    ):
        credstore.connect("s3://photos", region="eu-west-1")
