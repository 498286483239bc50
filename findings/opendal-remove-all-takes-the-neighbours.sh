#!/bin/sh
# One would guess that opendal's remove_all("run-1") means in every store what it means in a folder on disk: run-1 and
# what is below it ("recursively remove all files and directories at the given path", says its docstring). With fs it
# does. With S3, and with opendal's own memory store, the path is a prefix of characters: run-10, run-11 and run-1.json
# go as well, and remove_all("report.pdf") takes report.pdf.sig along, while delete() of that path is about the one
# object. This matters to whoever cleans up runs, tenants or versions that are numbered: the tests on disk pass, and so
# does production until there are ten of them. End the path of a folder in "/", and delete() what is one object.
# Seen 2026-12-01 with opendal 0.47.12 against moto 5.2.5, boto3 1.43.117, Python 3.11.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check opendal==0.47.12 'moto[s3,server]==5.2.5' \
    boto3==1.43.117

cat >"$work/look.py" <<'PY'
import logging
import sys
import tempfile
from importlib.metadata import version

import boto3
import opendal
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
s3 = boto3.client(
    "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="example", aws_secret_access_key="example")
s3.create_bucket(Bucket="bucket")
stores = {
    "fs": opendal.Operator("fs", root=tempfile.mkdtemp(dir=sys.argv[1])),
    "memory": opendal.Operator("memory"),
    "s3": opendal.Operator("s3", bucket="bucket", endpoint=url, region="us-east-1", access_key_id="example",
                           secret_access_key="example"),
}
RUNS = ["run-1/log", "run-1/model", "run-1.json", "run-10/model", "run-11/model", "run-2/model"]
SIGNED = ["report.pdf", "report.pdf.sig"]
ALONE = {"run-1/log", "run-1/model"}
cases = {  # the call: the names before it, what one would guess goes, what goes where a path is a prefix
    ("remove_all", "run-1"): (RUNS, ALONE, ALONE | {"run-1.json", "run-10/model", "run-11/model"}),
    ("remove_all", "run-1/"): (RUNS, ALONE, ALONE),
    ("remove_all", "report.pdf"): (SIGNED, {"report.pdf"}, set(SIGNED)),
    ("delete", "report.pdf"): (SIGNED, {"report.pdf"}, {"report.pdf"}),
}
changed = False
print(f"opendal {version('opendal')}")
for store, operator in stores.items():
    for (call, path), (names, guess, prefixed) in cases.items():
        for name in names:
            operator.write(name, name.encode())
        getattr(operator, call)(path)
        gone = {name for name in names if not operator.exists(name)}
        print(f"  {store}: {call}({path!r}) removed {sorted(gone)}")
        expected = guess if store == "fs" else prefixed
        if gone != expected:
            changed = True
            print(f"    CHANGED: it was: {sorted(expected)}")
        if store == "s3":  # another client sees the same
            kept = {entry["Key"] for entry in s3.list_objects_v2(Bucket="bucket").get("Contents", [])}
            if kept & set(names) != set(names) - gone:
                changed = True
                print(f"    CHANGED: boto3 sees {sorted(kept)}")
server.stop()
sys.exit(1 if changed else 0)
PY
unset AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_PROFILE 2>/dev/null || true
"$work/venv/bin/python" "$work/look.py" "$work"
