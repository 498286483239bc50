#!/bin/sh
# One would guess that an S3 client with its retries turned off sends a request once, and that a 412 to a conditional
# write means that someone else was there first. aiobotocore hands the request to aiohttp, which sends a PUT a second
# time by itself when the connection ends without an answer, in silence, with no public setting against it, whatever
# `retries` says. Where the store had done the write and only the answer was lost, the second PUT meets the object of
# the first: put_object(IfNoneMatch="*") or (IfMatch=etag) raises a 412 although its own content is in the store. boto3
# with the same settings sends once and raises ConnectionClosedError, which says that the outcome is unknown. This
# matters to whoever takes a lock, claims a job or commits a table version with a conditional write: the winner hears
# that it lost, and nobody holds the lock. After a 412, read the object and compare it with what was sent.
# Seen 2026-12-01 with aiobotocore 3.10.0, aiohttp 3.14.5 and boto3 1.43.117, Python 3.11.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check aiobotocore==3.10.0 aiohttp==3.14.5 boto3==1.43.117

cat >"$work/look.py" <<'PY'
import asyncio
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import boto3
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError


class Store(BaseHTTPRequestHandler):  # of one object, whose ETag is its content
    protocol_version, content, requests = "HTTP/1.1", b"", 0

    def do_PUT(self):
        Store.requests += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        taken = self.headers.get("If-None-Match") == "*" and Store.content != b""
        moved = self.headers.get("If-Match") not in (None, f'"{Store.content.decode()}"')
        if taken or moved:
            return self.send_error(412)
        Store.content, self.close_connection = body, True  # the write is done; the connection ends before the answer

    log_message = lambda *_: None  # quiet


server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
threading.Thread(target=server.serve_forever, daemon=True).start()
who = {"endpoint_url": f"http://127.0.0.1:{server.server_port}", "region_name": "us-east-1",
       "aws_access_key_id": "example", "aws_secret_access_key": "example"}
once = {"total_max_attempts": 1}  # the first one, no retry


async def by_aiobotocore(call):
    async with get_session().create_client("s3", config=AioConfig(retries=once), **who) as client:
        await client.put_object(**call)


doors = {"boto3": lambda call: boto3.client("s3", config=Config(retries=once), **who).put_object(**call),
         "aiobotocore": lambda call: asyncio.run(by_aiobotocore(call))}
changed = False
print(f"aiobotocore {version('aiobotocore')}, aiohttp {version('aiohttp')}, guess: 1 request, connection lost")
for before, condition in ((b"", {"IfNoneMatch": "*"}), (b"old", {"IfMatch": '"old"'})):
    for door, put in doors.items():
        Store.content, Store.requests = before, 0
        try:
            put({"Bucket": "bucket", "Key": "lock", "Body": b"mine", **condition})
            said = "done"
        except ClientError as error:
            said = error.response["Error"]["Code"]
        except ConnectionClosedError:
            said = "connection lost"
        seen = (said, Store.requests, Store.content)
        wrong = seen != (("412", 2, b"mine") if door == "aiobotocore" else ("connection lost", 1, b"mine"))
        print(f"  {condition} by {door}: {said} after {seen[1]} request(s), store has {seen[2]}" + " CHANGED" * wrong)
        changed = changed or wrong
sys.exit(1 if changed else 0)
PY
unset AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_PROFILE AWS_MAX_ATTEMPTS AWS_RETRY_MODE 2>/dev/null || true
"$work/venv/bin/python" "$work/look.py"
