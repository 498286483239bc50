#!/bin/sh
# One would guess that the writers of one package agree on what an exception inside `with` means, and, since a store
# shows an object only once its upload is completed, that the object stays as it was. obstore's open_writer does just
# that, with 4 bytes written as with 12 MB, and leaves no open upload behind. The writer of obstore.fsspec, which ships
# in the same package, completes the upload: what was written so far replaces the good object and is, to the store, a
# whole one. opendal's open(path, "wb") does so too, in its sync and in its async form. This matters to whoever moves
# from one of these writers to another, or relies on it that a store holds whole objects only: a failure of the producer
# that used to leave the last good backup or manifest in place now overwrites it with the start of the next one. Write
# to another key and copy, or put() what is already complete.
# Seen 2026-11-30 with obstore 0.12.1, fsspec 2026.9.0 and opendal 0.47.12 against moto 5.2.5, boto3 1.43.117.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check obstore==0.12.1 fsspec==2026.9.0 opendal==0.47.12 \
    'moto[s3,server]==5.2.5' boto3==1.43.117

cat >"$work/look.py" <<'PY'
import asyncio
import logging
import sys
from importlib.metadata import version

import boto3
import obstore
import opendal
from moto.server import ThreadedMotoServer
from obstore.fsspec import FsspecStore
from obstore.store import S3Store

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
s3 = boto3.client(
    "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="example", aws_secret_access_key="example")
s3.create_bucket(Bucket="bucket")
who = {"endpoint": url, "region": "us-east-1", "access_key_id": "example", "secret_access_key": "example"}
store = S3Store("bucket", client_options={"allow_http": True}, **who)
fsspec_store = FsspecStore("s3", client_options={"allow_http": True}, **who)
operator = opendal.Operator("s3", bucket="bucket", **who)
async_operator = opendal.AsyncOperator("s3", bucket="bucket", **who)


class Stop(Exception):
    pass


def stop_within(opened, content):
    with opened as writer:
        writer.write(content)
        raise Stop


async def stop_within_async(opened, content):
    async with opened as writer:
        await writer.write(content)
        raise Stop


async def opendal_async(content):
    await stop_within_async(await async_operator.open("key", "wb"), content)


doors = {
    "obstore.open_writer": lambda content: stop_within(obstore.open_writer(store, "key"), content),
    "obstore.open_writer_async": lambda content: asyncio.run(
        stop_within_async(obstore.open_writer_async(store, "key"), content)),
    "obstore.fsspec open": lambda content: stop_within(fsspec_store.open("bucket/key", "wb"), content),
    "opendal open": lambda content: stop_within(operator.open("key", "wb"), content),
    "opendal async open": lambda content: asyncio.run(opendal_async(content)),
}
aborts = {"obstore.open_writer", "obstore.open_writer_async"}
print(f"obstore {version('obstore')}, fsspec {version('fsspec')}, opendal {version('opendal')}")
print("guess: after an exception inside `with`, all of these leave the object that was there")
changed = False
for size in (4, 12_000_000):
    for door, write in doors.items():
        s3.put_object(Bucket="bucket", Key="key", Body=b"the last good content")
        try:
            write(b"h" * size)
            raised = "nothing"
        except Stop:
            raised = "Stop"
        content = s3.get_object(Bucket="bucket", Key="key")["Body"].read()
        kinds = {b"the last good content": "kept", b"h" * size: "replaced by the part"}
        pending = len(s3.list_multipart_uploads(Bucket="bucket").get("Uploads", []))
        seen = (raised, kinds.get(content, "something else"), pending)
        print(f"  {size} bytes by {door}: raised {seen[0]}, object {seen[1]}, {seen[2]} uploads left open")
        expected = ("Stop", "kept" if door in aborts else "replaced by the part", 0)
        if seen != expected:
            changed = True
            print(f"    CHANGED: it was: {expected}")
server.stop()
sys.exit(1 if changed else 0)
PY
unset AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_PROFILE 2>/dev/null || true
"$work/venv/bin/python" "$work/look.py"
