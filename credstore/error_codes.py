"""The catalogue of codes: every word that a `StorageError` may carry as its `code`.

Rules of this file: it imports nothing from credstore; no other module spells a code out; `docs/errors.md` is
made from it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

_OF_PROOFS = ("Proof", "Log", "Checkpoint", "Witness")
"""How the names of classes start that are in `credstore.proofs`."""


class ErrorCode(StrEnum):
    """Every `StorageError.code`: stable words, the same on all clouds; `docs/errors.md` is made from this.

    Each member is its own text (`error.code == "NOT_FOUND"` holds) and carries two facts:

    Attributes:
        raised_as: Name of the class that carries it, or of their common base where there are several;
            those that do not start with `Storage` are in `credstore.proofs`, all others here.
        meaning: What happened, in one sentence.
    """

    raised_as: str
    meaning: str

    def __new__(cls, value: str, kind: str, meaning: str) -> Self:
        """Make a member from its row: the code, the class without `Storage` and `Error`, and the sentence."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.raised_as = f"{kind}Error" if kind.startswith(_OF_PROOFS) else f"Storage{kind}Error"
        member.meaning = meaning
        return member

    STORAGE_ERROR = "STORAGE_ERROR", "", "A failure that no other code describes."
    UNFORESEEN = "UNFORESEEN", "", "An unforeseen exception ended the call; please report its traceback."
    OUT_OF_MEMORY = "OUT_OF_MEMORY", "", "There was not enough memory for the call."
    IO_ERROR = "IO_ERROR", "", "The disk failed."
    IN_THE_WAY = "IN_THE_WAY", "", "A folder is where a file has to be, or a file where a folder has to be."
    NOT_FOUND = "NOT_FOUND", "ObjectNotFound", "There is no such object."
    BUCKET_NOT_FOUND = "BUCKET_NOT_FOUND", "BucketNotFound", "There is no such bucket."
    VERSION_NOT_FOUND = "VERSION_NOT_FOUND", "NotFound", "There is no such version of the object."
    UPLOAD_NOT_FOUND = "UPLOAD_NOT_FOUND", "NotFound", "There is no such multipart upload, or it has ended."
    ACCESS_DENIED = "ACCESS_DENIED", "AccessDenied", "The credentials are valid but may not do this."
    READ_ONLY = "READ_ONLY", "ReadOnly", "The store was opened with `read_only=True`; nothing was sent."
    LOCKED = "LOCKED", "Retained", "A retention, lock or legal hold forbids this."
    RETENTION_DISABLED = (
        "RETENTION_DISABLED",
        "Unsupported",
        "Retention is switched off for this bucket, where it has to be enabled first.",
    )
    VERSIONS_REMAIN = (
        "VERSIONS_REMAIN",
        "VersionsRemain",
        "Deleted for readers, but older versions remain in the store, or it is unknown whether they do.",
    )
    LINK_EXPIRED = "LINK_EXPIRED", "AccessDenied", "The temporary link has expired."
    LINK_INVALID = (
        "LINK_INVALID",
        "AccessDenied",
        "The temporary link was changed, or was not made by this store.",
    )
    AUTHENTICATION_FAILED = (
        "AUTHENTICATION_FAILED",
        "Authentication",
        "The provider did not accept the credentials.",
    )
    CREDENTIALS_EXPIRED = (
        "CREDENTIALS_EXPIRED",
        "Authentication",
        "The credentials have expired; renew the session.",
    )
    CLOCK_SKEW = "CLOCK_SKEW", "Authentication", "This machine's clock is too far from the provider's."
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED", "QuotaExceeded", "A quota, spending cap or disk is full."
    CONFLICT = "CONFLICT", "Conflict", "Another writer or the object's present state stood in the way."
    CONCURRENT_WRITE = "CONCURRENT_WRITE", "Conflict", "Another write to this key was in progress."
    LEASED = "LEASED", "Conflict", "The object has a lease (Azure), which forbids this."
    SNAPSHOTS = "SNAPSHOTS", "Conflict", "The object has snapshots (Azure), which would go with it."
    BUCKET_NOT_EMPTY = "BUCKET_NOT_EMPTY", "Conflict", "The bucket is not empty."
    ALREADY_EXISTS = (
        "ALREADY_EXISTS",
        "AlreadyExists",
        "`if_absent` was given, and another writer's object is there.",
    )
    PRECONDITION_FAILED = (
        "PRECONDITION_FAILED",
        "PreconditionFailed",
        "The object is not, or is no longer, the version asked for.",
    )
    RATE_LIMITED = "RATE_LIMITED", "RateLimited", "The provider asks to slow down."
    UNAVAILABLE = "UNAVAILABLE", "Unavailable", "The provider cannot serve this request now."
    ARCHIVED = (
        "ARCHIVED",
        "Unavailable",
        "The object is archived or being restored; restore it before reading.",
    )
    CIRCUIT_OPEN = (
        "CIRCUIT_OPEN",
        "Unavailable",
        "The endpoint has done nothing but fail for a while and is not called for now.",
    )
    QUORUM_NOT_MET = (
        "QUORUM_NOT_MET",
        "Quorum",
        "Too few replicas responded; `outcomes` says what became of the call at each.",
    )
    KEY_SERVICE_FAILED = "KEY_SERVICE_FAILED", "Unavailable", "The key service did not respond."
    WRITES_DISABLED = (
        "WRITES_DISABLED",
        "Unavailable",
        "The disk failed to keep an earlier write; open the store again before writing.",
    )
    TIMEOUT = "TIMEOUT", "Timeout", "A time limit was reached before a definite result."
    CONNECTION_FAILED = "CONNECTION_FAILED", "Connection", "No connection could be made."
    CONNECTION_BROKEN = (
        "CONNECTION_BROKEN",
        "Connection",
        "The connection broke before the response was complete.",
    )
    NAME_NOT_FOUND = "NAME_NOT_FOUND", "Connection", "The host's name could not be resolved."
    PROXY_UNREACHABLE = "PROXY_UNREACHABLE", "Connection", "The proxy cannot be reached."
    PROXY_FAILED = "PROXY_FAILED", "Connection", "The proxy could not make the connection to the endpoint."
    PROXY_TIMEOUT = (
        "PROXY_TIMEOUT",
        "Timeout",
        "The proxy did not make the connection to the endpoint in time.",
    )
    PROXY_AUTHENTICATION = "PROXY_AUTHENTICATION", "Configuration", "The proxy requires a user and password."
    PROXY_REFUSED = "PROXY_REFUSED", "Configuration", "The proxy does not permit connections to the endpoint."
    PROXY_UNUSABLE = "PROXY_UNUSABLE", "Configuration", "The proxy's address cannot be used."
    BAD_ANSWER = "BAD_ANSWER", "Connection", "The response is not valid HTTP, or is too large."
    INTEGRITY = "INTEGRITY", "Integrity", "What came back is not what was stored."
    TRUNCATED = "TRUNCATED", "Integrity", "The bytes end before they should."
    TOO_LONG = "TOO_LONG", "Integrity", "There are more bytes than there should be."
    BODY_MISSING = "BODY_MISSING", "Integrity", "The object refers to a shared body that is not there."
    DIGEST_MISMATCH = "DIGEST_MISMATCH", "Integrity", "The bytes do not match the recorded SHA-256."
    CHECKSUM_MISMATCH = (
        "CHECKSUM_MISMATCH",
        "Integrity",
        "The bytes that arrived do not match the checksum sent along.",
    )
    SIZE_MISMATCH = "SIZE_MISMATCH", "Integrity", "The object decodes to a different size than was recorded."
    REPLACED = "REPLACED", "Integrity", "The object was replaced while it was being read."
    CHANGED_OUTSIDE = (
        "CHANGED_OUTSIDE",
        "Integrity",
        "The file was changed by a program other than credstore.",
    )
    ATTRIBUTES_DAMAGED = (
        "ATTRIBUTES_DAMAGED",
        "Integrity",
        "The record kept with the file cannot be read.",
    )
    DICTIONARY_CHANGED = (
        "DICTIONARY_CHANGED",
        "Integrity",
        "The compression dictionary is not the one it is named after.",
    )
    COPY_MISSING = (
        "COPY_MISSING",
        "Conflict",
        "Somebody else deleted the copy before it was compared; the source was kept.",
    )
    NOT_DELETED = (
        "NOT_DELETED",
        "Unavailable",
        "The provider says that a moved object's source is gone or replaced, and shows it unchanged.",
    )
    COPY_DIFFERS = "COPY_DIFFERS", "Integrity", "The copy differs from its source; the source was kept."
    COPY_INCOMPLETE = (
        "COPY_INCOMPLETE",
        "Integrity",
        "The copy has the bytes of its source, but not everything that is kept with them.",
    )
    NOT_ENCRYPTED = (
        "NOT_ENCRYPTED",
        "Integrity",
        "The provider did not confirm the encryption asked for; what it stored was removed if still there.",
    )
    NOT_HONOURED = (
        "NOT_HONOURED",
        "Integrity",
        "The provider stored the object without an option that was asked for.",
    )
    WRONG_RANGE = "WRONG_RANGE", "Integrity", "The response is not the range that was asked for."
    NO_BODY = "NO_BODY", "Integrity", "The response has no body where it needs one."
    NO_ETAG = "NO_ETAG", "Integrity", "The response has no ETag where it needs one."
    NO_LENGTH = "NO_LENGTH", "Integrity", "The response does not say how long it is."
    LISTING = "LISTING", "Integrity", "The listing contradicts itself."
    UNREADABLE_ENTRY = (
        "UNREADABLE_ENTRY",
        "Integrity",
        "The listing has an object whose key or size cannot be read; everything else was listed.",
    )
    FOREIGN_KEY = "FOREIGN_KEY", "Integrity", "The response names a key that was not asked about."
    NO_OUTCOME = "NO_OUTCOME", "Integrity", "The provider did not say what became of this key."
    DECRYPTION_FAILED = (
        "DECRYPTION_FAILED",
        "Decryption",
        "The object does not decrypt; one text for every cause, by design.",
    )
    CODEC = "CODEC", "Codec", "The object does not decompress."
    CORRUPT = "CORRUPT", "Codec", "The compressed form is damaged."
    TRAILING_DATA = "TRAILING_DATA", "Codec", "There are trailing bytes after the end of the compressed form."
    UNKNOWN_CODEC = "UNKNOWN_CODEC", "Codec", "The object was compressed with an unknown method."
    DICTIONARY_MISSING = (
        "DICTIONARY_MISSING",
        "Codec",
        "The compression dictionary the object needs is not in the store.",
    )
    INVALID_REQUEST = (
        "INVALID_REQUEST",
        "InvalidRequest",
        "An argument or option is wrong, or the provider called the request malformed.",
    )
    INVALID_RANGE = "INVALID_RANGE", "InvalidRequest", "The range starts beyond the end of the object."
    INVALID_PART = "INVALID_PART", "InvalidRequest", "The parts of the upload do not fit together."
    INVALID_TAG = "INVALID_TAG", "InvalidRequest", "The provider does not accept these tags."
    BODY_LENGTH = "BODY_LENGTH", "InvalidRequest", "The data is not as long as announced."
    SOURCE_CHANGED = "SOURCE_CHANGED", "InvalidRequest", "The data changed while it was being stored."
    RESUME_MISMATCH = (
        "RESUME_MISMATCH",
        "InvalidRequest",
        "The upload to continue belongs to another object, other data or another store.",
    )
    TOO_LARGE = "TOO_LARGE", "", "It is larger than allowed here, or than the provider accepts."
    CHECKSUM_REQUIRED = (
        "CHECKSUM_REQUIRED",
        "InvalidRequest",
        "The bucket takes a body only with its checksum before it; a stream read once, or a link, has none.",
    )
    TOO_SMALL = "TOO_SMALL", "InvalidRequest", "A part is smaller than the provider accepts."
    TOO_MANY_PROOFS = "TOO_MANY_PROOFS", "InvalidRequest", "More proofs than asked for have this digest."
    METADATA_TOO_LARGE = (
        "METADATA_TOO_LARGE",
        "InvalidRequest",
        "There is more metadata than the provider keeps.",
    )
    ENCRYPTED = (
        "ENCRYPTED",
        "InvalidRequest",
        "The object is encrypted by the client, so this cannot be done with it.",
    )
    CUSTOMER_KEY = (
        "CUSTOMER_KEY",
        "InvalidRequest",
        "The customer-provided key (SSE-C) is missing, not the object's, or not needed.",
    )
    CLOSED = "CLOSED", "InvalidRequest", "The store was closed; open a new one."
    FORKED = "FORKED", "InvalidRequest", "The store was opened by the process this one was forked from."
    WRONG_LOOP = "WRONG_LOOP", "InvalidRequest", "The store belongs to another event loop."
    INVALID_KEY = "INVALID_KEY", "InvalidKey", "The key or prefix cannot name an object."
    RESERVED_KEY = (
        "RESERVED_KEY",
        "InvalidKey",
        "Keys with the segment `.credstore` belong to credstore itself.",
    )
    CONFIGURATION = "CONFIGURATION", "Configuration", "A setting is missing, contradictory or unknown."
    NO_CREDENTIALS = "NO_CREDENTIALS", "Configuration", "No credentials were found."
    FOREIGN_ENDPOINT = (
        "FOREIGN_ENDPOINT",
        "Configuration",
        "The keys of an AWS profile would go to an endpoint that is not the profile's.",
    )
    EXTRA_MISSING = (
        "EXTRA_MISSING",
        "Configuration",
        "An optional package is not installed; the message has the line that installs it.",
    )
    CLUSTER_UNREACHABLE = (
        "CLUSTER_UNREACHABLE",
        "Connection",
        "The scheduler of the cluster does not respond, or it has no workers.",
    )
    WORKER_UNFIT = (
        "WORKER_UNFIT",
        "Configuration",
        "A worker of the cluster cannot do the job: it lacks a setting, or has another version or store.",
    )
    WORKER_LOST = (
        "WORKER_LOST",
        "Unavailable",
        "Several workers died over these objects, one after the other.",
    )
    KEY_UNUSABLE = "KEY_UNUSABLE", "Configuration", "The key service does not permit the use of this key."
    WRONG_REGION = "WRONG_REGION", "Configuration", "The bucket is in another region or at another endpoint."
    NOT_S3 = "NOT_S3", "", "The response did not come from the store: it is a web page, or another protocol."
    TLS = "TLS", "Configuration", "No trusted TLS connection could be made."
    ROOT_REMOVED = (
        "ROOT_REMOVED",
        "Configuration",
        "The directory of the store was removed, moved or replaced while it was open.",
    )
    UNSUPPORTED = "UNSUPPORTED", "Unsupported", "The provider cannot do this; nothing was sent."
    PROOF = "PROOF", "Proof", "Something else is wrong with a proof."
    PROOF_NOT_FOUND = (
        "PROOF_NOT_FOUND",
        "ProofNotFound",
        "There is no proof with this id, or none for this asset.",
    )
    PROOF_FORMAT = "PROOF_FORMAT", "ProofFormat", "The bytes are not a proof."
    PROOF_SIGNATURE = "PROOF_SIGNATURE", "ProofSignature", "No signature by a known key matches the bytes."
    PROOF_UNTRUSTED_KEY = (
        "PROOF_UNTRUSTED_KEY",
        "ProofUntrustedKey",
        "The key is not known, or not trusted for this issuer or use.",
    )
    PROOF_ALGORITHM = (
        "PROOF_ALGORITHM",
        "ProofAlgorithm",
        "The key is of a kind that credstore cannot sign or verify with.",
    )
    PROOF_KEY_EXPIRED = (
        "PROOF_KEY_EXPIRED",
        "ProofKeyExpired",
        "The key was not valid yet, or no longer valid, at the time of signing.",
    )
    PROOF_KEY_REVOKED = (
        "PROOF_KEY_REVOKED",
        "ProofKeyRevoked",
        "The key was compromised, and no trusted time shows an older signature.",
    )
    PROOF_ID_MISMATCH = (
        "PROOF_ID_MISMATCH",
        "ProofIdMismatch",
        "A valid proof, but its id is not the one asked for.",
    )
    PROOF_ASSET_MISMATCH = (
        "PROOF_ASSET_MISMATCH",
        "ProofAssetMismatch",
        "A valid proof, but not of the given asset's bytes.",
    )
    PROOF_EXPIRED = "PROOF_EXPIRED", "ProofExpired", "The proof was valid until a time that has passed."
    PROOF_NOT_YET_VALID = (
        "PROOF_NOT_YET_VALID",
        "ProofNotYetValid",
        "The proof says it was issued in the future.",
    )
    PROOF_REVOKED = "PROOF_REVOKED", "ProofRevoked", "The issuer has revoked the proof."
    PROOF_ERASED = "PROOF_ERASED", "ProofErased", "The issuer has erased the proof."
    PROOF_CONFLICT = (
        "PROOF_CONFLICT",
        "ProofConflict",
        "The idempotency key was used for a proof that says something else.",
    )
    PROOF_UNSIGNED = (
        "PROOF_UNSIGNED",
        "ProofUnsigned",
        "A record of the original service, which is not signed.",
    )
    PROOF_POLICY = "PROOF_POLICY", "ProofPolicy", "The reader's policy does not accept the proof."
    PROOF_TIMESTAMP = (
        "PROOF_TIMESTAMP",
        "ProofTimestamp",
        "A timestamp token is not for this signature, is not from a pinned authority, or contradicts it.",
    )
    PROOF_MANIFEST = (
        "PROOF_MANIFEST",
        "ProofManifest",
        "The C2PA manifest does not verify, or is not the one that the proof names.",
    )
    LOG = "LOG", "Log", "Something else is wrong with a transparency log."
    LOG_INCLUSION = (
        "LOG_INCLUSION",
        "LogInclusion",
        "The inclusion proof does not show that the entry is in the log.",
    )
    LOG_CONSISTENCY = (
        "LOG_CONSISTENCY",
        "LogConsistency",
        "The consistency proof does not show that the log only grew.",
    )
    LOG_FORK = (
        "LOG_FORK",
        "LogFork",
        "The log has signed two states that do not continue each other; both are in the error.",
    )
    LOG_TILE = "LOG_TILE", "LogTile", "A tile of the log is missing, or is not what the checkpoint says."
    LOG_ROLLBACK = (
        "LOG_ROLLBACK",
        "LogRollback",
        "The store shows an older or another state of the log than is known, as after restoring a backup.",
    )
    LOG_BUSY = "LOG_BUSY", "LogBusy", "Another sequencer was faster, again and again."
    LOG_PENDING = (
        "LOG_PENDING",
        "LogPending",
        "A proof, revocation or tombstone took effect, but is not in the log yet; `reconcile()` logs it.",
    )
    LOG_ENTRY = "LOG_ENTRY", "LogEntry", "The log does not accept this entry, or it is not what it should be."
    CHECKPOINT = (
        "CHECKPOINT",
        "Checkpoint",
        "The bytes are not a checkpoint of this log, or the log has not signed them.",
    )
    WITNESS = "WITNESS", "Witness", "The witness refused the checkpoint, or its response is not valid."
    WITNESS_QUORUM = (
        "WITNESS_QUORUM",
        "WitnessQuorum",
        "Fewer witnesses have cosigned the checkpoint than the policy requires.",
    )
