"""`credstore providers` tells what the drivers themselves say, without network or settings."""

import json
from dataclasses import dataclass

from credstore.config.registry import Registry
from credstore.config.settings import CommonConfig
from credstore.config.stores import MemoryConfig
from credstore.drivers.memory import MemoryDriver


def test_every_kind_is_told_with_its_aliases_and_capabilities(cli):
    stores = {each["name"]: each for each in json.loads(cli("providers", "--json").out)}
    told = {word for name, each in stores.items() for word in (name, *each["aliases"])}
    assert told == set(Registry().words())
    assert stores["r2"]["capabilities"]["sse_s3_implied"]
    assert stores["local"]["capabilities"]["presign"] == ["GET", "HEAD"]
    assert stores["s3"]["variables"][-1] == "CREDSTORE_SECRET_ACCESS_KEY"
    assert stores["minio"]["url"] == "minio://host/bucket[/prefix]"


def test_a_store_below_a_prefix_is_named_by_its_url(cli):
    cli.put("whole", b"1")
    part = f"file://{cli.root}?prefix=team/a"
    source = cli.root.parent / "part.json"
    source.write_bytes(b"2")
    cli("--store", part, "put", str(source), "x")
    assert (cli.root / "team" / "a" / "x").read_bytes() == b"2"
    assert cli("--store", part, "ls").out.splitlines() == ["x"]
    assert cli("ls").out.splitlines() == ["team/a/x", "whole"]
    assert cli("--store", part, "cat", "x").out == "2"
    wrong = cli("--json", "--store", f"file://{cli.root}?prefix=../other", "ls", code=8).error
    assert (wrong["code"], "prefix" in wrong["message"]) == ("CONFIGURATION", True)


def test_a_plug_in_is_a_store_of_the_command_line_too(cli, monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class AcmeConfig(CommonConfig):
        provider = "acme"

    class Plugin:
        name, value = "acme", "acme:register"

        @staticmethod
        def load():
            return lambda factory: factory.register(
                "acme", AcmeConfig, lambda _: MemoryDriver(MemoryConfig())
            )

    found = lambda **given: [Plugin] if given.get("name", "acme") == "acme" else []  # noqa: E731
    monkeypatch.setattr("importlib.metadata.entry_points", found)
    assert cli("--store", "acme:", "ls").out == ""


def test_the_table_has_a_line_for_each(cli):
    lines = cli("providers").out.splitlines()
    assert any(line.startswith((" wasabi", "wasabi")) for line in lines)
    assert any("cloudflare_r2" in line for line in lines)
