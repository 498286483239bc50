"""Parsers of what clouds respond and of what users write, for the campaign `fuzz`."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import fields
from pathlib import Path

from credstore.config.env_file import read_env_file
from credstore.config.named import read_stores
from credstore.config.registry import Registry
from credstore.config.units import parse_duration, parse_size
from credstore.config.url import parse_url
from credstore.driver.header_text import decode_text, read_etag, readable
from credstore.driver.values import ResumeToken
from credstore.drivers.azure import responses as azure
from credstore.drivers.azure import xml as azure_xml
from credstore.drivers.gcs import resources as gcs_resources
from credstore.drivers.gcs import responses as gcs
from credstore.drivers.gcs.checksums import Checksum
from credstore.drivers.gcs.resources import MD5
from credstore.drivers.s3 import responses as s3
from credstore.errors import StorageConfigurationError, StorageIntegrityError, StorageInvalidRequestError
from credstore.links.address import parse_address
from credstore.provider.resume_file import _parse as parse_resume_file
from credstore.times import parse_time
from credstore.wire.multipart import parse_parts
from credstore.wire.retry import parse_date, parse_retry_after

Target = Callable[[random.Random], None]
Altered = Callable[[random.Random, Sequence[bytes], Sequence[bytes]], bytes]

AZURE = [
    (
        b'<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs><Blob><Name>a/b</Name><VersionId>v</VersionId>'
        b"<IsCurrentVersion>true</IsCurrentVersion><Properties><Content-Length>5</Content-Length><Etag>0x8D</Etag>"
        b"<Last-Modified>Fri, 02 Jan 2026 03:04:05 GMT</Last-Modified><AccessTier>Hot</AccessTier></Properties></Blob>"
        b'<BlobPrefix><Name Encoded="true">p%2F</Name></BlobPrefix></Blobs><NextMarker>m</NextMarker></EnumerationResults>'
    ),
    b"<BlockList><UncommittedBlocks><Block><Name>AAAA</Name><Size>4</Size></Block></UncommittedBlocks></BlockList>",
    b"<Tags><TagSet><Tag><Key>a</Key><Value>b=20c</Value></Tag></TagSet></Tags>",
    b"<Error><Code>BlobNotFound</Code><Message>m</Message></Error>",
    (
        b"<UserDelegationKey><SignedOid>o</SignedOid><SignedTid>t</SignedTid><SignedStart>2026-01-02T03:04:05Z</SignedStart>"
        b"<SignedExpiry>2026-01-03T03:04:05Z</SignedExpiry><SignedService>b</SignedService><SignedVersion>v</SignedVersion>"
        b"<Value>AAAA</Value></UserDelegationKey>"
    ),
]
XML_TOKENS = [
    b"<Name>", b"</Name>", b'<Name Encoded="true">%FF%FE</Name>', b"<Size>-1</Size>", b"<Content-Length>" + b"9" * 30,
    b"&amp;", b"&x;", b"&#0;", b"<!DOCTYPE x>", b"<![CDATA[x]]>", b"<?xml version='1.0' encoding='utf-16'?>",
    b"<?xml version='1.0' encoding='nonesuch'?>", b"\xef\xbb\xbf", b"<Last-Modified>x</Last-Modified>", b"xmlns='x'", b"=ZZ",
]  # fmt: skip
RESOURCE = {
    "name": "a/b", "size": "5", "generation": "7", "metageneration": "1", "timeCreated": "2026-01-02T03:04:05.678Z",
    "storageClass": "STANDARD", "contentType": "text/plain", "metadata": {"a": "b", "credstore-sha256": "AA=="}, "crc32c": "AA==",
    "md5Hash": "AA==", "kmsKeyName": "k/cryptoKeyVersions/1", "customerEncryption": {"keySha256": "x"}, "temporaryHold": True,
    "retention": {"mode": "Locked", "retainUntilTime": "2027-01-02T03:04:05Z"}, "retentionExpirationTime": "2027-01-02T03:04:05Z",
}  # fmt: skip
GOOGLE = [
    json.dumps(each).encode()
    for each in (
        RESOURCE,
        {"items": [RESOURCE, 7], "prefixes": ["p/", 7], "nextPageToken": "t"},
        {"done": True, "totalBytesRewritten": "5", "resource": RESOURCE},
        {"done": False, "totalBytesRewritten": "5", "rewriteToken": "t"},
        {"error": {"code": 404, "message": "m", "errors": [{"reason": "notFound", "message": "m"}]}},
    )
]
JSON_TOKENS = [
    b'"name":', b'"size":"-1",', b'"size":1e99,', b'"items":{}', b'"metadata":[]', b'"metadata":{"a":7},', b"null", b"[]", b"\xff",
    b'"retention":7,', b'"timeCreated":"9999-99-99",', b"\xef\xbb\xbf", b'"\\ud800"', b'"crc32c":7,', b"9" * 5000, b'"generation":7,',
    b'"errors":[7]', b'"error":"x",', b'"temporaryHold":"x",', b'"retainUntilTime":"0001-01-01T00:00:00+23:59",',
]  # fmt: skip
BATCH = (
    b"--b1\r\nContent-Type: application/http\r\nContent-ID: <response-1>\r\n\r\nHTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n\r\n"
    b"--b1\r\nContent-Type: application/http\r\nContent-ID: <response-2>\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n{}\r\n--b1--\r\n"
)
BATCH_TOKENS = [
    b"--b1",
    b"--b1--",
    b"\r\n\r\n",
    b"\n\n",
    b"HTTP/1.1 ",
    b"HTTP/1.1 999",
    b"Content-ID: ",
    b"\xff",
    b"<response-" + b"9" * 5000,
]
VALUES = [
    b"Fri, 02 Jan 2026 03:04:05 GMT", b"2026-01-02T03:04:05Z", b"bytes 0-4/5", b"bytes=0-4", b'"etag"', b'W/"etag"', b"120", b"",
    b"=?UTF-8?B?ZcOp?=", b"=?iso-8859-1?Q?=E9?=", b"text/plain; charset=utf-8", b"/upload?upload_id=x", b"true", b"locked", b"7",
    b"crc32c=AAAAAA==,md5=AA==", b"x" * 300, "é".encode(), b"AES256", b"aws:kms", b"dGVzdA==", b"identity", b"gzip",
]  # fmt: skip
VALUE_TOKENS = [
    b"=?utf-7?B?AA==?=", b"=?nonesuch?Q?x?=", b"-", b"/", b"9" * 5000, b"\xff", b"\xed\xa0\x80", b"9999-99-99T99:99:99Z", b"=?",
    b"?=", b'"', b"W/", b"+", b"\xd9\xa1", b" ", b"\x00", b"0001-01-01T00:00:00+23:59", b"Thu, 01 Jan 0001 00:00:00 +2359",
]  # fmt: skip
NAMES = (
    "etag", "last-modified", "content-length", "content-range", "content-type", "content-encoding", "x-amz-meta-a",
    "x-amz-checksum-sha256", "x-amz-tagging-count", "x-amz-server-side-encryption", "x-amz-version-id", "x-amz-bucket-region",
    "x-amz-object-lock-mode", "x-ms-meta-a", "x-ms-version-id", "x-ms-tag-count", "x-ms-immutability-policy-until-date",
    "x-ms-immutability-policy-mode", "x-ms-legal-hold", "x-ms-access-tier", "x-goog-meta-a", "x-goog-generation",
    "x-goog-metageneration", "x-goog-hash", "x-goog-stored-content-encoding", "x-goog-encryption-kms-key-name", "retry-after",
    "x-amz-retry-after", "range", "location", "cache-control", "content-disposition", "x-amz-missing-meta", "server-timing",
    "x-amz-meta-credstore-sha256", "x-ms-meta-credstore_sha256", "x-goog-meta-credstore-sha256",
)  # fmt: skip
URLS = [
    b"s3://bucket/prefix?region=eu-west-1&part_size=16MiB&timeout=10s", b"file:///srv/store", b"gs://bucket", b"az://account/container",
    b"custom://host:9000/bucket?tls=false", b"memory:", b"https://cdn.example/a/b?x=1", b"mirror:[s3://a,s3://b]",
    b"https://[::1]:8443/a%20b", b"16MiB", b"1h30m", b"500ms",
]  # fmt: skip
URL_TOKENS = [
    b"?", b"&", b"=", b"%", b"%2F", b"%00", b"#", b"//", b"@", b":", b"[", b"]", b"..", b"region=", b"\xff", b"9" * 400, b"1e9", b"KiB",
    b"\xd9\xa1", b"xn--", b" ", b"\n", b"'",
]  # fmt: skip
FILES = [
    b'[photos]\nurl = "s3://bucket"\nregion = "eu-west-1"\n[other]\nprovider = "memory"\n', b"A=b\nexport C='d e'\n# x\nE=\"f\\n\"\n",
    json.dumps({"version": 1, **dict.fromkeys((each.name for each in fields(ResumeToken)), "x"), "size": 9, "part_size": 5}).encode(),
]  # fmt: skip
FILE_TOKENS = [
    b"[[",
    b"]",
    b"=",
    b"'",
    b'"',
    b"\\u0000",
    b"${A}",
    b"\xff",
    b"9" * 5000,
    b"[" * 3000,
    b"1e999",
    b"2026-99-99",
    b"\x00",
    b'"size": true',
]


def azure_replies(altered: Altered) -> Target:
    """Azure's XML: every reader on every reply."""
    readers = (
        azure_xml.parse_list, azure_xml.parse_blocks, azure_xml.parse_tags, azure_xml.parse_error, azure_xml.parse_delegation_key,
    )  # fmt: skip

    def target(chance: random.Random) -> None:
        body = altered(chance, AZURE, XML_TOKENS)
        for reader in readers:
            with suppress(StorageIntegrityError):
                reader(body)
        azure.classify(chance.choice((200, 404, 412, 503)), {"content-type": "application/xml"}, body)

    return target


def google_replies(altered: Altered) -> Target:
    """Google's JSON, and responses to many requests in one."""

    def target(chance: random.Random) -> None:
        body = altered(chance, GOOGLE, JSON_TOKENS)
        known = (StorageIntegrityError, StorageConfigurationError)
        with suppress(*known):
            found = gcs.parse_list(body)
            for each in found.items:
                with suppress(*known):
                    gcs_resources.listed_info(each, served_by="gcs")
        with suppress(*known):
            gcs.parse_rewrite(body)
        with suppress(*known):
            resource = gcs.parse_resource(body)
            gcs_resources.info_of(resource, served_by="gcs", versioned=chance.random() < 0.5)
            gcs_resources.written_info(resource, served_by="gcs", versioned=True)
            gcs_resources.checksums_of(resource)
            Checksum(MD5).check(resource)
            gcs_resources.retention_of(resource)
            gcs_resources.own_retention(resource)
        gcs.reason_of(body)
        with suppress(StorageIntegrityError):
            parse_parts(
                'multipart/mixed; boundary="b1"',
                altered(chance, [BATCH], BATCH_TOKENS),
                ordered=chance.choice((None, 2)),
            )

    return target


def header_values(altered: Altered) -> Target:
    """Headers of responses, as all clouds read them: nothing in one stops the others."""

    def target(chance: random.Random) -> None:
        given = {
            name: altered(chance, VALUES, VALUE_TOKENS).decode("utf-8", "surrogateescape")
            for name in chance.sample(NAMES, chance.randint(1, 8))
        }
        headers: Mapping[str, str] = given
        for reader in (s3.parse_info, azure.parse_info):
            with suppress(StorageIntegrityError):
                reader("k", headers, size=5, served_by="x")
        with suppress(StorageIntegrityError):
            gcs_resources.info_in("k", headers, 5, served_by="gcs", versioned=True)
        with suppress(StorageIntegrityError):
            gcs.session_of(headers)
        with suppress(StorageIntegrityError):
            s3.check_checksum(headers, bytes(32))
        azure.read_retention(headers)
        gcs.received(headers)
        s3.location_of(headers)
        gcs_resources.checksums_in(headers)
        seconds = parse_retry_after(headers, 1e9)
        assert seconds is None or seconds >= 0, "a wait in the past"
        for value in readable(headers).values():
            value.encode()
            for parse in (s3.parse_content_range, azure.parse_content_range, gcs.parse_content_range):
                assert (found := parse(value)) is None or 0 <= found[0] < found[1] <= found[2]
            parse_date(value)
            parse_time(value)
            read_etag(value)
            decode_text(value).encode()

    return target


def settings(folder: Path, altered: Altered) -> Target:
    """What users write: URLs of stores, sizes, durations, files of variables, of stores and of uploads."""
    stores, variables = folder / "stores.toml", folder / "variables.env"
    registry = Registry()

    def target(chance: random.Random) -> None:
        text = altered(chance, URLS, URL_TOKENS).decode("utf-8", "surrogateescape")
        with suppress(StorageConfigurationError):
            parse_url(text, "URL", registry)
        with suppress(StorageInvalidRequestError):
            parse_address(text, cdn="CDN", reserved=frozenset({"Expires"}))
        with suppress(StorageInvalidRequestError):
            assert parse_size(text) >= 0
        with suppress(StorageInvalidRequestError):
            assert parse_duration(text) >= 0
        data = altered(chance, FILES, FILE_TOKENS)
        parse_resume_file(data)
        stores.write_bytes(data)
        variables.write_bytes(data)
        with suppress(StorageConfigurationError):
            read_stores(stores)
        with suppress(StorageConfigurationError):
            read_env_file(variables)

    return target


def builders(folder: Path, stack: ExitStack, altered: Altered) -> dict[str, Callable[[], Target]]:
    """What makes each of them, by name."""
    return {
        "Azure replies (XML)": lambda: azure_replies(altered),
        "Google replies (JSON)": lambda: google_replies(altered),
        "headers of responses": lambda: header_values(altered),
        "settings and addresses": lambda: settings(folder, altered),
    }
