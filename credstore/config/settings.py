"""`CommonConfig`: the settings that every store has, and the checks that every config makes of itself.

Rules of this file: those of `stores.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Literal, Self

from credstore.arguments import given
from credstore.config import validation as checks
from credstore.config.field_types import Role, describe, fits, held_by
from credstore.config.keys import refuse_plain_secrets
from credstore.driver.capability_report import CapabilityReport
from credstore.encryption import CustomerKey, KmsKey, is_store_id
from credstore.model import Codec

MIB = 1024 * 1024
GIB = 1024 * MIB
SPOOL = 8 * MIB
"""Bytes up to which a body is kept in memory, where a store has no such setting."""
OFF = "off"
"""The `wrapping_key` of a store that is not encrypted, whatever the environment says."""
_REPORT = "report:"
_DICTIONARY = re.compile("[0-9a-f]{64}")
NOT_WRAPPED: Mapping[str, object] = MappingProxyType(
    {"wrapping_key": None, "older_wrapping_keys": "", "store_id": None}
)
"""What the settings of encryption on the client are where there is none."""


@dataclass(frozen=True, kw_only=True)
class CommonConfig:
    """Settings that every store has.

    Attributes:
        prefix: Leading segments of all keys, `team/a`: the store is what is below them, and keys do not
            contain them. It ends with one slash, which is added; "" for the whole store.
        cdn_url: Base of public URLs, `https://cdn.example.com/path`, instead of the provider's form. It leads
            to where keys start without the prefix, which is appended.
        timeout: Seconds for one small operation, including retries. Bodies add their own time.
        max_retries: Number of further attempts after the first of each wire request.
        compress: Default of the `compress` option.
        dictionary: Name of the `Dictionary` in the store that zstd is used with unless a call says
            otherwise; it has no effect where another codec or none is used.
        encryption: Default of the `encryption` option; None means AES256 where the provider has the header,
            and nothing elsewhere.
        wrapping_key: Encrypts everything before it leaves this process, and refuses to read what is not
            encrypted so: the path of a key's file, as `credstore keys generate` makes it, or the ARN of a key
            of AWS KMS. The key itself is not a setting. "off" or None for none; an `encryption` that the
            provider is given, a `ClientSide`, counts in its place.
        older_wrapping_keys: Those that objects may still have, separated by commas; new ones get
            `wrapping_key`. See `rotate_keys`.
        store_id: Permanent name that every object is bound to; needed with `wrapping_key`, and described at
            `ClientSide`.
        content_type: Default of the option.
        cache_control: Default of the option.
        max_retrieve_size: Maximum number of plain bytes that `retrieve` returns; larger objects have to be
            streamed.
        read_only: Refuse whatever would change the store, before any request (`StorageReadOnlyError`),
            whatever the credentials may do.
        dedup: Store equal bodies of 4 KiB and more once; see `credstore.collect`. A store that has been used
            so has to be opened so. What is encrypted by the client is never equal.
        cache: Directory of this machine in which what was read is kept, and from which it is served while the
            store confirms that it is current; several stores and processes may share it. None for no cache.
        cache_size: Bytes that everything in the directory may have together.
        cache_max_age: Seconds for which an object counts as current once the store has confirmed it; 0 asks
            the store at each read.
    """

    provider: ClassVar[str] = ""
    roles: ClassVar[Mapping[str, Role]] = {
        "bucket": "name",
        "path": "name",
        "name": "name",
        "prefix": "place",
        "cdn_url": "place",
        "public_url": "place",
        "link_url": "place",
        "endpoint": "origin",
        "timeout": "tuning",
        "max_retries": "tuning",
        "compress": "tuning",
        "dictionary": "tuning",
        "wrapping_key": "tuning",
        "older_wrapping_keys": "tuning",
        "store_id": "tuning",
        "content_type": "tuning",
        "cache_control": "tuning",
        "max_retrieve_size": "tuning",
        "read_only": "tuning",
        "cache": "tuning",
        "cache_size": "tuning",
        "cache_max_age": "tuning",
    }
    """Roles of the fields that have one; a config class adds its own."""
    needed_beside: ClassVar[Mapping[str, str]] = {}
    """For each key, the other one that it is useless without."""
    server_in_url: ClassVar[bool] = False
    """Whether a store URL names the server (`minio://host:9000/bucket`), so that it may contain
    `http=true`."""
    prefix: str = ""
    cdn_url: str | None = None
    timeout: float = 30.0
    max_retries: int = 3
    compress: bool | Codec = False
    dictionary: str | None = None
    encryption: bool | Literal["AES256"] | KmsKey | CustomerKey | None = None
    wrapping_key: str | os.PathLike[str] | None = None
    older_wrapping_keys: str = ""
    store_id: str | None = None
    content_type: str = "application/json"
    cache_control: str = "public, max-age=31536000, immutable"
    max_retrieve_size: int = GIB
    read_only: bool = False
    dedup: bool = False
    cache: str | os.PathLike[str] | None = None
    cache_size: int = 10 * GIB
    cache_max_age: float = 0.0

    def __new__(cls, *_: object, **settings: object) -> Self:
        """Refuse a secret in plain text before any frame or repr has it."""
        refuse_plain_secrets(cls, cls.provider, settings)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        held = held_by(type(self))
        for name, alternatives in held.items():
            value: object = getattr(self, name)
            if not fits(alternatives, value):
                what = describe(name, alternatives)
                raise checks.wrong(self.cloud, name, f"must be {what}, not {given(value)}")
        # So that equal stores have equal configs.
        object.__setattr__(self, "prefix", checks.checked_prefix(self.cloud, self.prefix))
        checks.check_range(self.cloud, "timeout", self.timeout, 0.001)
        checks.check_range(self.cloud, "max_retries", self.max_retries, 0)
        checks.check_range(self.cloud, "max_retrieve_size", self.max_retrieve_size, 1)
        if self.cache is not None:
            object.__setattr__(self, "cache", os.fspath(self.cache))
            checks.check_word(self.cloud, "cache", os.fspath(self.cache))
        checks.check_range(self.cloud, "cache_size", self.cache_size, MIB)
        checks.check_range(self.cloud, "cache_max_age", self.cache_max_age, 0)
        if self.dictionary is not None and not _DICTIONARY.fullmatch(self.dictionary):
            raise checks.wrong(self.cloud, "dictionary", "must be 64 lower-case hex digits")
        self._check_wrapping()
        checks.check_header(self.cloud, "content_type", self.content_type)
        checks.check_header(self.cloud, "cache_control", self.cache_control)
        for name in ("cdn_url", "public_url", "download_url", "link_url"):
            if name in held:
                self._check_base(name, getattr(self, name))

    def _check_wrapping(self) -> None:
        key = None if self.wrapping_key is None else os.fspath(self.wrapping_key)
        if key == OFF:
            for name, value in NOT_WRAPPED.items():
                object.__setattr__(self, name, value)
            return
        object.__setattr__(self, "wrapping_key", key)
        checks.check_word(self.cloud, "wrapping_key", key)
        if key is None:
            for name in ("store_id", "older_wrapping_keys"):
                if getattr(self, name):
                    raise checks.wrong(
                        self.cloud, "wrapping_key", f"is missing, and `{name}` is nothing without it"
                    )
        elif self.store_id is None:
            raise checks.wrong(
                self.cloud, "store_id", "is missing; objects are bound to it by `wrapping_key`"
            )
        elif not is_store_id(self.store_id):
            raise checks.wrong(self.cloud, "store_id", "must be 1 to 255 printable ASCII characters")

    def _check_base(self, name: str, url: str | None) -> None:
        if url is not None:
            allow_http: bool | None = getattr(self, "allow_http", None)
            steady = checks.checked_url(self.cloud, name, url, allow_http=allow_http, path=True)
            object.__setattr__(self, name, steady)

    @property
    def cloud(self) -> str:
        """Name of its row in the registry, which has what this class does not know."""
        return self.provider

    @property
    def place(self) -> object:
        """What all configs of one store have in common, however they are tuned, without the prefix."""
        return replace(self, prefix="", read_only=False, dedup=False, cache=None, wrapping_key=OFF)

    @property
    def wrapped_by(self) -> tuple[object, ...]:
        """How objects are encrypted on the client; the same for stores that encrypt alike."""
        return tuple(getattr(self, name) for name in NOT_WRAPPED)

    @property
    def place_is_open(self) -> bool:
        """Whether a profile of the AWS configuration has a say in endpoint, region or addressing."""
        return False

    @property
    def resolved_region(self) -> str | None:
        """The region of the store, where it has one."""
        return None

    @property
    def public_base(self) -> str:
        """Base of the provider's own public URLs, without a CDN and without the prefix."""
        return ""

    @property
    def has_public_address(self) -> bool:
        """Whether public URLs lead to a CDN, and not to the provider's own API or a disk."""
        return self.cdn_url is not None

    @property
    def answers_at(self) -> str | None:
        """Base of temporary links that `serve_links` serves; None where a cloud does."""
        return None

    @property
    def spool_size(self) -> int:
        """Number of bytes up to which a body is kept in memory: what is sent in one request."""
        return SPOOL

    @property
    def is_paced(self) -> bool:
        """Whether transfers wait for each other, so that no transfer has its own time limit."""
        return False

    @classmethod
    def placed(cls, authority: str, path: str) -> dict[str, object] | None:
        """Fields that are in a store URL outside its parameters.

        Args:
            authority: Between `//` and the next slash, decoded.
            path: What follows, decoded, with its slash; without `//` everything up to the `?`.

        Returns:
            The fields by name; None if a URL of this store looks different.
        """
        if not authority:
            return None if path.strip("/") else {}
        if ":" in authority or "bucket" not in held_by(cls):
            return None
        return with_prefix({"bucket": authority}, path)


@dataclass(frozen=True, kw_only=True)
class StatedConfig(CommonConfig):
    """Settings of a store of which it can be stated what it does, contrary to what is known of its kind.

    Attributes:
        capabilities: Names separated by commas, such as "-tags"; one with `-` before it is taken away. Only
            a server that speaks S3 can be granted one so, such as
            "conditional_create,create_by_multipart,-conditional_delete". Names are taken at their word. Or
            `report:PATH`, the file that `credstore check-provider --report` wrote of this very store, or the
            `CapabilityReport` itself: what was seen not to work is taken away, what was seen to work is
            granted. A report counts for 90 days.
        capabilities_trust: Path of a trust store (`keys.json`). A report then counts only if one of its keys
            that is valid now has signed it.
    """

    capabilities: str | CapabilityReport = ""
    capabilities_trust: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.check_word(self.cloud, "capabilities_trust", self.capabilities_trust)
        if self.capabilities_trust is not None and self.report_path is None:
            raise checks.wrong(
                self.cloud, "capabilities_trust", "is set, but `capabilities` is not report:PATH"
            )

    @property
    def report_path(self) -> str | None:
        """The file of the report that `capabilities` names, or None."""
        said = self.capabilities
        if not isinstance(said, str) or not said.startswith(_REPORT):
            return None
        return said.removeprefix(_REPORT)


def with_prefix(placed: dict[str, object], path: str) -> dict[str, object]:
    """The fields, and the prefix that a URL's path names after one slash."""
    prefix = path.removeprefix("/")
    return placed | ({"prefix": prefix} if prefix else {})
