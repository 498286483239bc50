"""The options of a write that do not depend on its data, checked.

Rules of this file: nothing is sent, and the data is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from credstore.driver.refusals import check_condition, check_storage_class
from credstore.driver.values import CREATE, OVERWRITE, Capabilities, Precondition
from credstore.encryption import ClientSide, ServerEncryption
from credstore.errors import StorageInvalidRequestError
from credstore.model import NOTHING, UNSET, Codec, Retention, StoreOptions
from credstore.pipeline.pipeline import CODECS
from credstore.provider.retaining import lock_of
from credstore.provider.session import Session
from credstore.provider.validation import (
    check_flag,
    check_header,
    checked_etag,
    checked_metadata,
    checked_tags,
)


class Terms(NamedTuple):
    """The checked options that do not depend on the data; the fields are those of `PutRequest`."""

    metadata: Mapping[str, str]
    precondition: Precondition
    encryption: ServerEncryption | None
    encryption_by_default: bool
    storage_class: str | None
    tags: Mapping[str, str]
    retention: Retention | None


def chosen_codec(compress: object) -> Codec | None:
    """The codec for a `compress` option.

    Raises:
        StorageInvalidRequestError: It is neither a bool nor the name of a codec.
    """
    if compress is False or compress is None:
        return None
    if compress is True:
        return "gzip"
    for codec in CODECS:
        if compress == codec:
            return codec
    raise StorageInvalidRequestError(
        f"compress is True, False or one of {', '.join(CODECS)}, not {compress!r}"
    )


def precondition_of(
    capabilities: Capabilities, who: str, *, if_absent: bool = False, if_match: object = UNSET
) -> Precondition:
    """The condition of a write.

    Raises:
        StorageInvalidRequestError: Both conditions are given, or one is invalid.
        StorageUnsupportedError: The provider would ignore the condition or refuse it.
    """
    check_flag("if_absent", if_absent)
    etag = checked_etag(if_match)
    if if_absent and etag is not None:
        raise StorageInvalidRequestError("if_absent and if_match contradict each other; give one")
    if not if_absent and etag is None:
        return OVERWRITE
    condition = CREATE if if_absent else Precondition("replace", etag)
    check_condition(condition, capabilities, who)
    return condition


def terms_of(options: StoreOptions, session: Session) -> Terms:
    """The checked options.

    Raises:
        StorageInvalidRequestError: One is wrong.
        StorageUnsupportedError: The provider cannot honour one.
    """
    capabilities, who = session.capabilities, session.name
    for name in ("content_type", "cache_control", "content_disposition", "content_language"):
        if name in options:
            check_header(name, options.get(name))
    storage_class = options.get("storage_class")
    if storage_class is not None:
        check_header("storage_class", storage_class)
        check_storage_class(storage_class, capabilities, who)
    at_rest = _at_rest(options)
    return Terms(
        checked_metadata(options.get("metadata", NOTHING), capabilities.max_metadata_size),
        precondition_of(
            capabilities,
            who,
            if_absent=options.get("if_absent", False),
            if_match=options.get("if_match", UNSET),
        ),
        session.at_rest(at_rest),
        at_rest is None and session.config.encryption is None,
        storage_class,
        checked_tags(options.get("tags", NOTHING), capabilities, who),
        lock_of(options, session),
    )


def _at_rest(options: StoreOptions) -> bool | ServerEncryption | None:
    asked = options.get("encryption")
    return None if isinstance(asked, ClientSide) else asked
