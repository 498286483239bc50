"""`credstore doctor`."""

import json
from pathlib import Path

from tests.cli.conftest import CommandLine
from tests.conftest import S3Server

KEY_ID, SECRET = "AKIDEXAMPLE0", "canary-secret-value"


def test_the_command_at_moto(cli: CommandLine, s3_server: S3Server, monkeypatch) -> None:
    monkeypatch.delenv("CREDSTORE_URL")
    Path("x.env").write_text(f"CREDSTORE_ACCESS_KEY_ID={KEY_ID}\nCREDSTORE_SECRET_ACCESS_KEY={SECRET}\n")
    url = f"custom://{s3_server.url.removeprefix('http://')}/{s3_server.bucket}?http=true"
    ended = cli("--env-file", "x.env", "doctor", url)
    assert "access_key_id        AKID…PLE0 (CREDSTORE_ACCESS_KEY_ID in x.env)" in ended.out
    assert "FAIL" not in ended.out
    assert SECRET not in ended.out + ended.err
    assert "\x1b" not in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80
    quiet = cli("--env-file", "x.env", "-q", "doctor", url)
    assert quiet.out == ""
    document = cli(
        "--env-file", "x.env", "doctor", url.replace(s3_server.bucket, "absent"), "--json", code=1
    ).document
    assert not document["healthy"]
    (bad,) = [each for each in document["findings"] if each["state"] == "failed"]
    assert (bad["check"], bad["code"]) == ("bucket", "BUCKET_NOT_FOUND")
    assert SECRET not in json.dumps(document)


def test_the_command_where_settings_are_wrong(cli: CommandLine, monkeypatch) -> None:
    monkeypatch.delenv("CREDSTORE_URL")
    assert "names no store" in " ".join(cli("doctor", code=1).out.split())
    assert "did you mean 's3'?" in " ".join(cli("doctor", "s4://b", code=1).out.split())
    assert "stores add NAME URL" in " ".join(cli("doctor", "photos", code=1).out.split())
