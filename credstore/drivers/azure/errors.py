"""What an Azure error code or a bare status means: data, and the lookup in it. Pure.

Rules of this file: messages are our own, since a response's text may repeat what was sent; `applied` is not
decided here but by the exchange, which knows what was sent before.

Source: "Common REST API error codes" and "Blob Storage error codes" of learn.microsoft.com; the names
also in `StorageErrorCode` of azure-storage-blob.
"""

from __future__ import annotations

from credstore.driver.meaning import NEEDS_KEY, NEEDS_NO_KEY, WRONG_KEY, Meaning
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
NO_CONTAINER = Meaning(
    StorageBucketNotFoundError,
    "there is no such container; check its name and the account's, and whether it was deleted (while soft "
    "delete keeps it, `az storage container restore` brings it back)",
    ErrorCode.BUCKET_NOT_FOUND,
)
BEING_DELETED = Meaning(
    StorageBucketNotFoundError,
    "the container is being deleted, which takes half a minute or more; after that it can be made again, or "
    "restored where soft delete keeps it",
    ErrorCode.BUCKET_NOT_FOUND,
)
IS_CURRENT = Meaning(
    StorageAccessDeniedError,  # For Azure, it is one; a retention or hold may be why nothing would help.
    "Azure does not remove the current version by its id; delete the object, which makes it an earlier one, "
    "and then this version, or use delete_versions",
)
NO_VERSION = Meaning(
    StorageNotFoundError, "there is no such version of the object", ErrorCode.VERSION_NOT_FOUND
)
NOT_FOUND = Meaning(
    StorageNotFoundError, "the provider does not find something that the request needs; its code says what"
)
DENIED = Meaning(
    StorageAccessDeniedError,
    "the credentials may not do this; check the role assignments, or the permissions of the signature",
)
NETWORK = Meaning(
    StorageAccessDeniedError,
    "the account does not accept this; check its network rules, the addresses, protocols and services of the "
    "signature, and the key",
)
NO_KEYS = Meaning(
    StorageAccessDeniedError,
    'the account does not accept Shared Key; set auth_mode="login", or use a user delegation signature',
)
PRIVATE = Meaning(
    StorageAuthenticationError, "the request had no credentials, and the account is not open to the public"
)
DISABLED = Meaning(StorageAccessDeniedError, "the account is disabled")
CURRENT_VERSION = frozenset({"OperationNotAllowedOnRootBlob", "CannotDeleteCurrentVersion"})
"""Codes for the removal of the current version by its id."""
LOCKED = Meaning(StorageRetainedError, "an immutability policy or legal hold forbids this")
LOCK_OFF = Meaning(
    StorageUnsupportedError,
    "the container has no version-level immutability, so nothing can be retained or held there; switch blob "
    "versioning on for the account, and enable it with `az storage container-rm create --enable-vlw` for a "
    "new container, or `az storage container-rm migrate-vlw` for this one",
    ErrorCode.RETENTION_DISABLED,
)
BAD_SIGNATURE = Meaning(
    StorageAuthenticationError,
    "the signature was not accepted; check that the key or signature is of this account, and the endpoint",
)
BAD_TOKEN = Meaning(
    StorageAuthenticationError, "the token was not accepted; check its tenant, and that it is for storage"
)
EXPIRED = Meaning(
    StorageAuthenticationError,
    "the token has expired; sign in again",
    ErrorCode.CREDENTIALS_EXPIRED,
)
SAS_TIME = Meaning(
    StorageAuthenticationError,
    "the shared access signature has expired, or is not valid yet; give a new one",
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
CUT_OFF = Meaning(StorageTimeoutError, "the provider did not finish in time")
CONDITION = Meaning(StoragePreconditionFailedError, "the object is not the version asked for")
EXISTS = Meaning(StorageAlreadyExistsError, "it exists already")
CONCURRENT = Meaning(
    StorageConflictError,
    "another operation on this object or container was in progress",
    ErrorCode.CONCURRENT_WRITE,
    retryable=True,
)
LEASED = Meaning(
    StorageConflictError,
    "the object has a lease, which forbids this; break or release it with Azure's own tools first",
    ErrorCode.LEASED,
)
SNAPSHOTS = Meaning(
    StorageConflictError,
    "the blob has snapshots, which would go with it; delete them with Azure's own tools first",
    ErrorCode.SNAPSHOTS,
)
OTHER_KIND = Meaning(
    StorageConflictError,
    "what is there is an append or page blob, which a block blob cannot replace; delete it first",
)
ARCHIVED = Meaning(
    StorageUnavailableError,
    "the object is archived; set its tier to hot or cool (`az storage blob set-tier --tier Hot`, or "
    'AzureConfig(rehydrate="standard")) and read it when that is done, after up to 15 hours',
    ErrorCode.ARCHIVED,
    retryable=False,
)
REHYDRATING = Meaning(
    StorageUnavailableError,
    "the object is archived and being restored; read it when that is done, after up to 15 hours",
    ErrorCode.ARCHIVED,
    retryable=False,
)
TOO_LARGE = Meaning(StorageInvalidRequestError, "it is larger than the provider accepts", ErrorCode.TOO_LARGE)
METADATA = Meaning(
    StorageInvalidRequestError, "there is more metadata than the provider keeps", ErrorCode.METADATA_TOO_LARGE
)
BAD_METADATA = Meaning(StorageInvalidRequestError, "the provider does not accept this metadata")
BAD_KEY = Meaning(StorageInvalidKeyError, "the provider does not accept this key")
RANGE = Meaning(
    StorageInvalidRequestError, "the range starts beyond the end of the object", ErrorCode.INVALID_RANGE
)
CORRUPTED = Meaning(
    StorageIntegrityError,
    "the body that arrived does not match its checksum; a proxy may have changed it",
    ErrorCode.CHECKSUM_MISMATCH,
)
BLOCKS_GONE = Meaning(
    StorageConflictError,
    "another write to this key dropped blocks of this one",
    ErrorCode.CONCURRENT_WRITE,
)
OTHER_BLOCKS = Meaning(
    StorageConflictError,
    "another client's unfinished upload to this key has block ids of another length; it stands in the way "
    "until it is committed, the object is overwritten, or a week has passed",
    ErrorCode.CONCURRENT_WRITE,
)
QUOTA = Meaning(StorageQuotaExceededError, "a quota or limit of the account is used up")
BAD_TAGS = Meaning(
    StorageInvalidRequestError,
    "the provider does not accept these tags; Azure allows 10, of letters, digits, spaces and + - . / : = _",
    ErrorCode.INVALID_TAG,
)
WRONG_PLACE = Meaning(
    StorageConfigurationError,
    "the endpoint is not the account's blob endpoint; check `account` and `endpoint`",
)
UNSUPPORTED = Meaning(StorageUnsupportedError, "the account does not support this operation or header")
MALFORMED = Meaning(StorageInvalidRequestError, "the provider calls the request malformed")

NEEDING_KEY = "BlobUsesCustomerSpecifiedEncryption"
"""To a request without the key, or with another."""
CODES: dict[str, Meaning] = {
    **dict.fromkeys(("BlobNotFound", "ResourceNotFound", "PathNotFound"), NO_OBJECT),
    "ContainerNotFound": NO_CONTAINER,
    "ContainerDisabled": NO_CONTAINER,
    "ContainerBeingDeleted": BEING_DELETED,
    **dict.fromkeys(
        (
            "AuthorizationPermissionMismatch",
            "InsufficientAccountPermissions",
            "AuthorizationResourceTypeMismatch",
            "AuthorizationServiceMismatch",
            "PublicAccessNotPermitted",
            "UnauthorizedBlobOverwrite",
        ),
        DENIED,
    ),
    **dict.fromkeys(
        ("AuthorizationFailure", "AuthorizationSourceIPMismatch", "AuthorizationProtocolMismatch"), NETWORK
    ),
    **dict.fromkeys(("KeyBasedAuthenticationNotPermitted", "AccountKeyAccessNotPermitted"), NO_KEYS),
    "NoAuthenticationInformation": PRIVATE,
    "AccountIsDisabled": DISABLED,
    "AuthenticationFailed": BAD_SIGNATURE,
    "InvalidAuthenticationInfo": BAD_TOKEN,
    **dict.fromkeys(
        (
            "BlobImmutableDueToPolicy",
            "BlobImmutableDueToLegalHold",
            "ContainerImmutabilityPolicyViolation",
            "LegalHoldInPlace",
        ),
        LOCKED,
    ),
    **dict.fromkeys(("ServerBusy", "IngressLimitExceeded", "EgressLimitExceeded"), SLOW_DOWN),
    "InternalError": BROKEN,
    "OperationTimedOut": CUT_OFF,
    **dict.fromkeys(
        (
            "ConditionNotMet",
            "TargetConditionNotMet",
            "SourceConditionNotMet",
        ),
        CONDITION,
    ),
    **dict.fromkeys(("BlobAlreadyExists", "ResourceAlreadyExists", "ContainerAlreadyExists"), EXISTS),
    **dict.fromkeys(CURRENT_VERSION, IS_CURRENT),
    **dict.fromkeys(
        (
            "PendingCopyOperation",
            "BlobOverwritten",
            "OperationNotAllowedInCurrentState",
        ),
        CONCURRENT,
    ),
    **dict.fromkeys(
        (
            "LeaseIdMissing",
            "LeaseIdMismatchWithBlobOperation",
            "LeaseIdMismatchWithContainerOperation",
            "LeaseIdMismatchWithLeaseOperation",
            "LeaseAlreadyPresent",
            "LeaseLost",
            "LeaseNotPresentWithBlobOperation",
        ),
        LEASED,
    ),
    "SnapshotsPresent": SNAPSHOTS,
    "InvalidBlobType": OTHER_KIND,
    NEEDING_KEY: NEEDS_KEY,
    "BlobCustomerSpecifiedEncryptionMismatch": WRONG_KEY,
    "BlobDoesNotUseCustomerSpecifiedEncryption": NEEDS_NO_KEY,
    "BlobArchived": ARCHIVED,
    "BlobBeingRehydrated": REHYDRATING,
    **dict.fromkeys(("RequestBodyTooLarge", "BlockCountExceedsLimit", "BlockListTooLong"), TOO_LARGE),
    "MetadataTooLarge": METADATA,
    **dict.fromkeys(("InvalidMetadata", "EmptyMetadataKey"), BAD_METADATA),
    **dict.fromkeys(("InvalidResourceName", "InvalidUri", "RequestUrlFailedToParse"), BAD_KEY),
    "InvalidRange": RANGE,
    **dict.fromkeys(("Md5Mismatch", "Crc64Mismatch", "InvalidMd5", "InvalidCrc64"), CORRUPTED),
    "InvalidBlockList": BLOCKS_GONE,
    **dict.fromkeys(("InvalidBlobOrBlock", "InvalidBlockId"), OTHER_BLOCKS),
    **dict.fromkeys(
        ("AccountBeingCreated", "AccountLimitExceeded", "UncommittedBlockCountExceedsLimit"), QUOTA
    ),
    **dict.fromkeys(("InvalidTag", "TagsTooLarge", "InvalidTags", "DuplicateTagNames"), BAD_TAGS),
    **dict.fromkeys(
        (
            "FeatureVersionMismatch",
            "FeatureNotSupported",
            "BlobTierInadequateForContentLength",
            "CopyAcrossAccountsNotSupported",
            "UnsupportedHeader",
            "UnsupportedQueryParameter",
            "UnsupportedHttpVerb",
            "FeatureNotYetSupportedForHierarchicalNamespaceAccounts",
            "AccountTypeNotSupported",
            "APINotImplemented",
        ),
        UNSUPPORTED,
    ),
    **dict.fromkeys(("InvalidHostHeader", "HostInformationNotPresent", "AccountNotFound"), WRONG_PLACE),
    **dict.fromkeys(
        (
            "InvalidHeaderValue",
            "InvalidInput",
            "InvalidQueryParameterValue",
            "InvalidXmlDocument",
            "InvalidXmlNodeValue",
            "MissingContentLengthHeader",
            "MissingRequiredHeader",
            "MissingRequiredQueryParameter",
            "OutOfRangeInput",
            "OutOfRangeQueryParameterValue",
            "MultipleConditionHeadersNotSupported",
        ),
        MALFORMED,
    ),
}

STATUSES: dict[int, Meaning] = {
    400: MALFORMED,
    401: BAD_TOKEN,
    403: DENIED,
    404: NO_OBJECT,
    405: UNSUPPORTED,
    408: CUT_OFF,
    409: CONCURRENT,
    411: MALFORMED,
    412: CONDITION,
    413: TOO_LARGE,
    416: RANGE,
    429: SLOW_DOWN,
    500: BROKEN,
    501: UNSUPPORTED,
    502: UNAVAILABLE,
    503: SLOW_DOWN,
    504: UNAVAILABLE,
    507: QUOTA,
}
"""Responses without a code of Azure's."""
_UNREADABLE = Meaning(StorageError, "the provider sent a response that credstore does not know")
_LATE = ("date header too old", "date header is too old", "date header in the request is incorrect")
_SAS_TIME = ("signature not valid in the specified time frame", "signature did not match the time")
_ENDED = ("lifetime validation failed", "token is expired", "token has expired")


def meaning_of(status: int, code: str | None, detail: str = "") -> Meaning:
    """What an error response means: by its code, else by its status.

    Args:
        status: HTTP status.
        code: Azure's code, or None.
        detail: Azure's text, used only where one code stands for several things.
    """
    text = detail.lower()
    if code in {"AuthenticationFailed", "AuthorizationFailure"}:
        if any(each in text for each in _LATE):
            return SKEWED
        if any(each in text for each in _SAS_TIME):
            return SAS_TIME
    if code in {"InvalidAuthenticationInfo", "AuthenticationFailed"} and any(each in text for each in _ENDED):
        return EXPIRED
    if code == "InvalidQueryParameterValue" and "versionid" in text:
        return NO_VERSION
    if code == "CannotVerifyCopySource":
        code = None  # The status is what the source was answered with.
    found = CODES.get(code) if code is not None else None
    if found is not None:
        return found
    if code is not None and status == 404:  # noqa: PLR2004 - with an unknown code it may be about anything
        return NOT_FOUND
    if status in STATUSES:
        return STATUSES[status]
    if status >= 500:  # noqa: PLR2004 - HTTP's class of the server's own failures
        return BROKEN
    if 400 <= status < 500:  # noqa: PLR2004 - HTTP's class of client errors
        return MALFORMED
    return _UNREADABLE
