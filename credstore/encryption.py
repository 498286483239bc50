"""Secrets, keys and policies of encryption: frozen values that never show what they hold."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal, NoReturn, Protocol, TypeAlias, TypeVar, cast

from credstore.arguments import typed_class, typed_request
from credstore.errors import (
    StorageConfigurationError,
    StorageInvalidRequestError,
)

E = TypeVar("E")


class Secret:
    """A string that only `reveal()` shows: not repr, str, format, pickle or logs."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        """Hold it.

        Raises:
            StorageConfigurationError: It is not text.
        """
        held = isinstance(value, str)  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        self.__value = value if held else ""
        kind = type(value).__name__
        del value  # Not in a traceback.
        if not held:
            message = f"`value` of Secret is text (str), not {kind}"
            raise StorageConfigurationError(message)

    def reveal(self) -> str:
        """The secret itself; keep it out of locals that outlive the call."""
        return self.__value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "Secret(***)"

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value.encode(), other.reveal().encode())

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __reduce__(self) -> NoReturn:
        message = "a Secret is never pickled or copied"
        raise TypeError(message)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self


@typed_request
@dataclass(frozen=True, slots=True)
class KmsKey:
    """Server-side encryption with a key of the provider's key service (SSE-KMS).

    Attributes:
        key_id: Id, ARN or alias of the key; None for the account's default key.
    """

    key_id: str | None = None


@typed_request
@dataclass(frozen=True, slots=True)
class CustomerKey:
    """Server-side encryption with a key you keep (SSE-C); needed again for every read.

    Attributes:
        key: 32 bytes. Losing it loses the object.
    """

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        key = cast("object", self.key)  # For callers without type checking.
        if not isinstance(key, bytes) or len(key) != 32:  # noqa: PLR2004 - AES-256
            message = "a customer-provided key is 32 bytes"
            raise StorageInvalidRequestError(message)

    def __reduce__(self) -> NoReturn:
        message = "a CustomerKey is never pickled"
        raise TypeError(message)


DATA_KEY = 32
"""Bytes of a data key: AES-256."""


def decoded_key(text: str) -> bytes | None:
    """The 32 bytes that are written as base64 or hex; None where a text has something else."""
    try:
        key = bytes.fromhex(text) if len(text) == 2 * DATA_KEY else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == DATA_KEY else None


class DataKey:
    """The key of one object, with the form in which the object carries it.

    Shown by nothing but `reveal()`: not by repr, str, format or pickle.

    Attributes:
        key_id: Names the wrapping key, which alone unwraps it.
        wrapped: The data key, encrypted with that wrapping key.
    """

    __slots__ = ("__plain", "key_id", "wrapped")

    def __init__(self, plain: bytes, *, key_id: str, wrapped: bytes) -> None:
        """Hold 32 random bytes and their wrapped form."""
        self.key_id = key_id
        self.wrapped = wrapped
        if len(plain) != DATA_KEY:
            message = f"a data key has {DATA_KEY} bytes, but this one has {len(plain)}"
            del plain  # Not in the traceback.
            raise StorageInvalidRequestError(message)
        self.__plain = plain

    def reveal(self) -> bytes:
        """The key itself; keep it out of locals that outlive the call."""
        return self.__plain

    def __repr__(self) -> str:
        return f"DataKey(***, key_id={self.key_id!r})"

    def __reduce__(self) -> NoReturn:
        message = "a DataKey is never pickled or copied"
        raise TypeError(message)


class KeySource(Protocol):
    """Where data keys come from: a `KeyRing`."""

    @property
    def current_id(self) -> str:
        """The id of the wrapping key that new objects get."""
        ...

    def knows(self, key_id: str) -> bool:
        """Whether it has the wrapping key of this id."""
        ...

    async def generate(self, *, store_id: str) -> DataKey:
        """A new data key, wrapped with the current wrapping key."""
        ...

    async def unwrap(
        self, key_id: str, wrapped: bytes, *, store_id: str, suite: int = 1, salt: bytes = b""
    ) -> DataKey:
        """The data key in `wrapped`.

        Raises:
            StorageDecryptionError: The wrapping key is unknown or not the right one.
        """
        ...

    async def wrap(self, key: DataKey, *, store_id: str) -> DataKey:
        """The same data key, wrapped with the current wrapping key."""
        ...


CHUNK_SIZES = tuple(2**exponent for exponent in range(12, 23))
"""Chunk sizes an encrypted object may have, in bytes: powers of two from 4 KiB to 4 MiB."""
_LONGEST_STORE_ID = 255


@typed_class
@dataclass(frozen=True, slots=True)
class ClientSide:
    """Encryption before anything leaves this process, with keys the store never sees.

    Attributes:
        keyring: Wraps and unwraps the objects' keys; usually a `KeyRing`.
        store_id: Names the store, permanently. Every object is bound to it, so an object of another store
            does not decrypt here. Use the same one wherever the store is read or written, on all replicas,
            and never change it: up to 255 printable ASCII characters. Each prefix of a bucket is a store of
            its own.
        required: Refuse to read what is not encrypted in this way; with False such objects are read as they
            are.
        chunk_size: Bytes that are encrypted, and for ranges read, as one unit: a power of two
            from 4 KiB to 4 MiB. Each object records its own, so it may be changed at any time.
        shreddable: Keep the wrapped key of each new object next to it, below `.credstore/keys/`, so that
            `forget_key` can make the object unreadable for good, even under retention. Costs one more request
            for each write and read.
    """

    keyring: KeySource = field(repr=False)
    _: KW_ONLY
    store_id: str
    required: bool = True
    chunk_size: int = 64 * 1024
    shreddable: bool = False

    def __post_init__(self) -> None:
        if not is_store_id(self.store_id):
            raise StorageConfigurationError(
                "store_id of ClientSide is a name of 1 to 255 printable ASCII characters"
            )
        if self.chunk_size not in CHUNK_SIZES:
            raise StorageConfigurationError(
                f"chunk_size of ClientSide is a power of two from {CHUNK_SIZES[0]} to {CHUNK_SIZES[-1]}, "
                f"not {self.chunk_size}"
            )


def is_store_id(name: object) -> bool:
    """Whether something can name a store for good; see `ClientSide`."""
    return (
        isinstance(name, str) and 0 < len(name) <= _LONGEST_STORE_ID and name.isascii() and name.isprintable()
    )


ServerEncryption: TypeAlias = "Literal['AES256'] | KmsKey | CustomerKey"


_ENCRYPTIONS = (ClientSide, bool, KmsKey, CustomerKey)


class WrongKind:
    """Stands for an `encryption` that is not one, such as a passphrase: only its type is kept."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        """Remember the name of a type."""
        self.kind = kind


def known_encryption(asked: E) -> E:
    """The same, if it is an encryption; else a `WrongKind`, so that no frame of a traceback has a passphrase.

    Args:
        asked: What a call was given, whatever it is.
    """
    kind: object = asked
    if kind is None or isinstance(kind, _ENCRYPTIONS) or kind == "AES256":
        return asked
    return cast("E", WrongKind(type(kind).__name__))


def kind_of(asked: object) -> str:
    """Name of the type of what was given as an encryption."""
    return asked.kind if isinstance(asked, WrongKind) else type(asked).__name__
