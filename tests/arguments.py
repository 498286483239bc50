"""Every public constructor and function with arguments that are right, to be made wrong one at a time."""

import asyncio
import atexit
import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import credstore
import credstore.artifacts
import credstore.cluster
import credstore.driver
import credstore.errors
import credstore.proofs
import credstore.proofs.log
import credstore.testing
import credstore.transfer
from credstore import (
    KeyRing,
    LocalConfig,
    LocalKey,
    MemoryConfig,
    Secret,
    StorageError,
)
from credstore.artifacts import ArtifactVersion, ModelKey
from credstore.driver import BytesBody, ObjectInfo
from credstore.driver.capability_report import CapabilityFact, encode_report
from credstore.drivers.memory import MemoryDriver
from credstore.drivers.s3.driver import S3Driver
from credstore.proofs import (
    AssetDigest,
    Bundle,
    IssuedBy,
    IssueRequest,
    ProofStatus,
    ProofStore,
    TrustStore,
)
from credstore.proofs.log.checkpoint import sign_text
from credstore.proofs.log.entry import LogEntry, parse_entry
from credstore.proofs.log.merkle import hash_leaf
from credstore.proofs.log.policy import PolicyWitness
from credstore.proofs.log.proof_file import encode_log_proof
from tests.links.signers import LATER, NOW, SECRETS, pem, presigned, rsa_key
from tests.proofs import material

MODULES = (
    credstore,
    credstore.artifacts,
    credstore.proofs,
    credstore.proofs.log,
    credstore.driver,
    credstore.testing,
    credstore.errors,
    credstore.transfer,
    credstore.cluster,
)
"""Whose public names are tried."""
KEY = Secret("0123456789abcdef0123456789abcdef")
BASE = {"bucket": "proofs", "access_key_id": "id", "secret_access_key": KEY}
REGION = {**BASE, "region": "eu-central-1"}
RIGHT = "https://cdn.example/a"


def nothing(_made: Any) -> None:
    """Where a wrong value is a result's own matter: nothing of credstore reads it."""


@dataclass
class Call:
    """How one public name is called, and what is then done with what it made.

    Attributes:
        arguments: By name; those that are left out keep their defaults.
        use: What users do with the result.
    """

    arguments: Callable[[], dict[str, Any]]
    use: Callable[[Any], object] = nothing


def use_fetch(fetching: Any) -> None:
    """Where nothing listens."""
    with contextlib.suppress(credstore.errors.StorageConnectionError):
        asyncio.run(fetching)


REPORT = {
    "provider": "memory",
    "place": ("memory://memory",),
    "tested_at": datetime.now(UTC).replace(microsecond=0),
    "facts": (CapabilityFact(name="tags", granted=True, honoured="no", why="none"),),
}


def report_file():
    path = Path(tempfile.gettempdir()) / f"credstore-report-{os.getpid()}.json"
    path.write_bytes(encode_report(credstore.CapabilityReport(**REPORT)))
    atexit.register(path.unlink, missing_ok=True)
    return {"path": path}


def given(**arguments: Any) -> Callable[[], dict[str, Any]]:
    """The same arguments each time."""
    return lambda: arguments


async def _with_provider(provider):
    try:
        await provider.store("key", b"1")
        await provider.retrieve("key")
        await provider.list()
        await provider.get_stats()
        provider.get_url("key")
        await provider.get_signed_url("key", 60)
    finally:
        await provider.aclose()


def use_provider(provider):
    asyncio.run(_with_provider(provider))


def use_coroutine(coroutine):
    asyncio.run(coroutine)


def make_provider(provider):
    asyncio.run(provider.aclose())


async def _with_proofs(store):
    try:
        proof = await store.issue(b"asset", expires_in=60)
        await store.get(proof.proof_id, asset=b"asset")
        await store.find_by_hash(AssetDigest.of(b"asset").sha256)
        await store.revoke(proof.proof_id)
        await store.sweep_expired()
        await store.fsck()
    finally:
        await store.aclose()


def use_proofs(store):
    asyncio.run(_with_proofs(store))


def proof_store():
    return {
        "provider": credstore.MemoryStorageProvider(),
        "trust": material.TRUST,
        "signer": material.SIGNER,
        "issuer": material.ISSUER,
        "clock": lambda: material.NOW,
    }


async def _with_ring(ring):
    key = await ring.generate(store_id="store")
    await ring.unwrap(key.key_id, key.wrapped, store_id="store")


def use_ring(ring):
    asyncio.run(_with_ring(ring))


def use_key(key):
    asyncio.run(_with_ring(KeyRing(key)))


def use_policy(policy):
    asyncio.run(_asking(policy))


async def _asking(policy):
    store = ProofStore(**proof_store())
    try:
        proof = await store.issue(b"asset")
        await store.get(proof.proof_id, policy=policy)
    finally:
        await store.aclose()


def use_request(request):
    async def main():
        store = ProofStore(**proof_store())
        try:
            async for outcome in store.issue_many([request]):
                if outcome.error is not None:
                    raise outcome.error
        finally:
            await store.aclose()

    asyncio.run(main())


def use_homes(homes):
    async def main():
        store = ProofStore(**proof_store() | {"legacy": homes})
        try:
            await store.provider.store(f"{SEALED_ID}.json", SEALED, compress=False)
            await store.import_legacy()
            await store.exists(SEALED_ID)
            await store.find_legacy(bytes(32))
            await store.get(SEALED_ID, policy=credstore.proofs.unsafe_allow_unsigned())
        finally:
            await store.aclose()

    asyncio.run(main())


def use_manager(manager):
    async def main():
        await manager.save_dataset("set", [__file__])
        await manager.verify("set")

    asyncio.run(main())


def use_signer(signer):
    signer.sign(RIGHT, now=NOW, expires_at=LATER)


def use_client_side(policy):
    async def main():
        async with credstore.MemoryStorageProvider(encryption=policy) as provider:
            await provider.store("key", b"1")
            await provider.retrieve("key")

    asyncio.run(main())


def use_dictionary(dictionary):
    async def main():
        async with credstore.MemoryStorageProvider() as provider:
            await provider.add_dictionary(dictionary)

    asyncio.run(main())


def use_customer_key(key):
    use_provider(credstore.MemoryStorageProvider(MemoryConfig(encryption=key)))


def use_trust(trust):
    credstore.proofs.parse_trust_store(credstore.proofs.encode_trust_store(trust))
    use_proofs(ProofStore(**proof_store() | {"trust": trust}))


def use_trusted(key):
    use_trust(TrustStore(1, (key, material.P256_KEY)))


def use_record(record):
    material.encode_record(record)


def use_config(config):
    credstore.StorageFactory(environ={}).create(config)


def use_factory(factory):
    async def main():
        provider = factory.create("memory:")
        await provider.store("key", b"1")
        await provider.aclose()

    asyncio.run(main())


def use_container(container):
    async def main():
        async with container:
            await container.storage_provider().store("key", b"1")

    asyncio.run(main())


def use_event(observer):
    use_provider(credstore.MemoryStorageProvider(observers=[observer]))


def use_error(error):
    str(error), repr(error), error.facts()
    raise error


def use_async_generator(served):
    async def main():
        async with served:
            await asyncio.sleep(0)

    asyncio.run(main())


def use_reader(reader):
    async def main():
        async with reader:
            await reader.read()

    asyncio.run(main())


def use_answer(answer):
    use_answers(credstore.testing.ScriptedTransport(answer))


def use_answers(transport):
    async def main():
        config = credstore.S3Config(**REGION)
        async with credstore.StorageProvider(S3Driver(config, transport=transport), config) as provider:
            await provider.retrieve("key")

    asyncio.run(main())


def vars_of(made):
    """The fields of a dataclass, by name."""
    return {each.name: getattr(made, each.name) for each in fields(made)}


def adopt(legacy):
    async def main():
        async with ProofStore(**proof_store()) as store:
            await store.adopt(legacy, b"asset")

    asyncio.run(main())


def with_record(**changes):
    return replace(material.RECORD, **changes)


PASSPHRASE = Secret("correct horse battery staple 2025")  # Of the published vectors.
SEALED_ID = "a3b62e26-a776-459f-a7ec-a2be504c0432"
SEALED = (Path(__file__).parent / "proofs" / "vectors" / "credlink" / "encrypted.json").read_bytes()
ROOTS = json.loads((Path(material.__file__).parent / "vectors" / "timestamps.json").read_text())["good"][
    "root"
].encode()
MEDIA_KEY = Secret(SECRETS["media-cdn"][1])
RSA = Secret(pem(rsa_key()))
ENVELOPE = material.issue()
BUNDLE = material.bundle(ENVELOPE)
PROOF = credstore.proofs.verify_proof(ENVELOPE, material.TRUST, now=material.NOW)
STATUS = ProofStatus("valid", "store", material.NOW)
DIGEST = AssetDigest.of(material.ASSET)
LINK = credstore.proofs.ManifestLink(bytes(32), 1)
CLOUD = {"bucket": "proofs", "access_key_id": "id", "secret_access_key": KEY, "region": "eu-central-1"}
AZURE = {"account": "proofs", "bucket": "proofs", "account_key": Secret("ZXhhbXBsZQ==")}
GCS = {"bucket": "proofs"}
SAMPLES = [bytes(f'{{"proof": {number}, "by": "{number * 7919}"}}', "ascii") * 8 for number in range(200)]
ERROR = {"message": "words"}
FILES = {"path": "/nowhere/at/all"}
EDGE_KEY = Secret("AAECAwQFBgcICQoLDA0ODw==")
WHEN = material.NOW
INFO = {"key": "key", "size": 1}


def use_transfer(transfer):
    """Run it in an empty folder, where a journal may be."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        asyncio.run(transfer)


def use_evidence(checking):
    """There is none of that name."""
    with contextlib.suppress(StorageError):
        use_transfer(checking)


def places():
    return {"source": credstore.MemoryStorageProvider(), "destination": credstore.MemoryStorageProvider()}


VERSION = ArtifactVersion("model", "a", 1, WHEN, 0, 0, 0, None, "a", b"")
MODEL_KEY = ModelKey.of(material.P256.public_key)


async def fetch_nothing(path, most):
    """A log without files."""


def log_client(**changes):
    return credstore.proofs.log.LogClient(**{"fetch": fetch_nothing, "policy": LOG_POLICY, **changes})


def use_log(made):
    """Whatever is asked of a log without files ends in an error of credstore's."""
    with contextlib.suppress(StorageError):
        asyncio.run(made)


def use_witness_client():
    witness = PolicyWitness("w", WITNESS_KEY, "http://127.0.0.1:9")
    return {"witness": witness, "http": credstore.proofs.log.LogHttp()}


LOG_SEED = bytes(range(32))
LOG_SIGNER = credstore.proofs.log.seed_signer("log.example", LOG_SEED)
WITNESS_SIGNER = credstore.proofs.log.seed_signer("w.example", LOG_SEED[::-1], 4)
LOG_POLICY = credstore.proofs.log.sole_policy(LOG_SIGNER.key.encode())
WITNESS_KEY = WITNESS_SIGNER.key
LOG_STATE = credstore.proofs.log.Checkpoint("log.example", 1, hash_leaf(b"entry"))
LOG_PROOF = encode_log_proof(0, [], asyncio.run(sign_text(LOG_STATE.text, [LOG_SIGNER], 0)).encode())
LOG_PEM = credstore.proofs.log.generate_note_key()
LOG_ENTRY = LogEntry("erase", bytes(32), "key", b"sig").data
CALLS: dict[str, Call] = {
    "BundledLog": Call(
        lambda: {
            "policy": LOG_POLICY,
            "objects": credstore.proofs.log.LogObjects(credstore.MemoryStorageProvider()),
        }
    ),
    "History": Call(given(origin="log.example", size=0, time=None, statements=(), unnamed=0, unread=0)),
    "InLog": Call(given(origins="log.example")),
    "LogCheck": Call(given(policy=LOG_POLICY)),
    "LogIndex": Call(lambda: {"objects": credstore.proofs.log.LogObjects(credstore.MemoryStorageProvider())}),
    "LogPart": Call(given(entry=b"entry", proof="proof")),
    "Logged": Call(given(origin="log.example", index=0, size=1, time=None, witnesses={}, sigs=())),
    "LoggedStatement": Call(given(index=0, entry=parse_entry(LOG_ENTRY))),
    "ProofLog": Call(given(policy=LOG_POLICY)),
    "ReconcileReport": Call(given(logged=0)),
    "Statement": Call(given(index=0, entry=parse_entry(LOG_ENTRY), data=None)),
    "WholeAdmission": Call(given(trust=material.TRUST, clock=lambda: WHEN)),
    "generate_note_key": Call(given()),
    "pem_signer": Call(given(name="log.example", pem=LOG_PEM)),
    "read_copy": Call(
        given(folder="copy"),
        lambda made: use_log(credstore.proofs.log.LogClient(made, policy=LOG_POLICY).checkpoint()),
    ),
    "read_history": Call(lambda: {"client": log_client(), "sha256": bytes(32)}, use_log),
    "Checkpoint": Call(given(origin="log.example", size=0, root=bytes(32))),
    "LogClient": Call(given(fetch=fetch_nothing, policy=LOG_POLICY), lambda made: use_log(made.checkpoint())),
    "LogEntry": Call(given(kind="erase", pae=bytes(32), keyid="key", sig=b"1")),
    "LogFiles": Call(lambda: {"provider": credstore.MemoryStorageProvider()}),
    "LogHttp": Call(given(timeout=1.0)),
    "LogMemory": Call(given(folder="memory")),
    "LogObjects": Call(lambda: {"provider": credstore.MemoryStorageProvider()}),
    "LogPolicy": Call(given(logs=LOG_POLICY.logs)),
    "LogReport": Call(given(checkpoint=credstore.proofs.log.Checkpoint("log.example", 0, bytes(32)))),
    "LogSequencer": Call(
        lambda: {
            "provider": credstore.MemoryStorageProvider(),
            "signer": LOG_SIGNER,
            "admission": credstore.proofs.log.StatementAdmission(material.TRUST, clock=lambda: WHEN),
            "clock": lambda: WHEN,
            "randomness": bytes,
        }
    ),
    "LogWitness": Call(
        lambda: {
            "provider": credstore.MemoryStorageProvider(),
            "signer": WITNESS_SIGNER,
            "logs": [LOG_SIGNER.key],
            "clock": lambda: WHEN,
        }
    ),
    "MonitorReport": Call(given(checkpoint=credstore.proofs.log.Checkpoint("log.example", 0, bytes(32)))),
    "NamedSigner": Call(given(name="log.example", signer=material.SIGNER)),
    "StatementAdmission": Call(given(trust=material.TRUST, clock=lambda: WHEN)),
    "WitnessAnswer": Call(given(status=200)),
    "WitnessClient": Call(use_witness_client),
    "WitnessGroup": Call(lambda: {"policy": LOG_POLICY, "http": credstore.proofs.log.LogHttp()}),
    "WitnessedCheckpoint": Call(given(signed=None, witnesses={}, time=None)),
    "check_log": Call(lambda: {"client": log_client()}, use_log),
    "IndexReport": Call(given()),
    "check_index": Call(
        lambda: {
            "client": log_client(),
            "objects": credstore.proofs.log.LogObjects(credstore.MemoryStorageProvider()),
        },
        use_log,
    ),
    "export_log": Call(lambda: {"client": log_client(), "folder": "copy"}, use_log),
    "monitor_log": Call(lambda: {"client": log_client(), "witnesses": [], "now": WHEN}, use_log),
    "parse_entry": Call(given(data=LOG_ENTRY)),
    "parse_log_policy": Call(given(data=b"quorum none")),
    "read_key": Call(given(vkey=LOG_SIGNER.key.encode())),
    "seed_signer": Call(given(name="log.example", seed=LOG_SEED)),
    "sole_policy": Call(given(vkeys=LOG_SIGNER.key.encode())),
    "verify_log_proof": Call(given(data=LOG_PROOF, entry=b"entry", policy=LOG_POLICY)),
    "Alone": Call(lambda: {"place": credstore.MemoryStorageProvider(), "name": "a"}),
    "TransferEvent": Call(given(kind="same", name="a")),
    "TransferPlan": Call(given()),
    "TransferProgress": Call(given(objects=1, bytes=1, total_objects=1, total_bytes=1)),
    "TransferReport": Call(
        given(
            counts={},
            bytes=0,
            compared_by={},
            lost={},
            events=(),
            plan=credstore.transfer.TransferPlan(),
            dry_run=False,
            seconds=0.0,
        )
    ),
    "Under": Call(lambda: {"provider": credstore.MemoryStorageProvider()}),
    "VerifiedTransfer": Call(
        given(
            issuer="a",
            keyid="a",
            source="a",
            destination="a",
            objects=1,
            bytes=1,
            finished_at=material.NOW,
            complete=True,
        )
    ),
    "Cluster": Call(given()),
    "StoreAt": Call(given()),
    "IssueReport": Call(given(issued=1, known=0, failed={})),
    "RecompressReport": Call(given(recompressed=1, kept=0, known=0, before=1, after=1, failed={})),
    "verify_transfer": Call(given(evidence="list", trust=material.TRUST), use_evidence),
    "compare": Call(places, use_transfer),
    "copy_tree": Call(places, use_transfer),
    "journal_name": Call(places),
    "migrate": Call(places, use_transfer),
    "sync": Call(places, use_transfer),
    "ArchiveReport": Call(given(version=None)),
    "ArtifactVersion": Call(
        given(
            kind="dataset",
            name="a",
            version=1,
            created=WHEN,
            files=0,
            size=0,
            stored=0,
            parent=None,
            index="a",
            digest=b"",
        )
    ),
    "ClassOptions": Call(given()),
    "Explanation": Call(
        given(
            path="a",
            file_class=None,
            rule="a",
            compress=False,
            content_type="text/plain",
            storage_class=None,
            retain_for=None,
            reasons=(),
        )
    ),
    "SyncReport": Call(lambda: {"version": VERSION}),
    "TrainingCheckpoint": Call(
        lambda: {"run": "a", "step": 1, "created": WHEN, "metrics": {}, "artifact": VERSION}
    ),
    "Model": Call(
        lambda: {
            "name": "a",
            "version": 1,
            "created": WHEN,
            "stage": None,
            "metrics": {},
            "dataset": None,
            "artifact": VERSION,
        }
    ),
    "ModelKey": Call(given(pem=MODEL_KEY.to_pem())),
    "ModelSigner": Call(lambda: {"key": ec.generate_private_key(ec.SECP256R1())}),
    "SignedModel": Call(given(name="a", digest=bytes(32), resources={})),
    "StageChange": Call(given(number=1, version=1, stage="a", since=WHEN, issuer="https://a.example")),
    "Trained": Call(given(name="a", version=1, digest=bytes(32))),
    "sign_model": Call(given(model=__file__, signer=material.P256), use_transfer),
    "verify_model": Call(given(model=__file__, key=MODEL_KEY, signature=__file__), use_evidence),
    "Changes": Call(given(added=(), removed=(), changed=())),
    "PruneReport": Call(given(kept=(1,), removed=(), objects=0, freed=0, deferred=False)),
    "StorageManager": Call(
        lambda: {
            "provider": credstore.MemoryStorageProvider(),
            "trust": material.TRUST,
            "signer": material.SIGNER,
            "model_signer": material.P256,
        },
        use_manager,
    ),
    "AkamaiSigner": Call(given(key=Secret(SECRETS["akamai"][1])), use_signer),
    "AwsKmsKey": Call(
        given(key_arn="arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
    ),
    "BackblazeConfig": Call(given(**CLOUD), use_config),
    "BackblazeStorageProvider": Call(given(config=credstore.BackblazeConfig(**CLOUD)), make_provider),
    "BatchDeleteResult": Call(given(deleted=("a",))),
    "BunnySigner": Call(given(key=Secret("0123456789abcdef")), use_signer),
    "CallableKey": Call(given(key_id="mine", wrap=bytes, unwrap=bytes), use_key),
    "CallableSigner": Call(given(function=lambda url, when: url), use_signer),
    "Capabilities": Call(lambda: dict(vars_of(MemoryDriver(MemoryConfig()).capabilities))),
    "CapabilityReport": Call(given(**REPORT)),
    "ClientSide": Call(
        lambda: {"keyring": KeyRing(LocalKey(bytes(32))), "store_id": "store"}, use_client_side
    ),
    "CloudCdnSigner": Call(given(key_name="key", key=EDGE_KEY), use_signer),
    "CloudFrontSigner": Call(lambda: {"key_pair_id": "K2JCJMDEHXQW5F", "private_key": RSA}, use_signer),
    "CloudflareSigner": Call(given(secret=KEY, ttl=3600), use_signer),
    "AzureConfig": Call(given(**AZURE), use_config),
    "AzureStorageProvider": Call(given(config=credstore.AzureConfig(**AZURE)), make_provider),
    "CommonConfig": Call(given(), use_config),
    "CommonPrefix": Call(given(prefix="a/")),
    "Container": Call(given(environ={"CREDSTORE_URL": "memory:"}), use_container),
    "CustomerKey": Call(given(key=bytes(32)), use_customer_key),
    "Dictionary": Call(lambda: {"data": credstore.train_dictionary(SAMPLES, size=1024).data}, use_dictionary),
    "Event": Call(given(name="a", provider="memory", key=None, duration=1.0)),
    "FastlySigner": Call(given(key=Secret(SECRETS["fastly"][1])), use_signer),
    "GcsConfig": Call(given(**GCS), use_config),
    "GoogleCloudStorageProvider": Call(given(config=credstore.GcsConfig(**GCS)), make_provider),
    "HealthCheckResult": Call(given(healthy=True, provider="s3", latency=1.0, errors=(), timestamp=WHEN)),
    "KeyCache": Call(given(), lambda made: use_ring(KeyRing(LocalKey(bytes(32)), cache=made))),
    "KeyCdnSigner": Call(given(secret=KEY), use_signer),
    "KeyRing": Call(lambda: {"current": LocalKey(bytes(32))}, use_ring),
    "KmsKey": Call(
        given(), lambda made: use_provider(credstore.MemoryStorageProvider(MemoryConfig(encryption=made)))
    ),
    "LinkGrant": Call(given(key="a", overrides={}, expires_at=WHEN)),
    "Listing": Call(given()),
    "LocalConfig": Call(given(**FILES), use_config),
    "LocalKey": Call(given(key=bytes(32)), use_key),
    "LocalStorageProvider": Call(given(config=LocalConfig(**FILES)), make_provider),
    "LoggingObserver": Call(given(), use_event),
    "MediaCdnSigner": Call(given(key_name="key", key=MEDIA_KEY), use_signer),
    "MediaCdnTokenSigner": Call(given(key=MEDIA_KEY), use_signer),
    "MemoryConfig": Call(given(), lambda made: use_provider(credstore.MemoryStorageProvider(made))),
    "MemoryStorageProvider": Call(given(config=MemoryConfig()), use_provider),
    "NginxSigner": Call(given(secret=KEY), use_signer),
    "ObjectReader": Call(given(info=ObjectInfo(**INFO), chunks=b"1", length=1), use_reader),
    "ProviderMetrics": Call(given(provider="p", verbs={})),
    "VerbMetrics": Call(
        given(verb="v", calls=0, errors={}, seconds=0.0, buckets=(0,), bytes=0, requests={}, notes={})
    ),
    "OpenTelemetryMetrics": Call(given(read=list)),
    "OpenTelemetryObserver": Call(given()),
    "PassphraseKey": Call(given(passphrase=Secret("a long passphrase"), salt=bytes(16))),
    "R2Config": Call(given(**BASE, account_id="0" * 32), use_config),
    "R2StorageProvider": Call(given(config=credstore.R2Config(**BASE, account_id="0" * 32)), make_provider),
    "ReplicaOutcome": Call(given(replica="r2", applied="no", error=StorageError("words"))),
    "RemainingVersion": Call(given(key="a", version_id="1", error=StorageError("words"))),
    "Retention": Call(given()),
    "RotationReport": Call(given(current="a", rotated=1, keys={}, unencrypted=0, failed={})),
    "S3CompatibleConfig": Call(given(**BASE, endpoint="http://127.0.0.1:9"), use_config),
    "S3CompatibleStorageProvider": Call(
        given(config=credstore.S3CompatibleConfig(**BASE, endpoint="http://127.0.0.1:9")), make_provider
    ),
    "S3Config": Call(given(**CLOUD), use_config),
    "S3FamilyConfig": Call(given(**CLOUD), use_config),
    "S3PutOptions": Call(given()),
    "S3StorageProvider": Call(given(config=credstore.S3Config(**CLOUD)), make_provider),
    "Secret": Call(
        given(value=PASSPHRASE.reveal()),
        lambda made: use_homes(credstore.proofs.LegacyHomes(passphrase=made)),
    ),
    "SignedUrl": Call(given(url=RIGHT, method="GET", expires_at=WHEN)),
    "SpacesCdnSigner": Call(
        given(space="proofs", region="ams3"),
        lambda made: made.sign(presigned(), now=NOW, expires_at=LATER),
    ),
    "SpacesConfig": Call(given(**BASE, region="fra1"), use_config),
    "SpacesStorageProvider": Call(given(config=credstore.SpacesConfig(**BASE, region="fra1")), make_provider),
    "StorageFactory": Call(given(environ={}), use_factory),
    "StorageItem": Call(given(key="a", size=1, last_modified=None, etag=None)),
    "StorageProvider": Call(
        lambda: {"driver": MemoryDriver(MemoryConfig()), "config": MemoryConfig()}, use_provider
    ),
    "StorageResult": Call(
        given(
            key="a",
            url="",
            etag=None,
            version_id=None,
            size=1,
            timestamp=WHEN,
            provider="s3",
            plain_size=None,
            digest=None,
        )
    ),
    "StorageStats": Call(given(total_objects=1, total_size=1, provider="s3", region=None, last_updated=WHEN)),
    "StorageVersion": Call(given(key="a", version_id="1", is_latest=True)),
    "StoredDictionary": Call(given(name="a", size=1, last_modified=None)),
    "StructlogObserver": Call(given(slow=1.0), use_event),
    "UploadForm": Call(given(url=RIGHT, fields={"key": "a"}, expires_at=WHEN)),
    "VersionsDeletedResult": Call(given(deleted=1)),
    "WasabiConfig": Call(given(**CLOUD), use_config),
    "WasabiStorageProvider": Call(given(config=credstore.WasabiConfig(**CLOUD)), make_provider),
    "load_report": Call(report_file),
    "parse_duration": Call(given(text="1s")),
    "parse_size": Call(given(text="1 MiB")),
    "verify": Call(given(asset=b"asset", media_type="image/png"), use_coroutine),
    "Collected": Call(given(references=0, bodies=0, marked=0, removed=0, removed_bytes=0)),
    "collect": Call(
        lambda: {
            "provider": credstore.MemoryStorageProvider(MemoryConfig(dedup=True)),
            "grace": timedelta(days=1),
        },
        asyncio.run,
    ),
    "connect": Call(given(store="memory:", env_file=None), use_provider),
    "cached": Call(
        lambda: {
            "provider": credstore.MemoryStorageProvider(),
            "local": tempfile.gettempdir(),
            "max_size": 2**20,
            "max_age": 1.0,
        },
        make_provider,
    ),
    "serve_links": Call(lambda: {"provider": credstore.MemoryStorageProvider()}, use_async_generator),
    "train_dictionary": Call(given(samples=SAMPLES, size=1024)),
    "AllOf": Call(given(policies=[IssuedBy(material.ISSUER)]), use_policy),
    "AnyOf": Call(given(policies=[IssuedBy(material.ISSUER)]), use_policy),
    "AssetDigest": Call(given(sha256=bytes(32), size=1), lambda made: use_request(IssueRequest(asset=made))),
    "Bundle": Call(given(envelope=ENVELOPE, made_at=WHEN), credstore.proofs.encode_bundle),
    "BundleReport": Call(
        given(proof=PROOF, status=STATUS, made_at=WHEN, status_age=timedelta(0), unchecked=())
    ),
    "Candidate": Call(given(proof=PROOF, status=STATUS, now=WHEN), IssuedBy(material.ISSUER).verify),
    "Envelope": Call(
        given(payload=ENVELOPE.payload, signatures=ENVELOPE.signatures),
        lambda made: credstore.proofs.verify_proof(made, material.TRUST, now=WHEN),
    ),
    "FsckReport": Call(given(records=1, restored=0, removed=0, problems={}, repaired=False)),
    "IssueRequest": Call(given(asset=b"asset"), use_request),
    "ProofHistory": Call(given(proof=None, supersedes=None, superseded_by=None)),
    "ProofRetention": Call(given(keep_for=timedelta(days=1), mode="governance")),
    "IssuedBy": Call(given(issuers=material.ISSUER), use_policy),
    "LegacyHomes": Call(given(passphrase=PASSPHRASE), use_homes),
    "LegacyImport": Call(given(read=1, skipped=0, unopened=0)),
    "LegacyProof": Call(given(proof_id=material.ID, sha256=AssetDigest.of(b"asset").sha256), adopt),
    "LocalSigner": Call(
        given(key=Ed25519PrivateKey.from_private_bytes(bytes(range(32)))),
        lambda made: use_proofs(ProofStore(**proof_store() | {"signer": made})),
    ),
    "ManifestLink": Call(
        given(sha256=bytes(32), size=1), lambda made: use_record(with_record(manifest=made))
    ),
    "Proof": Call(given(verified=PROOF, status=STATUS)),
    "ProofOutcome": Call(given(proof_id=material.ID, proof=None)),
    "ProofRecord": Call(
        given(proof_id=material.ID, issuer=material.ISSUER, issued_at=material.ISSUED, asset=DIGEST),
        use_record,
    ),
    "ProofStats": Call(
        given(proofs=1, manifests=0, revoked=0, erased=0, expiring=0, total_size=1, last_updated=WHEN)
    ),
    "ProofStatus": Call(given(state="valid", source="store", as_of=WHEN)),
    "ProofStore": Call(proof_store, use_proofs),
    "PublicKey": Call(
        given(scheme=material.SIGNER.public_key.scheme, spki=material.SIGNER.public_key.spki),
        lambda made: use_trusted(
            credstore.proofs.trust_key(made, issuers=[material.ISSUER], valid_from=material.START)
        ),
    ),
    "SoftBinding": Call(
        given(alg="phash", value="0"),
        lambda made: use_request(IssueRequest(asset=b"1", soft_bindings=(made,))),
    ),
    "SweepReport": Call(given()),
    "TimestampAuthorities": Call(given(authorities=ROOTS)),
    "TimestampAuthority": Call(
        given(roots=ROOTS), lambda made: credstore.proofs.TimestampAuthorities((made,))
    ),
    "TimestampClient": Call(given(url="http://127.0.0.1:9/")),
    "TimestampReport": Call(given()),
    "Timestamped": Call(given(before=WHEN)),
    "fetch_trust_store": Call(given(url="https://127.0.0.1:9/", pinned=material.TRUST), use_fetch),
    "pinned_root": Call(given(public_key=material.ROOT.public_key)),
    "TrustStore": Call(given(version=1, keys=(material.KEY,)), use_trust),
    "TrustedKey": Call(
        given(
            public_key=material.SIGNER.public_key,
            issuers=frozenset({material.ISSUER}),
            usages=frozenset({"proof", "revoke"}),
            valid_from=material.START,
        ),
        use_trusted,
    ),
    "TrustedTime": Call(
        given(time=material.ISSUED, source="rfc3161", sig=ENVELOPE.signatures[0].sig),
        lambda made: credstore.proofs.verify_proof(ENVELOPE, material.TRUST, now=WHEN, times=[made]),
    ),
    "UnsafeUnsigned": Call(given(signed=None), use_policy),
    "VerifiedProof": Call(
        given(
            record=PROOF.record,
            envelope=PROOF.envelope,
            keyids=PROOF.keyids,
            time=PROOF.time,
            time_source=PROOF.time_source,
        )
    ),
    "bundle_name": Call(given(proof_id=material.ID)),
    "encode_bundle": Call(given(bundle=Bundle(ENVELOPE, WHEN))),
    "encode_trust_store": Call(given(trust=material.TRUST)),
    "parse_bundle": Call(given(data=BUNDLE)),
    "parse_trust_store": Call(given(data=credstore.proofs.encode_trust_store(material.TRUST))),
    "trust_key": Call(
        given(public_key=material.SIGNER.public_key, issuers=[material.ISSUER], valid_from=material.START),
        use_trusted,
    ),
    "unsafe_allow_expired": Call(given(), use_policy),
    "unsafe_allow_revoked": Call(given(), use_policy),
    "unsafe_allow_unsigned": Call(given(), use_policy),
    "verify_bundle": Call(given(data=BUNDLE, trust=material.TRUST, now=WHEN)),
    "verify_proof": Call(given(data=ENVELOPE, trust=material.TRUST, now=WHEN)),
    "BytesBody": Call(given(data=b"1")),
    "ContentHeaders": Call(given()),
    "CopyRequest": Call(given(source=ObjectInfo(**INFO), destination="b", write_id="1")),
    "DeleteOutcome": Call(given(existed=True)),
    "ObjectInfo": Call(given(**INFO)),
    "Page": Call(given(entries=(), cursor=None)),
    "Precondition": Call(given()),
    "PartDigests": Call(given(size=1, digests=[bytes(32)])),
    "PutRequest": Call(given(key="a", body=BytesBody(b"1"), write_id="1")),
    "PutResult": Call(given(**INFO)),
    "ReadOptions": Call(given()),
    "ResumeToken": Call(
        given(place="a", key="a", size=1, digest="a", part_size=1, upload_id="a", write_id="a", options="a")
    ),
    "FormRequest": Call(given(key="a", max_size=1)),
    "SignRequest": Call(given(key="a")),
    "SignedRequest": Call(given(url=RIGHT, method="GET", expires_at=WHEN)),
    "SplitMetadata": Call(given(metadata={}, system={}, write_id=None, digest=None)),
    "VersionPage": Call(given(entries=(), cursor=None)),
    "invalid_range": Call(given(message="words"), use_error),
    "is_system_name": Call(given(name="a")),
    "join_metadata": Call(given(metadata={}, system={}, write_id="1", digest=None)),
    "split_metadata": Call(given(joined={})),
    "Fault": Call(given(verb="store", kind="lost")),
    "ScriptedAnswer": Call(given(headers={"etag": '"a"', "content-length": "0"}), use_answer),
    "ScriptedTransport": Call(
        given(steps=credstore.testing.ScriptedAnswer(200, b"1", {"etag": '"a"', "content-length": "1"})),
        use_answers,
    ),
    "SentRequest": Call(given(method="GET", url=RIGHT, headers={}, body=b"")),
    "WireError": Call(given(kind="broken", sent=True)),
    "WireRequests": Call(given()),
    "count_requests": Call(given()),
}
