"""`credstore providers` tells what the drivers themselves say, without network or settings."""

import json

from credstore.config.registry import Registry


def test_every_kind_is_told_with_its_aliases_and_capabilities(cli):
    stores = {each["name"]: each for each in json.loads(cli("providers", "--json").out)}
    told = {word for name, each in stores.items() for word in (name, *each["aliases"])}
    assert told == set(Registry().words())
    assert stores["r2"]["capabilities"]["sse_s3_implied"]
    assert stores["local"]["capabilities"]["presign"] == ["GET", "HEAD"]
    assert stores["s3"]["variables"][-1] == "CREDSTORE_SECRET_ACCESS_KEY"
    assert stores["minio"]["url"] == "minio://host/bucket"


def test_the_table_has_a_line_for_each(cli):
    lines = cli("providers").out.splitlines()
    assert any(line.startswith((" wasabi", "wasabi")) for line in lines)
    assert any("cloudflare_r2" in line for line in lines)
