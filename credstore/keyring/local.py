"""Wrapping keys that this machine holds: in a file, in the environment, or made from a passphrase.

Rules of this file: a key file that others may read is refused, not repaired, since it may have been
read already. A passphrase costs the same for everyone and once in the life of its object; what an
object says never chooses a cost or a salt, and one passphrase key is tried for an object, never a
list of them (partitioning oracles).
"""

from __future__ import annotations

import base64
import os
import re
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_bytes
from typing import NoReturn, Self

from credstore.arguments import typed_class
from credstore.encryption import DATA_KEY, Secret, decoded_key
from credstore.errors import StorageConfigurationError
from credstore.files import PRIVATE, PendingFile
from credstore.keyring.wrapping import KeyWrap, checked_id
from credstore.threads import in_pool

SCRYPT_N = 2**17
SCRYPT_R = 8
SCRYPT_P = 1
"""128 MiB and about half a second; OWASP Password Storage Cheat Sheet, scrypt, first choice."""
_SALT = 16
_LOOSE = stat.S_IRWXG | stat.S_IRWXO
_LARGEST_FILE = 1024
_LIKE_A_KEY = re.compile(
    r"(?:\w{2,8}:)?(?:(?:0x)?[0-9a-fA-F]{32,}|(?=.*[0-9])(?=.*[a-z])(?=.*[A-Z])[\w+/=-]{32,})"
)
"""Hex or base64 of either alphabet that is longer than anyone would type, perhaps with a word before it."""


class _Held(ABC):
    """What the keys of this machine have in common."""

    __slots__ = ("key_id", "remote")

    def __init__(self, key_id: str) -> None:
        self.key_id = checked_id(key_id)
        self.remote = False

    @abstractmethod
    async def _wrapper(self) -> KeyWrap:
        """What wraps with this key."""

    async def generate(self, random: Callable[[int], bytes], store_id: str) -> tuple[bytes, bytes]:  # noqa: ARG002 - the envelope binds the store
        """See `WrappingKey`."""
        wrapper = await self._wrapper()  # First: while it is made, no data key is in a frame.
        plain = random(DATA_KEY)
        return plain, wrapper.wrap(plain)

    async def wrap(self, plain: bytes, store_id: str) -> bytes:  # noqa: ARG002 - as above
        """See `WrappingKey`."""
        held = Secret(plain.hex())
        del plain  # Not in a traceback.
        return (await self._wrapper()).wrap(bytes.fromhex(held.reveal()))

    async def unwrap(self, wrapped: bytes, store_id: str) -> bytes:  # noqa: ARG002 - as above
        """See `WrappingKey`."""
        return (await self._wrapper()).unwrap(wrapped)

    async def aclose(self) -> None:  # noqa: B027 - not to be overridden
        """Nothing to release."""

    def __repr__(self) -> str:
        # A reporter may ask one that refuses to be made, before it has a name.
        return f"{type(self).__name__}({getattr(self, 'key_id', None)!r})"

    def __reduce__(self) -> NoReturn:
        message = "a wrapping key is never pickled or copied"
        raise TypeError(message)


@typed_class
class LocalKey(_Held):
    """A wrapping key of 32 random bytes (AES-256 key wrap, RFC 3394).

    Attributes:
        key_id: What objects carry to name it.
        remote: False.
    """

    __slots__ = ("__wrapper",)

    def __init__(self, key: bytes, *, key_id: str | None = None) -> None:
        """Hold the key.

        Args:
            key: 32 random bytes. Losing them loses every object that is wrapped with them.
            key_id: Names it for good; `local-` and 16 hex digits that follow from the key if None.

        Raises:
            StorageConfigurationError: Not 32 bytes, or an id that cannot name a key.
        """
        self.__wrapper = KeyWrap(key)
        del key  # Not in the traceback of a wrong id.
        super().__init__(f"local-{self.__wrapper.fingerprint()}" if key_id is None else key_id)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, key_id: str | None = None) -> Self:
        """The key in a file, in base64 or hex, that only its owner may read.

        Raises:
            StorageConfigurationError: It cannot be read, others may read it, or it does not hold a key.
        """
        if _is_key(path):
            del path
            raise _not_a_path()
        name = os.fspath(path)
        try:
            with Path(name).open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = Secret("" if mode & _LOOSE else file.read(_LARGEST_FILE).decode("latin-1"))
        except OSError as error:
            raise StorageConfigurationError(
                f"cannot read the key file {_shown(name)}: {error.strerror or 'it cannot be opened'}"
            ) from error
        if mode & _LOOSE:
            raise StorageConfigurationError(
                f"the key file {name!r} may be read or changed by others (mode {stat.S_IMODE(mode):04o}); "
                "run `chmod 600` on it, and replace the key if others use this machine"
            )
        return cls(_key_in(text, f"the key file {name!r}"), key_id=key_id)

    @classmethod
    def from_env(
        cls, name: str, *, environ: Mapping[str, str] = os.environ, key_id: str | None = None
    ) -> Self:
        """The key in an environment variable, in base64 or hex.

        Raises:
            StorageConfigurationError: The variable is not set or holds no key.
        """
        text = Secret(environ.get(name, ""))
        del environ  # Not in the traceback of what follows.
        if not text:
            raise StorageConfigurationError(f"the environment variable {name} for the key is not set")
        return cls(_key_in(text, f"the environment variable {name}"), key_id=key_id)

    @classmethod
    def generate_file(
        cls,
        path: str | os.PathLike[str],
        *,
        key_id: str | None = None,
        random: Callable[[int], bytes] = token_bytes,
    ) -> Self:
        """A new key in a new file that only its owner may read (mode 0600), safely on disk.

        Raises:
            StorageConfigurationError: The file already exists, or cannot be made.
        """
        if _is_key(path):
            del path
            raise _not_a_path()
        name = os.fspath(path)
        text = Secret(base64.b64encode(random(DATA_KEY)).decode())
        made = cls(_key_in(text, "the new key"), key_id=key_id)
        try:
            with PendingFile(name, replace=False, mode=PRIVATE) as file:
                # Through Python's own file: a function given the text would have it in its frame.
                with os.fdopen(file.fd, "w", closefd=False) as writer:
                    writer.write(f"{text.reveal()}\n")
                file.publish()
        except OSError as error:
            raise StorageConfigurationError(
                f"cannot make the key file {name!r}: {error.strerror or 'it cannot be written'}"
            ) from error
        return made

    def generate_here(self, random: Callable[[int], bytes]) -> tuple[bytes, bytes]:
        """The same as `generate`, without waiting."""
        plain = random(DATA_KEY)
        return plain, self.__wrapper.wrap(plain)

    def unwrap_here(self, wrapped: bytes) -> bytes:
        """The same as `unwrap`, without waiting."""
        return self.__wrapper.unwrap(wrapped)

    async def _wrapper(self) -> KeyWrap:
        return self.__wrapper


@typed_class
class PassphraseKey(_Held):
    """A wrapping key made from a passphrase by scrypt (RFC 7914; N = 2**17, r = 8, p = 1).

    It is made when first needed, in a thread (half a second and 128 MiB), and kept.

    Attributes:
        key_id: `scrypt-` and the salt in hex, so that every object records the salt in case it gets lost.
        remote: False.
    """

    __slots__ = ("__passphrase", "__wrapper", "_lock", "salt")

    def __init__(self, passphrase: Secret | str, *, salt: bytes) -> None:
        """Hold the passphrase.

        Args:
            passphrase: Any text; different words or blanks make a different key.
            salt: 16 bytes, made once at random for this passphrase and kept with the settings; it is
                not a secret. `salt_of(key_id)` returns that of an object's key.

        Raises:
            StorageConfigurationError: An empty passphrase, or a salt of another length.
        """
        # The name too, so that no traceback has the plain one.
        passphrase = self.__passphrase = passphrase if isinstance(passphrase, Secret) else Secret(passphrase)
        if not self.__passphrase:
            raise StorageConfigurationError("the passphrase is empty")
        if len(salt) != _SALT:
            raise StorageConfigurationError(
                f"the salt of a passphrase has {_SALT} bytes, but this one has {len(salt)}; "
                "secrets.token_bytes(16) makes one"
            )
        super().__init__(f"{_SCRYPT_ID}{salt.hex()}")
        self.salt = salt
        self.__wrapper: KeyWrap | None = None
        self._lock = threading.Lock()

    @staticmethod
    def salt_of(key_id: str) -> bytes:
        """The salt in the id of such a key, as an object carries it.

        Raises:
            StorageConfigurationError: It is the id of another kind of key.
        """
        digits = key_id.removeprefix(_SCRYPT_ID)
        try:
            salt = bytes.fromhex(digits)
        except ValueError:
            salt = b""
        if len(salt) != _SALT or key_id != f"{_SCRYPT_ID}{salt.hex()}":
            raise StorageConfigurationError(f"{key_id!r} is not the id of a passphrase key")
        return salt

    async def _wrapper(self) -> KeyWrap:
        if self.__wrapper is None:
            return await in_pool(self._derive)
        return self.__wrapper

    def _derive(self) -> KeyWrap:
        with self._lock:  # Many first uses at the same time derive it only once.
            wrapper = self.__wrapper or KeyWrap(_scrypt(self.__passphrase, self.salt))
            self.__wrapper = wrapper
            return wrapper


_SCRYPT_ID = "scrypt-"


def _scrypt(passphrase: Secret, salt: bytes) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    function = Scrypt(salt=salt, length=DATA_KEY, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P)
    return function.derive(passphrase.reveal().encode())


def _is_key(path: str | os.PathLike[str]) -> bool:
    """Whether it is a key, which neither messages nor tracebacks should show."""
    return decoded_key(os.fspath(path).strip()) is not None


def _not_a_path() -> StorageConfigurationError:
    return StorageConfigurationError(
        "what is needed is the path of a key's file, and not the key itself, which ends up in logs"
    )


def _shown(name: str) -> str:
    """A path that leads nowhere, for a message; not one that may be a key, cut or spelled otherwise."""
    is_below = "/" in name and Path(name).parent.is_dir()
    if _LIKE_A_KEY.fullmatch(name.strip()) and not is_below:
        return "that was named (it looks like a key, so it is not shown)"
    return repr(name)


def _key_in(text: Secret, where: str) -> bytes:
    key = decoded_key(text.reveal().strip())
    if key is None:
        raise StorageConfigurationError(
            f"{where} holds no key: 32 random bytes in base64 (44 characters) or hex (64 digits)"
        )
    return key
