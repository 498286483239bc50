"""AWS KMS as a wrapping key: it makes and unwraps data keys and never gives its own away.

Rules of this file: the store's id is the encryption context, so KMS itself refuses a key of another
store and its log names the store. What KMS refuses about a ciphertext is `undecryptable()`; what keeps it
from responding is an error of its own kind, and so is what is wrong with the configuration: keys come from
the same chain as those of stores. Responses hold plain data keys, so nothing of these calls
is logged, at any level, and no response is in a local variable of an error's traceback.

Source: AWS KMS API Reference, GenerateDataKey, Encrypt, Decrypt and "Common Errors".
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, cast

from credstore.arguments import typed_class
from credstore.concurrency import apart
from credstore.encryption import DATA_KEY, Secret
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageAuthenticationError,
    StorageConfigurationError,
    StorageConnectionError,
    StorageError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from credstore.extras import require_extra
from credstore.keyring.wrapping import checked_id
from credstore.pipeline.header import undecryptable
from credstore.wire.aws.credentials import AwsChainCredentials, Credentials, CredentialSource
from credstore.wire.aws.profile import told

CONTEXT = "credstore:store"
"""The name in the encryption context whose value is the store's id."""
TIMEOUT = 10.0
"""Seconds to connect, and to respond; KMS usually takes about 10 ms."""
ATTEMPTS = 3
_NEEDING = "a key of AWS KMS needs"

_FORGED = {"InvalidCiphertextException", "IncorrectKeyException", "ValidationException"}
_UNUSABLE = {"NotFoundException", "DisabledException", "KMSInvalidStateException", "InvalidKeyUsageException"}
_BUSY = {"ThrottlingException", "LimitExceededException", "TooManyRequestsException", "RequestLimitExceeded"}
_DENIED = {"AccessDeniedException", "InvalidGrantTokenException", "OptInRequired"}
_UNSIGNED = {
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "UnrecognizedClientException",
}
_DOWN = {"KMSInternalException", "DependencyTimeoutException", "KeyUnavailableException"}
_SERVER_ERROR = 500
_EXPECTED = {
    "generate_data_key": ("Plaintext", "CiphertextBlob"),
    "encrypt": ("CiphertextBlob",),
    "decrypt": ("Plaintext",),
}
"""What the response to each operation has; botocore takes a body that is not JSON for an empty response."""
_NO_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)

_quiet: ContextVar[bool] = ContextVar("credstore_kms_quiet", default=False)


@typed_class
class AwsKmsKey:
    """A symmetric key of AWS KMS. Needs `pip install 'credstore[aws]'`.

    The credentials need `kms:GenerateDataKey`, `kms:Encrypt` (to rotate) and `kms:Decrypt`.

    Attributes:
        key_id: The ARN.
        remote: True.
    """

    __slots__ = (
        "_chain",
        "_client",
        "_endpoint",
        "_lock",
        "_loop",
        "_profile",
        "_region",
        "_stack",
        "_static",
        "key_id",
        "remote",
    )

    def __init__(
        self,
        key_arn: str,
        *,
        region: str | None = None,
        endpoint: str | None = None,
        profile: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: Secret | None = None,
        session_token: Secret | None = None,
    ) -> None:
        """Name the key; nothing is requested yet.

        Args:
            key_arn: `arn:aws:kms:<region>:<account>:key/<id>`. Not an alias: that may name another key
                tomorrow, and objects carry this name for good.
            region: Where the key is used; the ARN's if None (another for a multi-Region key).
            endpoint: URL of the service; AWS's if None.
            profile: Of the AWS configuration, for the credential chain.
            access_key_id: With `secret_access_key`, in place of the chain.
            secret_access_key: See `access_key_id`.
            session_token: Of temporary credentials.

        Raises:
            StorageConfigurationError: This is not the ARN of a key, there is no region, half of a key pair
                was given, or the extra `aws` is missing.
        """
        fields = [*key_arn.split(":"), "", "", "", "", ""]
        if fields[0] != "arn" or fields[2] != "kms" or not fields[5].startswith("key/"):
            raise StorageConfigurationError(
                f"{key_arn!r} is not the ARN of a KMS key (arn:aws:kms:<region>:<account>:key/<id>); "
                "`aws kms describe-key --key-id alias/<name>` shows that of an alias"
            )
        require_extra("aws", _NEEDING)
        self.key_id = checked_id(key_arn)
        self.remote = True
        self._region = region or fields[3]
        self._endpoint = endpoint
        self._profile = profile
        self._static: Credentials | None = None
        self._chain: AwsChainCredentials | None = None
        given = access_key_id is not None and secret_access_key is not None
        if not given and (access_key_id, secret_access_key, session_token) != (None, None, None):
            raise StorageConfigurationError(
                "`access_key_id` and `secret_access_key` of a KMS key go together; `session_token` needs both"
            )
        if not self._region:
            raise StorageConfigurationError(f"the ARN {key_arn!r} names no region; give `region`")
        if access_key_id is not None and secret_access_key is not None:
            self._static = Credentials(access_key_id, secret_access_key, session_token)
        else:
            self._chain = AwsChainCredentials(profile=profile)
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stack = AsyncExitStack()
        self._lock = asyncio.Lock()

    async def generate(self, random: Callable[[int], bytes], store_id: str) -> tuple[bytes, bytes]:  # noqa: ARG002 - KMS has its own
        """See `WrappingKey`."""
        plain, wrapped = await self._ask("generate_data_key", store_id, lambda: {"NumberOfBytes": DATA_KEY})
        return plain, wrapped

    async def wrap(self, plain: bytes, store_id: str) -> bytes:
        """See `WrappingKey`."""
        held = Secret(plain.hex())
        del plain
        asked = await self._ask("encrypt", store_id, lambda: {"Plaintext": bytes.fromhex(held.reveal())})
        return asked[1]

    async def unwrap(self, wrapped: bytes, store_id: str) -> bytes:
        """See `WrappingKey`."""
        return (await self._ask("decrypt", store_id, lambda: {"CiphertextBlob": wrapped}))[0]

    async def aclose(self) -> None:
        """Close the connections; the key may be used again."""
        async with self._lock:
            self._client = None
            await self._stack.aclose()
        if self._chain is not None:
            await self._chain.aclose()

    async def _ask(
        self, operation: str, store_id: str, parameters: Callable[[], dict[str, object]]
    ) -> tuple[bytes, bytes]:
        """Plain and wrapped data key of one response, each empty where it has none."""
        require_extra("aws", _NEEDING)
        if self._chain is not None:
            await self._chain.get()  # First, so that what is wrong with them is said, and by whom.
        with _unlogged():  # botocore has the plain key in its frames.
            call = await apart(self._call(operation, store_id, parameters))
        if call.error is None:
            return call.value
        raise _failure_of(call.error)

    async def _call(
        self, operation: str, store_id: str, parameters: Callable[[], dict[str, object]]
    ) -> tuple[bytes, bytes]:
        client = await self._opened()
        answer = await getattr(client, operation)(
            KeyId=self.key_id, EncryptionContext={CONTEXT: store_id}, **parameters()
        )
        if not all(answer.get(name) for name in _EXPECTED[operation]):  # A page of a gateway, for example.
            raise StorageConnectionError(
                "what came from AWS KMS is not its response", code=ErrorCode.BAD_ANSWER
            )
        return answer.get("Plaintext", b""), answer.get("CiphertextBlob", b"")

    async def _opened(self) -> Any:
        """The client of this event loop."""
        loop = asyncio.get_running_loop()
        if self._client is not None and self._loop is loop:
            return self._client
        if self._loop is not loop:  # What another loop left ended with it and cannot be closed from here.
            self._client, self._stack, self._lock, self._loop = None, AsyncExitStack(), asyncio.Lock(), loop
        async with self._lock:
            if self._client is None:
                self._client = await self._entered()
                _hush()
            return self._client

    async def _entered(self) -> Any:
        """A new client.

        Raises:
            StorageConfigurationError: The AWS configuration leads to none.
        """
        try:
            return await self._stack.enter_async_context(self._made())
        except Exception as error:  # noqa: BLE001 - whatever botocore makes of its files
            name = type(error).__name__
        raise _unusable(name)

    def _made(self) -> Any:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import AioSession

        session = AioSession(profile=self._profile)
        static = self._static
        if self._chain is not None:
            session.register_component("credential_provider", _Provider(_from(self._chain)))
        return session.create_client(
            "kms",
            region_name=self._region,
            endpoint_url=self._endpoint,
            aws_access_key_id=None if static is None else static.access_key_id,
            aws_secret_access_key=None if static is None else static.secret_access_key.reveal(),
            aws_session_token=None if static is None else _revealed(static.session_token),
            config=AioConfig(
                connect_timeout=TIMEOUT,
                read_timeout=TIMEOUT,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            ),
        )

    def __repr__(self) -> str:
        return f"AwsKmsKey({self.key_id!r})"

    def __reduce__(self) -> NoReturn:
        message = "a wrapping key is never pickled or copied"
        raise TypeError(message)


class _Provider:
    """In place of botocore's own chain, in the form that its session asks for."""

    def __init__(self, credentials: object) -> None:
        self._credentials = credentials

    async def load_credentials(self) -> object:
        """The credentials of a client."""
        return self._credentials


def _from(chain: CredentialSource) -> object:
    """Credentials for a client that come from our own chain whenever it signs."""
    from aiobotocore.credentials import AioCredentials
    from botocore.credentials import ReadOnlyCredentials

    class Renewed(AioCredentials):  # pyright: ignore[reportUntypedBaseClass]
        async def get_frozen_credentials(self) -> ReadOnlyCredentials:
            keys = await chain.get()
            secret = keys.secret_access_key
            return ReadOnlyCredentials(keys.access_key_id, secret.reveal(), _revealed(keys.session_token))

    return Renewed("unused", "unused")


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def _failure_of(error: Exception) -> StorageError:
    """The error for what a call of botocore raised."""
    from botocore import exceptions as theirs
    from botocore.parsers import ResponseParserError

    name = type(error).__name__
    if isinstance(error, StorageError):
        return type(error)(error.message, **error.facts())
    if isinstance(error, theirs.ClientError):
        return _refusal(cast("Any", error).response)
    # botocore wraps what its HTTP client raises, such as for a file of authorities that is not there.
    cause = getattr(error, "kwargs", {}).get("error")
    if isinstance(error, theirs.SSLError) or isinstance(cause, (ssl.SSLError, *_NO_FILE)):
        return StorageConfigurationError(
            f"no trusted TLS connection to AWS KMS could be made ({type(cause or error).__name__}); check "
            "`endpoint`, and `ca_bundle` of the AWS configuration",
            code=ErrorCode.TLS,
        )
    if isinstance(error, (theirs.ConnectionError, theirs.HTTPClientError)):
        return _breakage(name)
    if isinstance(error, ResponseParserError):
        return StorageConnectionError(
            f"what came from AWS KMS is not its response ({name})", code=ErrorCode.BAD_ANSWER
        )
    if isinstance(error, theirs.BotoCoreError):
        return _breakage(name) if _is_about_keys(name) else _unusable(name)
    return StorageError(f"the request to AWS KMS could not be made ({name})")


def _unusable(name: str) -> StorageConfigurationError:
    return StorageConfigurationError(
        f"the AWS configuration leads to no usable endpoint of AWS KMS ({told(name)}); check `endpoint_url`, "
        "`services`, `region` and `ca_bundle` there, and `endpoint` of the key"
    )


def _refusal(answer: dict[str, Any]) -> StorageError:
    """The error for what KMS said."""
    code = str(answer.get("Error", {}).get("Code", ""))
    facts = answer.get("ResponseMetadata", {})
    status = int(facts.get("HTTPStatusCode", 0))
    if code in _FORGED:
        return undecryptable()
    if code in _DENIED:
        kind: type[StorageError] = StorageAccessDeniedError
        what = "does not allow these credentials to use the key"
    elif code in _UNSIGNED:
        kind = StorageAuthenticationError
        what = "does not accept the credentials"
    elif code in _UNUSABLE:
        kind = StorageConfigurationError
        what = "has no such key, or it is disabled or of another kind"
    elif code in _BUSY:
        kind = StorageRateLimitedError
        what = "asks to slow down"
    elif code in _DOWN or status >= _SERVER_ERROR:
        kind = StorageUnavailableError
        what = "cannot respond now"
    else:
        kind = StorageError
        what = "refused the request"
    return kind(
        f"AWS KMS {what}",
        code=ErrorCode.KEY_UNUSABLE if kind is StorageConfigurationError else kind.default_code,
        provider_code=code,
        status_code=status or None,
        request_id=facts.get("RequestId"),
    )


def _breakage(name: str) -> StorageError:
    """The error for a botocore exception that is not a response, by the name of its class."""
    if _is_about_keys(name):
        return StorageAuthenticationError(
            f"no credentials for AWS KMS ({name}); see AWS_PROFILE or give keys"
        )
    if "Timeout" in name:
        return StorageTimeoutError(f"AWS KMS did not respond within {TIMEOUT:g} seconds")
    return StorageConnectionError(f"the connection to AWS KMS failed ({name})")


def _is_about_keys(name: str) -> bool:
    return "Credential" in name or "Token" in name or "SSO" in name


@contextmanager
def _unlogged() -> Generator[None]:
    """Nothing that botocore says in here reaches a log: it shows requests and responses at DEBUG."""
    token = _quiet.set(True)
    try:
        _hush()
        yield
    finally:
        _quiet.reset(token)


def _loud(_record: logging.LogRecord) -> bool:
    return not _quiet.get()


def _hush() -> None:
    """Make every botocore logger heed `_unlogged`; only these loggers consult a filter there."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in {"aiobotocore", "botocore"}:
            logging.getLogger(name).addFilter(_loud)
