"""What an error of Google's JSON API or a bare status means: data, and the lookup in it. Pure.

Rules of this file: messages are our own, since a response's text may repeat what was sent; `applied` is not
decided here but by the exchange, which knows what was sent before.

Source: "HTTP status and error codes for JSON", cloud.google.com/storage/docs/json_api/v1/status-codes.
"""

from __future__ import annotations

from credstore.driver.meaning import NEEDS_KEY, NEEDS_NO_KEY, WRONG_KEY, Meaning
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageAuthenticationError,
    StorageBucketNotFoundError,
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
NO_BUCKET = Meaning(
    StorageBucketNotFoundError,
    "there is no such bucket; check its name, and whether it was deleted (while soft delete keeps it, "
    "`gcloud storage restore gs://BUCKET#GENERATION` brings it back)",
    ErrorCode.BUCKET_NOT_FOUND,
)
NO_UPLOAD = Meaning(
    StorageNotFoundError, "there is no such upload; it was finished, given up, or is over a week old",
    ErrorCode.UPLOAD_NOT_FOUND,
)  # fmt: skip
DENIED = Meaning(
    StorageAccessDeniedError,
    "the credentials may not do this; check the roles that they have on the bucket",
)
PRIVATE = Meaning(
    StorageAuthenticationError,
    "the request had no credentials, and the bucket is not open to the public; leave out "
    'auth_mode="anonymous"',
)
BAD_TOKEN = Meaning(
    StorageAuthenticationError,
    "the token was not accepted; check that the credentials still exist and are for this project",
)
EXPIRED = Meaning(
    StorageAuthenticationError, "the token has expired or was revoked", ErrorCode.CREDENTIALS_EXPIRED
)
SKEWED = Meaning(
    StorageAuthenticationError,
    "this machine's clock is too far from the provider's; correct it",
    ErrorCode.CLOCK_SKEW,
)
BILLING = Meaning(
    StorageAccessDeniedError,
    "the project of the bucket, or the one that is billed, has billing or its account disabled",
)
PAYER = Meaning(
    StorageInvalidRequestError,
    "whoever asks this bucket pays for it; set `user_project` to a project of yours",
)
LOCKED = Meaning(StorageRetainedError, "a retention or hold forbids this")
LOCK_OFF = Meaning(
    StorageUnsupportedError,
    "the bucket has no object retention, so nothing can be retained there; enable it (Google Cloud console, "
    "tab Protection of the bucket, or `gcloud storage buckets create --enable-per-object-retention`)",
    ErrorCode.RETENTION_DISABLED,
)
SLOW_DOWN = Meaning(
    StorageRateLimitedError,
    "the provider asks to slow down; it takes about one write a second to each key",
)
UNAVAILABLE = Meaning(StorageUnavailableError, "the provider cannot serve this now")
BROKEN = Meaning(StorageUnavailableError, "the provider reports a failure of its own")
CUT_OFF = Meaning(StorageTimeoutError, "the provider did not finish in time")
CONDITION = Meaning(StoragePreconditionFailedError, "the object is not the version asked for")
CONCURRENT = Meaning(
    StorageConflictError,
    "another operation on this object or bucket was in progress",
    ErrorCode.CONCURRENT_WRITE,
    retryable=True,
)
TOO_LARGE = Meaning(StorageInvalidRequestError, "it is larger than the provider accepts", ErrorCode.TOO_LARGE)
METADATA = Meaning(
    StorageInvalidRequestError, "there is more metadata than the provider keeps", ErrorCode.METADATA_TOO_LARGE
)
BAD_KEY = Meaning(StorageInvalidKeyError, "the provider does not accept this key")
RANGE = Meaning(
    StorageInvalidRequestError, "the range starts beyond the end of the object", ErrorCode.INVALID_RANGE
)
CORRUPTED = Meaning(
    StorageIntegrityError,
    "the body that arrived does not match its checksum; a proxy may have changed it",
    ErrorCode.CHECKSUM_MISMATCH,
)
QUOTA = Meaning(StorageQuotaExceededError, "a quota or limit of the project is used up")
UNSUPPORTED = Meaning(StorageUnsupportedError, "the bucket does not support this operation or option")
MALFORMED = Meaning(StorageInvalidRequestError, "the provider calls the request malformed")

REASONS: dict[str, Meaning] = {
    "required": PRIVATE,
    "authError": EXPIRED,
    **dict.fromkeys(("forbidden", "insufficientPermissions", "accessNotConfigured"), DENIED),
    **dict.fromkeys(("accountDisabled", "billingNotEnabled", "userProjectAccountProblem"), BILLING),
    **dict.fromkeys(("userProjectMissing", "userProjectInconsistent", "userProjectInvalid"), PAYER),
    **dict.fromkeys(("retentionPolicyNotMet", "objectUnderActiveHold", "objectRetentionNotMet"), LOCKED),
    **dict.fromkeys(("rateLimitExceeded", "userRateLimitExceeded", "usageLimits"), SLOW_DOWN),
    **dict.fromkeys(("quotaExceeded", "dailyLimitExceeded", "limitExceeded"), QUOTA),
    "conditionNotMet": CONDITION,
    "conflict": CONCURRENT,
    "backendError": UNAVAILABLE,
    "internalError": BROKEN,
    "uploadBrokenConnection": CUT_OFF,
    "uploadTooLarge": TOO_LARGE,
    "requestedRangeNotSatisfiable": RANGE,
    **dict.fromkeys(("notImplemented", "unsupportedProtocol", "methodNotAllowed"), UNSUPPORTED),
    **dict.fromkeys(("invalid", "badRequest", "parseError", "invalidParameter", "lengthRequired"), MALFORMED),
    "keyInvalid": BAD_KEY,
    # Codes of the XML API, where the status does not say enough.
    "NoSuchBucket": NO_BUCKET,
    "NoSuchKey": NO_OBJECT,
    # To a token that it does not accept, where the JSON API says "authError".
    **dict.fromkeys(("AuthenticationRequired", "ExpiredToken"), EXPIRED),
    "RequestTimeTooSkewed": SKEWED,
    "UserProjectMissing": PAYER,
    "UserProjectAccountProblem": BILLING,
    "SlowDown": SLOW_DOWN,
    "InvalidRange": RANGE,
    **{
        first + rest: meaning  # The JSON API has the codes of the XML API in its own spelling.
        for capital, small, rest, meaning in (
            ("C", "c", "ustomerEncryptionKeyIsIncorrect", WRONG_KEY),
            ("R", "r", "esourceIsEncryptedWithCustomerEncryptionKey", NEEDS_KEY),
            ("R", "r", "esourceNotEncryptedWithCustomerEncryptionKey", NEEDS_NO_KEY),
        )
        for first in (capital, small)
    },
}  # fmt: skip

STATUSES: dict[int, Meaning] = {
    400: MALFORMED,
    401: BAD_TOKEN,
    403: DENIED,
    404: NO_OBJECT,
    405: UNSUPPORTED,
    408: CUT_OFF,
    409: CONCURRENT,
    410: NO_UPLOAD,
    411: MALFORMED,
    412: CONDITION,
    413: TOO_LARGE,
    416: RANGE,
    429: SLOW_DOWN,
    500: BROKEN,
    501: UNSUPPORTED,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
    507: QUOTA,
}
"""Responses without a reason of Google's."""
_UNREADABLE = Meaning(StorageError, "the provider sent a response that credstore does not know")
_CORRUPT = ("crc32c", "md5 hash", "checksum")
_KEPT = ("cannot be deleted, overwritten or archived", "is under active")
_LATE = ("request time too skewed", "clock skew", "token used too early", "not yet valid")


def meaning_of(status: int, reason: str | None, text: str = "") -> Meaning:
    """What an error response means: by its reason, else by its status.

    Args:
        status: HTTP status.
        reason: Google's reason, or None.
        text: Google's text, used only where one reason stands for several things.
    """
    said = text.lower()
    if status == 404 and (reason == "NoSuchBucket" or "bucket" in said) and "no such object" not in said:  # noqa: PLR2004
        return NO_BUCKET
    if status == 401 and any(each in said for each in _LATE):  # noqa: PLR2004
        return SKEWED
    if status == 401 and reason == "required" and "anonymous" not in said:  # noqa: PLR2004
        return BAD_TOKEN
    if status == 400:  # noqa: PLR2004 - "invalid" stands for nearly everything
        if "retention is not enabled" in said:
            return LOCK_OFF
        if any(each in said for each in _CORRUPT):
            return CORRUPTED
        if "metadata" in said and ("size" in said or "large" in said):
            return METADATA
        if "object name" in said or "object's name" in said:
            return BAD_KEY
        if reason == "required":
            return PAYER if "user project" in said or "requester pays" in said else MALFORMED
    if status == 403 and any(each in said for each in _KEPT):  # noqa: PLR2004 - also with the reason "forbidden"
        return LOCKED
    if status in {404, 410, 412, 416}:  # These say enough by themselves
        return STATUSES[status]
    found = REASONS.get(reason) if reason is not None else None
    if found is not None:
        return found
    if status in STATUSES:
        return STATUSES[status]
    if status >= 500:  # noqa: PLR2004 - HTTP's class of the server's own failures
        return BROKEN
    if 400 <= status < 500:  # noqa: PLR2004 - HTTP's class of client errors
        return MALFORMED
    return _UNREADABLE
