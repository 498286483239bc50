#!/bin/sh
# One would guess that an S3 client's prefix is S3's prefix, every key that begins with those characters, and that it
# lists whatever keys a bucket holds. obstore's keys are paths. list(prefix="report") is what lies below "report/":
# report-2026.json and the object named exactly "report" are missing without an error, and prefix "rep" finds nothing.
# One object that another program named "in//box" (a legal S3 key, and a common slip when a prefix ends in "/") makes
# the listing of the whole bucket raise before its neighbours come. "report/" is the same key as "report", so an empty
# folder marker written with obstore replaces the object. This matters to whoever moves a job from boto3: a scan by
# date or hash prefix ("2026-11", "ab") finds nothing and reports success, and an audit or a garbage collection of a
# bucket that others write to stops at one name. The prefix rule is documented; the other two are not what it suggests.
# Seen 2026-11-28 with obstore 0.12.1 against moto 5.2.5, boto3 1.43.117.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check obstore==0.12.1 'moto[s3,server]==5.2.5' boto3==1.43.117

cat >"$work/look.py" <<'PY'
import logging
import sys
from importlib.metadata import version

import boto3
import obstore
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
who = {"aws_access_key_id": "example", "aws_secret_access_key": "example"}
s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **who)
s3.create_bucket(Bucket="bucket")
store = S3Store(
    "bucket", endpoint=url, region="us-east-1", client_options={"allow_http": True},
    access_key_id="example", secret_access_key="example",
)


def by_boto3(prefix=""):
    found = s3.list_objects_v2(Bucket="bucket", Prefix=prefix)["Contents"]
    return {entry["Key"]: entry["Size"] for entry in found}


def by_obstore(prefix=None):
    paths = []
    try:
        for page in obstore.list(store, prefix):
            paths += [entry["path"] for entry in page]
    except Exception as error:
        return f"{type(error).__name__} after {len(paths)} keys"
    return sorted(paths)


print(f"obstore {version('obstore')}, boto3 {version('boto3')}, moto {version('moto')}")
changed = False


def compare(what, seen, expected):
    global changed
    print(f"  {what}: {seen}")
    if seen != expected:
        changed = True
        print(f"    CHANGED: it was: {expected}")


keys = ["report", "report-2026.json", "report/page-1"]
for key in keys:
    s3.put_object(Bucket="bucket", Key=key, Body=b"content")
print("guess: both list the same keys for the same prefix")
compare("no prefix, boto3", sorted(by_boto3()), keys)
compare("no prefix, obstore", by_obstore(), keys)
compare("prefix report, boto3", sorted(by_boto3("report")), keys)
compare("prefix report, obstore", by_obstore("report"), ["report/page-1"])
compare("prefix rep, boto3", sorted(by_boto3("rep")), keys)
compare("prefix rep, obstore", by_obstore("rep"), [])

s3.put_object(Bucket="bucket", Key="in//box", Body=b"content")
print("guess: with in//box beside them, obstore lists four keys, or at least the three")
compare("no prefix, boto3", sorted(by_boto3()), ["in//box", *keys])
compare("no prefix, obstore", by_obstore(), "InvalidPathError after 0 keys")
s3.delete_object(Bucket="bucket", Key="in//box")

print("guess: putting report/ leaves the 7 bytes of report alone")
obstore.put(store, "report/", b"")
compare("sizes as boto3 sees them", by_boto3(), {"report": 0, "report-2026.json": 7, "report/page-1": 7})
server.stop()
sys.exit(1 if changed else 0)
PY
unset AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_PROFILE 2>/dev/null || true
"$work/venv/bin/python" "$work/look.py"
