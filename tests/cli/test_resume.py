"""`credstore put --resume`: a file beside the upload while it runs, none after it; refused where it is no use."""

from pathlib import Path

from tests.servers.moto import running_moto


def test_an_upload_leaves_no_file_when_it_is_complete(cli, monkeypatch):
    Path("large").write_bytes(bytes(2_000))
    with running_moto() as moto:
        place = f"{moto.url.removeprefix('http://')}/{moto.make_bucket()}"
        url = f"minio://{place}?http=true&multipart_threshold=1000"
        monkeypatch.setenv("MINIO_ACCESS_KEY", "a")
        monkeypatch.setenv("MINIO_SECRET_KEY", "s")
        cli("--store", url, "put", "large", "k", "--resume", "large.resume", "--quiet")
        assert not Path("large.resume").exists()
        assert len(cli("--store", url, "cat", "k").out) == 2_000


def test_a_store_without_it_says_so(cli):
    Path("large").write_bytes(bytes(2_000))
    assert "resum" in cli("put", "large", "k", "--resume", "large.resume", code=1).err
    assert not Path("large.resume").exists()
