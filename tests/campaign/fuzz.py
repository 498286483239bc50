"""Fuzzing of parsers: whatever comes in, only declared errors come out, and what is read is what was meant."""

import asyncio
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from credstore.drivers.local import names
from credstore.drivers.s3 import records, xml
from credstore.encryption import DataKey
from credstore.errors import (
    StorageCodecError,
    StorageConfigurationError,
    StorageDecryptionError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidKeyError,
)
from credstore.pipeline import codec as codecs
from credstore.pipeline.envelope import Opener, Sealer
from credstore.pipeline.header import Binding, parse_header, parse_wrapped, wrapped_text
from credstore.proofs.format.bundle import parse_bundle
from credstore.proofs.format.canonical import encode_json
from credstore.proofs.format.dsse import encode_envelope, parse_envelope
from credstore.proofs.format.errors import ProofAlgorithmError, ProofFormatError
from credstore.proofs.format.record import parse_record
from credstore.proofs.format.status import StatusNotice, encode_notice, parse_notice
from credstore.proofs.format.trust import encode_trust_store, parse_trust_store
from credstore.provider.validation import check_key
from tests.campaign import fuzz_provenance, fuzz_replies
from tests.campaign.pool import by_two
from tests.campaign.trial import Campaign, OutOfTimeError, Trial
from tests.drivers.local.support import make_driver, put_request, spelled
from tests.pipeline.mutants import changed
from tests.proofs.material import ID, ISSUER, NOW, TRUST, bundle, issue
from tests.proofs.mutants import RICH, mutate

SECONDS = {"quick": 0.4, "ci": 30.0, "campaign": 60.0}
"""For each parser; without an entry the size alone counts."""
BATCH = 50
LARGEST = 512
"""MiB that the process may come to."""
DEEP = (b"[" * 100_000, b'{"a":' * 50_000, b"<a>" * 50_000)
Altered = Callable[[random.Random, Sequence[bytes], Sequence[bytes]], bytes]
Builder = Callable[[], Callable[[random.Random], None]]
Target = Callable[[random.Random], None]
"""Feeds one input; AssertionError, or an error that is not declared, is a violation."""


def _altered(chance: random.Random, documents: Sequence[bytes], tokens: Sequence[bytes] = ()) -> bytes:
    """One of the documents, most often with some changes."""
    data = chance.choice(documents)
    for _ in range(chance.choice((0, 1, 1, 2, 5))):
        how = chance.randrange(200)
        if how == 0:
            at = chance.randint(0, len(data))
            data = data[:at] + chance.choice(DEEP) + data[at:]
        elif how < 60:
            data = changed(data, chance, documents)
        elif how < 120 and tokens:
            at = chance.randint(0, len(data))
            data = data[:at] + chance.choice(tokens) + data[at + chance.choice((0, 0, 1, 9)) :]
        else:
            data = mutate(chance, data)
    return data


_ENTRY = (
    b"<Contents><Key>a%2Fb</Key><Size>5</Size><ETag>&quot;e&quot;</ETag>"
    b"<LastModified>2026-01-02T03:04:05.678Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
)
_VERSION = (
    b"<Version><Key>k</Key><VersionId>v1</VersionId><IsLatest>true</IsLatest><Size>1</Size>"
    b"<ETag>e</ETag><LastModified>2026-01-02T03:04:05Z</LastModified></Version>"
)
REPLIES = [
    b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    b"<EncodingType>url</EncodingType>" + _ENTRY + b"<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>"
    b"</ListBucketResult>",
    (
        b"<DeleteResult><Deleted><Key>a</Key><VersionId>v</VersionId></Deleted><Error><Key>b</Key><Code>AccessDenied</Code>"
        b"<Message>m</Message></Error></DeleteResult>"
    ),
    b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    b"<ListVersionsResult><IsTruncated>false</IsTruncated>"
    + _VERSION
    + b"<DeleteMarker><Key>k</Key><VersionId>v2"
    b"</VersionId><IsLatest>false</IsLatest></DeleteMarker></ListVersionsResult>",
    b"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2026-01-02T03:04:05Z</RetainUntilDate></Retention>",
    b"<LegalHold><Status>ON</Status></LegalHold>",
    b"<CopyObjectResult><ETag>&quot;e&quot;</ETag></CopyObjectResult>",
    b"<InitiateMultipartUploadResult><UploadId>U</UploadId></InitiateMultipartUploadResult>",
    b"<CompleteMultipartUploadResult><ETag>&quot;e-2&quot;</ETag></CompleteMultipartUploadResult>",
    (
        b"<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>u"
        b"</NextUploadIdMarker><Upload><Key>k</Key><UploadId>u</UploadId><Initiated>2026-01-02T03:04:05Z</Initiated>"
        b"</Upload></ListMultipartUploadsResult>"
    ),
    (
        b"<ListPartsResult><IsTruncated>true</IsTruncated><NextPartNumberMarker>2</NextPartNumberMarker><Part><PartNumber>1"
        b"</PartNumber><ETag>e</ETag><Size>9</Size></Part></ListPartsResult>"
    ),
    b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
    b"<Error><Code>NoSuchKey</Code><Message>m</Message><RequestId>r</RequestId></Error>",
    (
        b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode>"
        b"<Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>"
    ),
    (
        b"<GetObjectAttributesResponse><ETag>e</ETag><Checksum><ChecksumSHA256>AA==</ChecksumSHA256><ChecksumType>FULL_OBJECT"
        b"</ChecksumType></Checksum><ObjectSize>5</ObjectSize></GetObjectAttributesResponse>"
    ),
]
XML_TOKENS = [
    b"<Key>", b"</Key>", b"<Size>-1</Size>", b"<Size>9e9</Size>", b"<Size>" + b"9" * 5_000 + b"</Size>",
    b"<IsTruncated>true</IsTruncated>", b"&amp;", b"&x;", b"&#0;", b"&#xD800;", b"<!DOCTYPE x>", b"<![CDATA[x]]>",
    b"<?xml version='1.0' encoding='utf-16'?>", b"<?xml version='1.0' encoding='nonesuch'?>", b"%ff%fe", b"%00",
    b"<PartNumber>x</PartNumber>", b"<LastModified>9999-99-99T99:99:99Z</LastModified>", b"<Code/>", b"<Error>",
    b"<html>", b"xmlns='x'", b"<RetainUntilDate>0001-01-01T00:00:00+23:59</RetainUntilDate>",
]  # fmt: skip


def replies(chance: random.Random) -> None:
    """Every reader of S3's XML, on every reply."""
    body = _altered(chance, REPLIES, XML_TOKENS)
    readers = (
        xml.parse_list, xml.parse_deleted, xml.parse_versioning, xml.parse_versions, xml.parse_deleted_versions,
        xml.parse_retention, xml.parse_legal_hold, xml.parse_copied, xml.parse_upload_id, xml.parse_completed,
        xml.parse_uploads, xml.parse_parts, xml.parse_tags, xml.parse_error_fields, xml.parse_lock_rules,
        xml.parse_attributes,
    )  # fmt: skip
    for reader in readers:
        with suppress(StorageIntegrityError):
            reader(body)


def _proofs() -> Target:
    envelope = issue(**RICH)
    notice = StatusNotice("revocation", ID, bytes(32), ISSUER, "unspecified", NOW)
    documents = [
        envelope.payload, encode_envelope(envelope), bundle(envelope), encode_notice(notice),
        encode_trust_store(TRUST), encode_json({"a": [1, 2.5, None, {"b": "€"}]}),
    ]  # fmt: skip

    def target(chance: random.Random) -> None:
        data = _altered(chance, documents)
        for reader in (parse_record, parse_envelope, parse_bundle, parse_notice):
            with suppress(ProofFormatError):
                reader(data)
        with suppress(StorageConfigurationError, ProofAlgorithmError):
            parse_trust_store(data)

    return target


def attributes(folder: Path, stack: ExitStack) -> Target:
    """The JSON beside a local object, read through the driver; the bytes are right or refused."""
    root = folder / "store"
    driver = make_driver(root, fsync=False)
    runner = stack.enter_context(asyncio.Runner())
    stack.callback(lambda: runner.run(driver.aclose()))
    runner.run(driver.put(put_request("k", b"data" * 9)))
    (path,) = (root / ".credstore/attributes").glob("*/*")
    good = path.read_bytes()
    tokens = [
        b"{}",
        b"[]",
        b"null",
        b'"x"',
        b"-1",
        b"1e999",
        b'"tags": 5,',
        b'"metadata": [],',
        b'"digest": {},',
    ]

    async def read() -> None:
        reader = await driver.get("k")
        assert await reader.read() == b"data" * 9
        await driver.list()

    def target(chance: random.Random) -> None:
        path.write_bytes(_altered(chance, [good], tokens))
        with suppress(StorageError):
            runner.run(read())

    return target


def headers() -> Target:
    """The header of an encrypted object, and a wrapped key in metadata."""
    key = DataKey(bytes(range(32)), key_id="local-1", wrapped=bytes(range(40)))
    place = Binding("store", "k", "ab" * 16)
    stored = Sealer(key, place, salt=bytes(32), chunk_size=4096, plain_size=9).seal(b"plain" + bytes(4))
    text = wrapped_text(key).encode()

    def target(chance: random.Random) -> None:
        data = _altered(chance, [stored, stored[:200], text])
        with suppress(StorageDecryptionError):
            found = parse_header(data, complete=chance.random() < 0.5)
            if found is not None:
                assert 0 < found.size <= len(data)
                Opener(found, key, place)
        with suppress(StorageDecryptionError):
            parse_wrapped(data.decode("utf-8", "surrogateescape"))

    return target


PARTS = (
    "", ".", "..", "a", "A", "b.json", ".credstore", ".CREDSTORE", ".credstore+", ".credstore-", ".credstore~",
    "%41", "%", "%2f", "é", "e\u0301", "~", "credst~1", "a.", " ", "\x00", "\x1f", "\ud800", "\uffff", "😀", "x" * 230,
)  # fmt: skip


def keys(chance: random.Random) -> None:
    """Keys and file names: a key is refused or comes back from its names; a name means at most one key."""
    key = "/".join(
        "".join(chance.choices(PARTS, k=chance.randint(0, 4))) for _ in range(chance.randint(1, 4))
    )
    fold = chance.random() < 0.5
    with suppress(StorageInvalidKeyError):
        check_key(key)
        for place in (names.primary(key, fold=fold), names.aside(key, fold=fold)):
            assert spelled(place, fold=fold) == key, "a key does not come back from its names"
            for name in (*place.directories, place.name):
                assert name not in {"", ".", ".."}, "a name leads elsewhere"
                assert "/" not in name, "a name is several"
                assert len(name.encode()) <= names.MAX_NAME, "a name is too long"
    name = key.replace("/", "")
    found = names.parse(name, fold=fold)
    if found is not None and not found.continued and 0 < len(found.text.encode()) <= names.MAX_KEY:
        place = (names.aside if found.aside else names.primary)(found.text, fold=fold)
        assert (*place.directories, place.name)[-1] == name or place.directories, "two names mean one key"


def _codecs() -> Target:
    plain = b"proof " * 300
    bomb = bytes(20_000_000)
    documents = {
        codec: [codecs.encode(codec, plain), codecs.encode(codec, b""), codecs.encode(codec, bomb)]
        for codec in ("gzip", "zstd")
    }

    def target(chance: random.Random) -> None:
        codec = chance.choice(("gzip", "zstd"))
        data = _altered(chance, documents[chance.choice((codec, codec, "gzip", "zstd"))])
        limit = chance.choice((0, len(plain), 100_000))
        with suppress(StorageCodecError):
            assert len(codecs.decode(codec, data, max_size=limit)) <= limit, "more than the limit"
        stream, taken = codecs.decoder(codec), 0
        with suppress(StorageCodecError):
            for piece in stream.feed(data):
                taken += len(piece)
                if taken > 100_000:
                    return
            stream.finish()

    return target


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """A parser that does not keep its word."""
    if name == "another-error":
        with mock.patch.object(records, "unreadable", KeyError):
            yield
    elif name == "two-keys-one-name":
        with mock.patch.object(names, "_is_plain", lambda segment, *, fold: len(segment) > 0):
            yield
    else:
        yield


def first(folder: Path, stack: ExitStack, altered: Altered) -> dict[str, Builder]:
    """What makes the targets of this module, by name."""
    return {
        "S3 replies (XML)": lambda: replies,
        "proofs (JSON)": _proofs,
        "attributes (JSON)": lambda: attributes(folder, stack),
        "envelope headers": headers,
        "keys and names": lambda: keys,
        "gzip and zstd": _codecs,
    }


PLANTED = 6
"""The targets that a planted bug is in, the first ones."""


def builders(folder: Path, stack: ExitStack) -> dict[str, Builder]:
    """What makes each target, by name."""
    parts = (first, fuzz_replies.builders, fuzz_provenance.builders)
    return {name: build for part in parts for name, build in part(folder, stack, _altered).items()}


def run(trial: Trial) -> None:
    """Feed each parser, by turns of its own, for its share of the size or its time."""
    before = _largest()
    with ExitStack() as stack:
        names = list(builders(trial.folder, stack))[: PLANTED if trial.plant else None]
    largest = 0
    if trial.scale == "quick" or trial.plant is not None:
        with planted(trial.plant):
            for name in names:
                _feed(trial, name, trial.size // len(names))
        largest = _largest()
    else:
        with by_two(trial, _alone, _tasks(trial, names), fresh=True) as results:
            for found in results:
                trial.counts.update(found.counts)
                trial.violations += found.violations
                trial.ended(None, None, found.done)
                largest = max(largest, found.largest)
    if trial.scale in SECONDS:
        trial.size = trial.done
    trial.counts["MiB at most"] = largest
    if trial.plant is None:  # What the process of all tests had before is not the parsers'.
        too_much = largest > max(LARGEST, (before if trial.scale == "quick" else 0) + LARGEST // 2)
        trial.ended("memory", f"it came to {largest} MiB" if too_much else None, 0)


def _largest() -> int:
    """The most memory that the process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (
        2**20 if sys.platform == "darwin" else 2**10
    )


class Fed(NamedTuple):
    """What one process did with one parser."""

    counts: Counter[str]
    violations: list[str]
    done: int
    largest: int


def _tasks(trial: Trial, names: Sequence[str]) -> list[tuple[str, Trial]]:
    """Each parser with a trial of its own."""
    size = trial.size // len(names)
    return [
        (
            name,
            Trial(
                trial.name,
                size,
                trial.seed,
                trial.folder / f"{number}",
                trial.scale,
                trial.start,
                until=trial.until,
                quiet=True,
            ),
        )
        for number, name in enumerate(names)
    ]


def _alone(task: tuple[str, Trial]) -> Fed:
    name, trial = task
    trial.folder.mkdir()
    with suppress(OutOfTimeError):
        _feed(trial, name, trial.size)
    return Fed(trial.counts, trial.violations, trial.done, _largest())


def _feed(trial: Trial, name: str, share: int) -> None:
    with ExitStack() as stack:
        target = builders(trial.folder, stack)[name]()
        began, seconds = time.monotonic(), SECONDS.get(trial.scale)
        for batch in range(trial.start, trial.start + share // BATCH):
            if seconds is not None and time.monotonic() - began > seconds:
                break
            chance = trial.chance(f"{name} {batch}")
            problem = None
            try:
                for _ in range(BATCH):
                    target(chance)
            except Exception as error:
                problem = f"{type(error).__name__}: {error!s:.200}"
            trial.counts[name] += BATCH
            trial.ended(f"{batch} of {name}", problem, BATCH)


CAMPAIGN = Campaign(
    name="fuzz",
    unit="inputs",
    about=(
        "Valid documents with random changes go into the parsers: replies of S3, Azure and Google and their headers, "
        "records, envelopes, bundles, notices and trust stores, the attributes of local objects (read through the driver), "
        "headers of encrypted objects and wrapped keys, keys and file names, gzip and zstd; notes, checkpoints, policies, "
        "proofs, entries and tiles of logs; other people's attestations, signed models and indexes of versions, bundles next "
        "to files, lists and keys in PEM, policies in TOML, time stamps, records of the original service, manifest stores, "
        "pictures and requests for soft bindings; URLs of stores, sizes, durations and files of settings. Only the declared "
        "errors may come out, nothing beyond its limit, what is read is what was meant, and each process stays below 512 "
        "MiB. At the scales but `release` it is the time for each parser that is limited (`ci` 30 s, `campaign` 60 s)."
    ),
    sizes={"quick": 60_000, "ci": 60_000_000, "campaign": 60_000_000, "release": 60_000_000},
    run=run,
    plants={"another-error": 1_200, "two-keys-one-name": 1_200},
)
