"""The key ring that the settings of a store name, where no code of the user makes one.

Settings hold paths and names, never a key: of the file of a `LocalKey`, or the ARN of a key of AWS KMS.
"""

from __future__ import annotations

from pathlib import Path

from credstore.config.settings import CommonConfig
from credstore.config.variables import PREFIX
from credstore.errors import StorageConfigurationError
from credstore.keyring.local import LocalKey
from credstore.keyring.ring import KeyRing
from credstore.keyring.wrapping import WrappingKey

VARIABLE = f"{PREFIX}WRAPPING_KEY"
_ARN = "arn:"


def key_ring_of(config: CommonConfig) -> KeyRing:
    """The keys that `wrapping_key` and `older_wrapping_keys` name; reads their files.

    Raises:
        StorageConfigurationError: The settings name none; a file is missing, open to others or holds no key;
            or two files hold the same key.
    """
    if config.wrapping_key is None:
        raise StorageConfigurationError(
            f"{VARIABLE} is not set, and the store has no `wrapping_key`: the path of a key's file, as "
            "`credstore keys generate` makes it, or the ARN of a key of AWS KMS"
        )
    current = str(config.wrapping_key)
    # One that was rotated away from may still be named as the current one elsewhere, and the other way round.
    names = dict.fromkeys(name for each in config.older_wrapping_keys.split(",") if (name := each.strip()))
    return KeyRing(_key(current), older=[_key(name) for name in names if name != current])


def _key(name: str) -> WrappingKey:
    if not name.startswith(_ARN):
        return LocalKey.from_file(Path(name).expanduser())
    # Here, since it loads what speaks to AWS.
    from credstore.keyring.aws_kms import AwsKmsKey

    return AwsKmsKey(name)
