"""What an S3 error code or a bare status means: data, and the lookup in it. Pure.

Rules of this file: one row per code of the provider notes; messages are our own, since a response's text may
repeat what was sent. `applied` is not decided here but by the exchange, which knows what was sent before.
"""

from __future__ import annotations

import re

from credstore.driver.meaning import Meaning
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageAlreadyExistsError,
    StorageAuthenticationError,
    StorageBucketNotFoundError,
    StorageConfigurationError,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageQuotaExceededError,
    StorageRateLimitedError,
    StorageRetainedError,
    StorageTimeoutError,
    StorageUnavailableError,
    StorageUnsupportedError,
)

NO_OBJECT = Meaning(StorageObjectNotFoundError, "there is no such object")
NOT_FOUND = Meaning(
    StorageNotFoundError, "the provider does not find something that the request needs; its code says what"
)
NO_BUCKET = Meaning(
    StorageBucketNotFoundError,
    "there is no such bucket; check the bucket's name and region",
    ErrorCode.BUCKET_NOT_FOUND,
)
NO_UPLOAD = Meaning(
    StorageNotFoundError, "there is no such multipart upload, or it has ended", ErrorCode.UPLOAD_NOT_FOUND
)
NO_VERSION = Meaning(
    StorageNotFoundError, "there is no such version of the object", ErrorCode.VERSION_NOT_FOUND
)
DENIED = Meaning(
    StorageAccessDeniedError, "the credentials may not do this; check the policy of the key and bucket"
)
LOCKED = Meaning(StorageRetainedError, "a retention, lock or legal hold forbids this")
LOCK_OFF = Meaning(
    StorageUnsupportedError,
    "the bucket has no Object Lock, so nothing can be retained or held there; enable it (at AWS: switch "
    "versioning on, then PutObjectLockConfiguration; elsewhere often only when a bucket is made)",
    ErrorCode.RETENTION_DISABLED,
)
BAD_KEY_ID = Meaning(
    StorageAuthenticationError, "the provider does not know this access key id; check it and its account"
)
BAD_SIGNATURE = Meaning(
    StorageAuthenticationError, "the signature was not accepted; check the secret access key and the endpoint"
)
BAD_TOKEN = Meaning(StorageAuthenticationError, "the session token or credentials were not accepted")
EXPIRED = Meaning(
    StorageAuthenticationError,
    "the credentials have expired; renew the session",
    ErrorCode.CREDENTIALS_EXPIRED,
)
SKEWED = Meaning(
    StorageAuthenticationError,
    "this machine's clock is too far from the provider's; correct it",
    ErrorCode.CLOCK_SKEW,
)
SLOW_DOWN = Meaning(StorageRateLimitedError, "the provider asks to slow down")
UNAVAILABLE = Meaning(StorageUnavailableError, "the provider cannot serve this now")
BROKEN = Meaning(StorageUnavailableError, "the provider reports a failure of its own")
CUT_OFF = Meaning(StorageTimeoutError, "the provider did not get the whole request in time")
CONDITION = Meaning(StoragePreconditionFailedError, "the object is not the version asked for")
CONCURRENT = Meaning(
    StorageConflictError,
    "another write to this key was in progress",
    ErrorCode.CONCURRENT_WRITE,
    retryable=True,
)
EXISTS = Meaning(StorageAlreadyExistsError, "it exists already")
NOT_EMPTY = Meaning(StorageConflictError, "the bucket is not empty", ErrorCode.BUCKET_NOT_EMPTY)
ARCHIVED = Meaning(
    StorageUnavailableError,
    "the object is archived or being restored; restore it before reading",
    ErrorCode.ARCHIVED,
    retryable=False,
)
TOO_LARGE = Meaning(StorageInvalidRequestError, "it is larger than the provider accepts", ErrorCode.TOO_LARGE)
TOO_SMALL = Meaning(
    StorageInvalidRequestError,
    "a part is smaller than the provider accepts; raise part_size",
    ErrorCode.TOO_SMALL,
)
TOO_LARGE_ON_THE_WAY = Meaning(
    StorageInvalidRequestError,
    "a proxy or gateway in front of the provider refuses bodies of this size (nginx: client_max_body_size); "
    "ask whoever runs it to raise its limit, or lower `part_size` and `multipart_threshold`",
    ErrorCode.TOO_LARGE,
)
TOO_LONG_ON_THE_WAY = Meaning(
    StorageInvalidKeyError,
    "a proxy or gateway in front of the provider refuses URLs of this length; use a shorter key, or ask "
    "whoever runs it to raise its limit",
)
HEADERS_TOO_LARGE = Meaning(
    StorageInvalidRequestError,
    "a proxy or gateway in front of the provider refuses headers of this size; give less metadata, or ask "
    "whoever runs it to raise its limit",
    ErrorCode.METADATA_TOO_LARGE,
)
NO_CHECKSUM = Meaning(
    StorageInvalidRequestError,
    "the bucket takes a body only with its checksum before it, in a header; most likely its Object Lock has "
    "a default retention",
    ErrorCode.CHECKSUM_REQUIRED,
)
METADATA = Meaning(
    StorageInvalidRequestError, "there is more metadata than the provider keeps", ErrorCode.METADATA_TOO_LARGE
)
BAD_KEY = Meaning(StorageInvalidKeyError, "the provider does not accept this key")
BAD_BUCKET = Meaning(StorageConfigurationError, "the bucket's name is not valid for this provider")
RANGE = Meaning(
    StorageInvalidRequestError, "the range starts beyond the end of the object", ErrorCode.INVALID_RANGE
)
CORRUPTED = Meaning(
    StorageIntegrityError,
    "the body that arrived does not match its checksum; a proxy may have changed it",
    ErrorCode.CHECKSUM_MISMATCH,
)
PARTS = Meaning(
    StorageInvalidRequestError, "the parts of the upload do not fit together", ErrorCode.INVALID_PART
)
QUOTA = Meaning(StorageQuotaExceededError, "a quota or spending cap of the account is used up")
REGION = Meaning(
    StorageConfigurationError,
    "the bucket is in another region or at another endpoint; set `region` and `endpoint` to the bucket's",
    ErrorCode.WRONG_REGION,
)
UNSUPPORTED = Meaning(StorageUnsupportedError, "the provider does not know this operation or header")
NO_ACL = Meaning(
    StorageUnsupportedError,
    "the bucket has object ACLs switched off; leave out `acl` and use a bucket policy",
)
BAD_TAGS = Meaning(
    StorageInvalidRequestError,
    "the provider does not accept these tags; S3 allows letters, digits, spaces and + - = . _ : / @",
    ErrorCode.INVALID_TAG,
)
MALFORMED = Meaning(StorageInvalidRequestError, "the provider calls the request malformed")
REFUSED = Meaning(StorageInvalidRequestError, "the provider refuses the request for a reason of its own")
KMS_KEY = Meaning(
    StorageInvalidRequestError,
    "the KMS key cannot be used: it is missing, switched off, in another region, or of the wrong kind",
)
MISDIRECTED = Meaning(
    StorageConfigurationError,
    "the server does not serve this host; check `endpoint` and `addressing`",
)

CODES: dict[str, Meaning] = {
    **dict.fromkeys(("NoSuchKey", "NotFound", "NoSuchObject", "ObjectNotFound", "BlobNotFound"), NO_OBJECT),
    "NoSuchBucket": NO_BUCKET,
    "NoSuchUpload": NO_UPLOAD,
    "NoSuchVersion": NO_VERSION,
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "AccountProblem", "NotEntitled"), DENIED),
    "AccessControlListNotSupported": NO_ACL,
    "InvalidAccessKeyId": BAD_KEY_ID,
    "SignatureDoesNotMatch": BAD_SIGNATURE,
    **dict.fromkeys(
        (
            "Unauthorized",
            "InvalidToken",
            "InvalidSecurity",
            "MissingSecurityHeader",
            "AuthorizationQueryParametersError",
        ),
        BAD_TOKEN,
    ),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "InvalidTokenId", "TokenRefreshRequired", "ExpiredRequest"),
        EXPIRED,
    ),
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestExpired"), SKEWED),
    **dict.fromkeys(
        (
            "SlowDown",
            "TooManyRequests",
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "SlowDownRead",
            "SlowDownWrite",
            "RequestThrottled",
            "RequestLimitExceeded",
            "RequestRateLimitExceeded",
            "BandwidthLimitExceeded",
            "rateLimitExceeded",
            "ServerBusy",
        ),
        SLOW_DOWN,
    ),
    **dict.fromkeys(("ServiceUnavailable", "service_unavailable", "TemporarilyUnavailable"), UNAVAILABLE),
    "InternalError": BROKEN,
    **dict.fromkeys(("RequestTimeout", "ClientDisconnect", "IncompleteBody"), CUT_OFF),
    "PreconditionFailed": CONDITION,
    **dict.fromkeys(("ConditionalRequestConflict", "OperationAborted"), CONCURRENT),
    **dict.fromkeys(
        ("BucketAlreadyExists", "BucketAlreadyOwnedByYou", "BucketConflict", "BucketNameUnavailable"), EXISTS
    ),
    "BucketNotEmpty": NOT_EMPTY,
    **dict.fromkeys(
        ("InvalidObjectState", "ObjectNotInActiveTierError", "RestoreAlreadyInProgress"), ARCHIVED
    ),
    **dict.fromkeys(("ObjectLockedByBucketPolicy", "InvalidRetentionPeriod"), LOCKED),
    **dict.fromkeys(("EntityTooLarge", "MaxMessageLengthExceeded"), TOO_LARGE),
    "ObjectLockConfigurationNotFoundError": LOCK_OFF,
    "EntityTooSmall": TOO_SMALL,
    **dict.fromkeys(("MetadataTooLarge", "RequestHeaderSectionTooLarge"), METADATA),
    **dict.fromkeys(("KeyTooLongError", "InvalidObjectName", "InvalidURI"), BAD_KEY),
    "InvalidBucketName": BAD_BUCKET,
    "InvalidRange": RANGE,
    **dict.fromkeys(
        (
            "BadDigest",
            "InvalidDigest",
            "ChecksumMismatch",
            "XAmzContentSHA256Mismatch",
            "XAmzContentChecksumMismatch",
        ),
        CORRUPTED,
    ),
    **dict.fromkeys(("InvalidPart", "InvalidPartOrder", "TooManyParts"), PARTS),
    **dict.fromkeys(
        (
            "QuotaExceeded",
            "ServiceQuotaExceeded",
            "ServiceQuotaExceededException",
            "TooManyBuckets",
            "XMinioStorageFull",
            "InsufficientStorage",
            "cap_exceeded",
            "storage_cap_exceeded",
            "transaction_cap_exceeded",
            "AccountStorageLimitExceeded",
        ),
        QUOTA,
    ),
    **dict.fromkeys(
        (
            "PermanentRedirect",
            "TemporaryRedirect",
            "Redirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
        ),
        REGION,
    ),
    **dict.fromkeys(
        ("MethodNotAllowed", "NotImplemented", "UnsupportedArgument", "ExcessHeaderValues"), UNSUPPORTED
    ),
    **dict.fromkeys(
        (
            "MissingContentLength",
            "MalformedXML",
            "InvalidArgument",
            "InvalidRequest",
            "MissingRequestBodyError",
            "IdempotencyParameterMismatch",
            "EncryptionTypeMismatch",
            "InvalidWriteOffset",
        ),
        MALFORMED,
    ),
    "MissingContentMD5": NO_CHECKSUM,
    "InvalidTag": BAD_TAGS,
}

STATUSES: dict[int, Meaning] = {
    301: REGION,
    307: REGION,
    308: REGION,
    400: MALFORMED,
    401: BAD_TOKEN,
    402: QUOTA,
    403: DENIED,
    404: NO_OBJECT,
    405: UNSUPPORTED,
    408: CUT_OFF,
    409: CONCURRENT,
    411: MALFORMED,
    412: CONDITION,
    413: TOO_LARGE,
    414: BAD_KEY,
    416: RANGE,
    421: MISDIRECTED,
    423: LOCKED,
    425: UNAVAILABLE,
    429: SLOW_DOWN,
    431: METADATA,
    451: DENIED,
    500: BROKEN,
    501: UNSUPPORTED,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
    507: QUOTA,
    509: SLOW_DOWN,
}
"""Responses without a code, such as those to HEAD."""

ON_THE_WAY: dict[int, Meaning] = {
    408: CUT_OFF,
    409: CONCURRENT,
    412: CONDITION,
    413: TOO_LARGE_ON_THE_WAY,
    414: TOO_LONG_ON_THE_WAY,
    429: SLOW_DOWN,
    431: HEADERS_TOO_LARGE,
}
"""Refusals that a gateway before a real store gives with a page of its own."""

_UNREADABLE = Meaning(StorageError, "the provider sent a response that credstore does not know")
_BAD_REQUEST = 400
_LOCK_OFF = re.compile(
    r"missing object ?lock ?configuration|object lock not configured",  # AWS and MinIO; Ceph.
    re.IGNORECASE,
)
_NO_CHECKSUM = re.compile(
    r"content-?md5\b.*\brequired\b|\brequired\b.*\bcontent-?md5\b",
    re.IGNORECASE,
)
_CAP = re.compile(r"\bcap exceeded\b", re.IGNORECASE)


def meaning_of(status: int, code: str | None, message: str = "") -> Meaning:
    """What an error response means: by its code, else by its status.

    Args:
        status: HTTP status; 200 where an error arrived inside a success.
        code: The provider's code, or None.
        message: The provider's text, used only where one code stands for two things.
    """
    if code == "AccessDenied":
        if _CAP.search(message):
            return QUOTA  # Backblaze B2 sends this when a spending cap is reached.
        if "Request has expired" in message:
            return EXPIRED
        if "object lock" in message.lower() or "WORM" in message:
            return LOCKED
    if code == "InvalidRequest" and "WORM" in message:
        return LOCKED  # MinIO.
    if status == _BAD_REQUEST and _NO_CHECKSUM.search(message):
        return NO_CHECKSUM  # AWS and most others: "InvalidRequest", and each has words of its own.
    if code == "InvalidRequest" and _LOCK_OFF.search(message):
        return LOCK_OFF
    if code == "InvalidArgument" and "Unsupported header" in message:
        return UNSUPPORTED  # Backblaze B2 sends this for headers it does not know.
    if code == "InvalidArgument" and "version id" in message.lower():
        return NO_VERSION  # AWS sends this for an id that no version has, also in a bucket without versions.
    if code is not None and code.startswith("KMS."):
        return KMS_KEY  # AWS passes on what its key service said, with this before it.
    found = CODES.get(code) if code is not None else None
    if found is not None:
        return found
    if code is not None and status == 404:  # noqa: PLR2004 - with an unknown code it may be about anything
        return NOT_FOUND
    if status in STATUSES:
        return STATUSES[status]
    if status >= 500 or status < 300:  # noqa: PLR2004 - N15: an unknown error inside a success is the server's
        return BROKEN
    if 400 <= status < 500:  # noqa: PLR2004 - HTTP's class of client errors
        return REFUSED
    return _UNREADABLE
