#!/bin/sh
# One would guess that UPath, which has pathlib's interface over fsspec, means by a path what pathlib means: that one
# object, whatever is in its name. Where it reads, it does: exists() and read_bytes() of "report[1].pdf" are about that
# object. But unlink() and rename() hand the name to calls of fsspec that take patterns. So unlink() first asks whether
# report[1].pdf exists, then deletes report1.pdf, leaves report[1].pdf where it was and returns as if done; without such
# a neighbour it raises FileNotFoundError for the object that it has just seen. rename() moves the neighbour, and to
# below the new name as if that were a folder. With file:// a name is a name, so a test in a temporary folder shows
# none of this. It matters to whoever deletes by names that others chose (uploads, retention, erasure on request): the
# wrong object goes, the right one stays, and the record says done. path.fs.rm_file(path.path) takes the name as it is.
# Seen 2026-11-30 with universal_pathlib 0.3.10, fsspec and s3fs 2026.9.0 against moto 5.2.5, Python 3.11.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check universal_pathlib==0.3.10 fsspec==2026.9.0 \
    s3fs==2026.9.0 aiobotocore==3.10.0 boto3==1.43.117 'moto[s3,server]==5.2.5'

cat >"$work/look.py" <<'PY'
import logging
import sys
import tempfile
from importlib.metadata import version

import boto3
from moto.server import ThreadedMotoServer
from upath import UPath

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
s3 = boto3.client(
    "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="example", aws_secret_access_key="example")
s3.create_bucket(Bucket="bucket")
roots = {
    "file": UPath(f"file://{tempfile.mkdtemp(dir=sys.argv[1])}"),
    "memory": UPath("memory:///bucket"),
    "s3": UPath("s3://bucket", endpoint_url=url, key="example", secret="example", use_listings_cache=False),
}
changed = False


def compare(what, seen, expected):
    global changed
    print(f"  {what}: {seen}")
    if seen != expected:
        changed = True
        print(f"    CHANGED: it was: {expected}")


def left(folder):
    # S3 is asked by another client, so that no cache of fsspec answers.
    if folder.protocol == "s3":
        prefix = f"{folder.name}/"
        found = s3.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", [])
        return sorted(entry["Key"].removeprefix(prefix) for entry in found)
    return sorted(
        str(path).rstrip("/").removeprefix(f"{folder}/") for path in folder.rglob("*") if path.is_file())


def attempt(act):
    try:
        act()
    except FileNotFoundError:
        return "FileNotFoundError"
    return "no error"


def prepare(root, case, *names):
    folder = root / case
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder


print(f"universal_pathlib {version('universal_pathlib')}, fsspec {version('fsspec')}, s3fs {version('s3fs')}")
ODD, NEIGHBOUR = "report[1].pdf", "report1.pdf"
for protocol, root in roots.items():
    literal = protocol == "file"
    print(f"{protocol}, guess: the object of exactly that name, and no other, is deleted or moved")
    folder = prepare(root, "unlink", ODD, NEIGHBOUR)
    path = folder / ODD
    compare("exists, content", (path.exists(), path.read_bytes()), (True, ODD.encode()))
    done = attempt(path.unlink)
    compare(f"left by unlink of {ODD}", (done, left(folder)), ("no error", [NEIGHBOUR if literal else ODD]))

    folder = prepare(root, "alone", ODD)
    done = attempt((folder / ODD).unlink)
    expected = ("no error", []) if literal else ("FileNotFoundError", [ODD])
    compare("the same without its neighbour", (done, left(folder)), expected)

    folder = prepare(root, "rename", ODD, NEIGHBOUR)
    done = attempt(lambda: (folder / ODD).rename(folder / "final.pdf"))
    expected = ["final.pdf", NEIGHBOUR] if literal else [f"final.pdf/{NEIGHBOUR}", ODD]
    compare("left by its rename to final.pdf", (done, left(folder)), ("no error", expected))

    folder = prepare(root, "exact", ODD, NEIGHBOUR)
    path = folder / ODD
    done = attempt(lambda: path.fs.rm_file(path.path))
    compare(f"left by fs.rm_file of {ODD}", (done, left(folder)), ("no error", [NEIGHBOUR]))
server.stop()
sys.exit(1 if changed else 0)
PY
unset AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_PROFILE 2>/dev/null || true
"$work/venv/bin/python" "$work/look.py" "$work"
