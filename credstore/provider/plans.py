"""Plain writes: bytes in memory, stored as they are or encrypted, with options that many writes share.

Rules of this file: options are checked once for each set of them, and what they come to is kept; `write.py`
plans and checks every other write. Nothing is kept that holds a secret or that its owner could change.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from typing import Any

from credstore.driver.values import BytesBody, Capabilities, ContentHeaders, PutRequest
from credstore.encryption import ClientSide, CustomerKey
from credstore.errors import ErrorCode, StorageInvalidRequestError
from credstore.hashing import LOOP_BUDGET
from credstore.model import NOTHING, StoreOptions
from credstore.pipeline.pipeline import Marks, sealed_marks
from credstore.provider.encryption import INLINE, sealed_bytes
from credstore.provider.session import SLOWEST, Plan, Session, deadline_for
from credstore.provider.terms import chosen_codec, terms_of
from credstore.provider.validation import check_options, checked_metadata
from credstore.quick import made

_SHARED = frozenset(
    {
        "cache_control",
        "compress",
        "content_disposition",
        "content_language",
        "content_type",
        "encryption",
        "if_absent",
        "storage_class",
    }
)
"""Options that decide what is kept, where their values are immutable."""
OWN = frozenset({"metadata", "progress", "timeout"})
"""Options that each write may have for itself."""
_IMMUTABLE = frozenset({str, bool, type(None)})
_SEALED = object()
_MOST = 64
_NONE: StoreOptions = {}


def plain_write(
    key: str, body: BytesBody, options: StoreOptions, session: Session
) -> tuple[PutRequest, str] | None:
    """The request of a plain write, and the content type of its bytes; None for a write of another kind.

    Args:
        key: Of the object.
        body: The bytes.
        options: What the caller passed in.
        session: Of the store.

    Raises:
        StorageInvalidRequestError: An option is wrong, or the object is too large.
        StorageUnsupportedError: The provider cannot honour an option.
    """
    if session.policy is not None or len(body.data) > LOOP_BUDGET:
        return None
    plan = _plan_of(options, session)
    if plan is None:
        return None
    return plain_request(plan, key, body, options), plan.content_type


async def sealed_write(
    key: str, body: BytesBody, options: StoreOptions, session: Session
) -> tuple[PutRequest, str] | None:
    """The same of a write that is encrypted here, and nothing else.

    Raises:
        StorageInvalidRequestError: An option is wrong, or the object is too large.
        StorageUnsupportedError: The provider cannot honour an option.
        StorageError: The key ring could not give a key.
    """
    asked = options.get("encryption")
    policy = session.policy_of(asked, options.get("timeout"))
    if policy is None or len(body.data) > INLINE:
        return None
    options = options.copy()
    if asked is not None and isinstance(asked, ClientSide):
        del options["encryption"]
    plan = _plan_of(options, session, sealed=True)
    if plan is None:
        return None
    if "metadata" in options:  # Before there is a key that nothing needs, and the caller can change it.
        options["metadata"] = checked_metadata(options["metadata"], plan.able.max_metadata_size)
    write_id = os.urandom(16).hex()
    sealed = await sealed_bytes(policy, body.data, (key, write_id), None, len(body.data))
    return plain_request(plan, key, BytesBody(sealed), options, write_id), plan.content_type


def plain_request(
    plan: Plan, key: str, body: BytesBody, options: StoreOptions = _NONE, write_id: str | None = None
) -> PutRequest:
    """The request of a plain write.

    Args:
        plan: Of its options.
        key: Of the object.
        body: The bytes to store.
        options: Those that each write may have for itself are taken from these.
        write_id: The one that the bytes were encrypted with.

    Raises:
        StorageInvalidRequestError: One of those is wrong, or the object is too large.
    """
    data = body.data
    size = len(data)
    limit = plan.able.max_object_size
    if limit is not None and size > limit:
        raise too_large(size, limit)
    fields = {
        **plan.fields,
        "key": key,
        "body": body,
        "write_id": write_id or os.urandom(16).hex(),
        "digest": hashlib.sha256(data).digest(),
    }
    timeout = plan.timeout
    if options:
        metadata = options.get("metadata")
        if metadata:
            fields["metadata"] = checked_metadata(metadata, plan.able.max_metadata_size)
        if "progress" in options:
            fields["progress"] = options["progress"]
        if "timeout" in options:
            deadline_for(options["timeout"])  # It is more than 0.
            timeout = None if timeout is None else options["timeout"]
    if timeout is not None:
        fields["deadline"] = time.monotonic() + timeout + size / SLOWEST
    return made(PutRequest, fields)


def shared_of(options: StoreOptions) -> tuple[object, ...] | None:
    """What the plan of these options is kept under; None where a write with them is not a plain one."""
    shared: tuple[object, ...] = ()
    given: Mapping[str, object] = options
    for name, value in given.items():
        if name in _SHARED and type(value) in _IMMUTABLE:
            shared += (name, value)
        elif name not in OWN:
            return None
    return shared


def _plan_of(options: StoreOptions, session: Session, *, sealed: bool = False) -> Plan | None:
    """What is kept for these options, made where it is missing; None where no plan fits the write."""
    shared = shared_of(options)
    if shared is None:
        return None
    if sealed:
        shared = (_SEALED, *shared)  # Never what is kept for a write that is stored as it is.
    check_options(options)
    able = session.capabilities
    plan = session.plans.get(shared)
    if plan is None or plan.able is not able:
        plan = _made(options, session, able, sealed=sealed)
        if plan is not None:
            if len(session.plans) >= _MOST:
                session.plans.clear()
            session.plans[shared] = plan
    return plan


def _made(options: StoreOptions, session: Session, able: Capabilities, *, sealed: bool) -> Plan | None:
    config = session.config
    if chosen_codec(options.get("compress", config.compress)) is not None:
        return None
    terms = terms_of({**options, "metadata": NOTHING}, session)
    if isinstance(terms.encryption, CustomerKey):
        return None
    deadline_for(config.timeout)
    content_type = options.get("content_type", config.content_type)
    marked = sealed_marks(content_type) if sealed else Marks(content_type)
    fields: dict[str, Any] = {
        "headers": ContentHeaders(
            content_type=marked.content_type,
            cache_control=options.get("cache_control", config.cache_control),
            content_disposition=options.get("content_disposition"),
            content_language=options.get("content_language"),
        ),
        "system": marked.system,
        "precondition": terms.precondition,
        "encryption": terms.encryption,
        "encryption_by_default": terms.encryption_by_default,
        "storage_class": terms.storage_class,
    }
    return Plan(able, fields, content_type, None if config.is_paced else config.timeout)


def too_large(size: int, limit: int) -> StorageInvalidRequestError:
    """The error of an object of `size` bytes at a provider that keeps at most `limit`."""
    return StorageInvalidRequestError(
        f"the object has {size} bytes; this provider keeps at most {limit}", code=ErrorCode.TOO_LARGE
    )
