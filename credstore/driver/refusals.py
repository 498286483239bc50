"""What a store cannot do, said in one place: which capability it lacks, and what to do instead.

Rules of this file: every refusal because of a missing capability is a row of this table, whether the provider
notices before it does any work or the driver before it sends anything. A check compares what is asked for
with the `Capabilities` of the store. What cannot work for other reasons (what an object is, how a provider is
set up) is refused by whoever knows the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from credstore.driver.values import (
    Capabilities,
    CopyRequest,
    Precondition,
    PutRequest,
    ReadOptions,
    SignRequest,
)
from credstore.encryption import CustomerKey, KmsKey, ServerEncryption
from credstore.errors import RetentionMode, StorageReadOnlyError, StorageUnsupportedError
from credstore.model import Retention


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that some stores cannot do.

    Attributes:
        cannot: Continues the sentence "<who> cannot".
        instead: What the user can do.
    """

    cannot: str
    instead: str

    def of(self, who: str) -> StorageUnsupportedError:
        """The error to raise.

        Args:
            who: The provider's label, or the name of the cloud's dialect.
        """
        return StorageUnsupportedError(f"{who} cannot {self.cannot}; nothing was sent; {self.instead}")


IF_ABSENT: Final = Lack(
    "create an object only if it is absent (if_absent)",
    "write without the condition, or use a single store with capabilities.conditional_create",
)
IF_MATCH: Final = Lack(
    "replace only one version of an object (if_match)",
    "write without the condition, or use a single store with capabilities.conditional_replace",
)
IN_PARTS: Final = Lack(
    "bind an object that is sent in parts to a condition (if_absent, if_match)",
    "give the length and raise multipart_threshold (up to 5 GiB), or write without the condition",
)
COPY_IF_ABSENT: Final = Lack(
    "copy only if the destination is absent (if_absent)",
    "copy without the condition, or store the bytes again with it",
)
COPY_IF_MATCH: Final = Lack(
    "copy over only one version of the destination (if_match)",
    "copy without the condition, or store the bytes again with it",
)
DELETE_IF_MATCH: Final = Lack(
    "delete only one version of an object (if_match)",
    "look at the object first and delete it without the condition",
)
VERSIONS: Final = Lack("keep versions of an object (version_id)", "leave version_id out")
FOREIGN_VERSIONS: Final = Lack(
    "be trusted with versions of objects", "set the store's own flavor, or remove them with its own tools"
)
RETENTION: Final = Lack("say what keeps a version (retention, legal hold)", "ask it with its own tools")
LEGAL_HOLD: Final = Lack(
    "put an object under legal hold (legal_hold, hold, release)",
    "leave it out, or use a store with capabilities.legal_holds",
)
LIST_VERSIONS: Final = Lack(
    "list the versions of objects", "use list and batch_delete, or a store that keeps versions"
)
TAGS: Final = Lack("keep object tags (tags)", "put them into metadata")
AES256: Final = Lack(
    "be asked to encrypt at rest (AES256)",
    "use encryption=False, or encrypt before it is sent with ClientSide(...)",
)
KEY_SERVICE: Final = Lack(
    "encrypt with a key service (KmsKey, SSE-KMS)",
    "use encryption=True where it has that, or encrypt before it is sent with ClientSide(...)",
)
CUSTOMER_KEYS: Final = Lack(
    "encrypt with a customer-provided key (CustomerKey, SSE-C)",
    "encrypt before it is sent with ClientSide(...)",
)
NAMELESS_KEY: Final = Lack(
    "encrypt with a key of its key service that has no name (KmsKey())", "name it: KmsKey(key_id)"
)
RESUME: Final = Lack("continue an upload (resume)", "store the object without resume")
OVERRIDES: Final = Lack(
    "impose response headers on a link of this kind", "store the object with these headers"
)
UPLOAD_FORMS: Final = Lack(
    "make a form that binds size and type of an upload",
    "make a PUT link and look at what arrived, or use a single store with capabilities.upload_forms",
)
FORM_PAYS: Final = Lack(
    "say in a form that the requester pays", "make a PUT link, or open the store without requester_pays"
)
FORM_MD5: Final = Lack("check an MD5 in a form", "leave out content_md5; size and type are checked")
FORM_KEYS: Final = Lack(
    "name a key of its key service in a form",
    "make it the default key of the bucket, and use encryption=False",
)
ACLS: Final = Lack("set ACLs of objects (acl)", "leave acl out, and grant access to the bucket")
OBJECT_LOCK: Final = Lack(
    "lock objects (object_lock_mode, legal_hold)", "leave the lock out, or use a store that has it"
)
SHARED_BODIES: Final = Lack(
    "say when nothing is left of an object, since its body may be shared",
    "delete it, and call collect, which removes the body a grace after nothing else needs it",
)
COLLECT: Final = Lack("collect bodies that objects share", "open it with dedup=True, if it has been used so")
REPLICAS: Final = Lack(
    "put a replica under a condition", "scrub with exclusive=True while no one else writes"
)
REBALANCED: Final = Lack(
    "move an object under conditions", "rebalance with exclusive=True while no one else writes"
)
OPTIONS: Final = Lack("take driver_options", "leave out what is given there under its name")


def no_storage_class(storage_class: str, known: Iterable[str]) -> Lack:
    """A storage class that a store does not have."""
    choices = ", ".join(sorted(known))
    instead = f"choose one of {choices}" if choices else "leave storage_class out, there is only one"
    return Lack(f"store as {storage_class!r} (storage_class)", instead)


def no_retention(mode: str, able: Iterable[str]) -> Lack:
    """A kind of retention that a store does not have."""
    choices = ", ".join(sorted(able))
    instead = (
        f"it has {choices}" if choices else "leave it out, or use a store with capabilities.retention_modes"
    )
    return Lack(f"retain objects in the mode {mode!r} (retain_until, retain)", instead)


TAGS_OF_SOURCE: Final = Lack(
    "give an encrypted copy the tags of its source",
    "remove the tags from the source, or name the kind of server if it is one that has tags",
)


def no_encryption_of_source(kind: str) -> Lack:
    """A copy that would have to be encrypted in the same way as its source."""
    return Lack(f"encrypt a copy as its source is ({kind})", "give the encryption of the copy")


def no_link(method: str, able: Iterable[str]) -> Lack:
    """An HTTP method that a store makes no links for."""
    choices = ", ".join(sorted(able))
    instead = (
        f"it makes links for {choices}"
        if choices
        else "local and memory stores and every cloud make some, Azure with a key or Entra ID"
    )
    return Lack(f"make a temporary link for {method}", instead)


def read_only(who: str) -> StorageReadOnlyError:
    """The error for whatever would change a store that was opened to be read.

    Args:
        who: The provider's label, or that of a strategy's member.
    """
    return StorageReadOnlyError(
        f"{who} was opened with read_only=True, so nothing in it may be changed; nothing was sent; open it "
        "without read_only to write"
    )


def check_writable(able: Capabilities, who: str) -> None:
    """Refuse to change anything in a store that was opened to be read.

    Raises:
        StorageReadOnlyError: It was.
    """
    if not able.writable:
        raise read_only(who)


def check_condition(precondition: Precondition, able: Capabilities, who: str) -> None:
    """Refuse the condition of a write that would be ignored.

    Raises:
        StorageUnsupportedError: The store does not support conditions of this kind.
    """
    if precondition.mode == "create" and not able.conditional_create:
        raise IF_ABSENT.of(who)
    if precondition.mode == "replace" and not able.conditional_replace:
        raise IF_MATCH.of(who)


def check_encryption(encryption: ServerEncryption | None, able: Capabilities, who: str) -> None:
    """Refuse encryption at rest of a kind that a store does not have.

    Raises:
        StorageUnsupportedError: The store lacks this kind. AES256 is accepted where everything is encrypted
            anyway.
    """
    if encryption is None:
        return
    if isinstance(encryption, CustomerKey):
        if not able.sse_c:
            raise CUSTOMER_KEYS.of(who)
    elif isinstance(encryption, KmsKey):
        if not able.sse_kms:
            raise KEY_SERVICE.of(who)
    elif not (able.sse_s3 or able.sse_s3_implied):
        raise AES256.of(who)


def check_storage_class(storage_class: str | None, able: Capabilities, who: str) -> None:
    """Refuse a storage class that a store does not have.

    Raises:
        StorageUnsupportedError: The store lacks this class; the message names those it has.
    """
    if storage_class is not None and storage_class not in able.storage_classes:
        raise no_storage_class(storage_class, able.storage_classes).of(who)


def check_tags(tags: Mapping[str, str], able: Capabilities, who: str) -> None:
    """Refuse tags where there are none.

    Raises:
        StorageUnsupportedError: The store has no tags.
    """
    if tags and not able.tags:
        raise TAGS.of(who)


def check_version(version_id: str | None, able: Capabilities, who: str) -> None:
    """Refuse to name a version where none are kept.

    Raises:
        StorageUnsupportedError: The store keeps no versions.
    """
    if version_id is not None and not able.versions:
        raise VERSIONS.of(who)


def check_retention_mode(mode: RetentionMode, able: Capabilities, who: str) -> None:
    """Refuse retention of a kind that a store does not have.

    Raises:
        StorageUnsupportedError: The store lacks this kind, or has none.
    """
    if mode not in able.retention_modes:
        raise no_retention(mode, able.retention_modes).of(who)


def check_legal_holds(able: Capabilities, who: str) -> None:
    """Refuse a legal hold, or its release, where there is none.

    Raises:
        StorageUnsupportedError: The store has no legal holds.
    """
    if not able.legal_holds:
        raise LEGAL_HOLD.of(who)


def check_retention(retention: Retention | None, able: Capabilities, who: str) -> None:
    """Refuse a write under retention or legal hold where that would be ignored.

    Raises:
        StorageUnsupportedError: The store has no retention of this kind, or no legal holds.
    """
    if retention is None:
        return
    if retention.mode is not None:
        check_retention_mode(retention.mode, able, who)
    if retention.legal_hold:
        check_legal_holds(able, who)


def check_put(request: PutRequest, able: Capabilities, who: str) -> None:
    """Refuse a write that has an option the store would ignore.

    Args:
        request: The write; its `driver_options` are the driver's to check.
        able: Of the driver.
        who: Its name.

    Raises:
        StorageUnsupportedError: The first thing that the store cannot do.
    """
    check_condition(request.precondition, able, who)
    if request.encryption is not None:
        check_encryption(request.encryption, able, who)
    if request.storage_class is not None:
        check_storage_class(request.storage_class, able, who)
    if request.tags:
        check_tags(request.tags, able, who)
    if request.retention is not None:
        check_retention(request.retention, able, who)


def check_read(options: ReadOptions, able: Capabilities, who: str) -> None:
    """Refuse a read that has an option the store would ignore.

    Raises:
        StorageUnsupportedError: A version or a customer-provided key where the store has no such thing.
    """
    if options.version_id is not None:
        check_version(options.version_id, able, who)
    if options.customer_key is not None:
        check_encryption(options.customer_key, able, who)


def check_delete(if_match: str | None, version_id: str | None, able: Capabilities, who: str) -> None:
    """Refuse a delete whose condition would be ignored.

    Raises:
        StorageUnsupportedError: A condition or a version where the store has no such thing.
    """
    if if_match is not None and not able.conditional_delete:
        raise DELETE_IF_MATCH.of(who)
    check_version(version_id, able, who)


def check_copy(request: CopyRequest, able: Capabilities, who: str) -> None:
    """Refuse a copy that has an option the store would ignore.

    Raises:
        StorageUnsupportedError: The first thing that the store cannot do.
    """
    check_condition(request.precondition, able, who)
    check_encryption(request.encryption, able, who)
    check_encryption(request.source_customer_key, able, who)
    check_version(request.source.version_id, able, who)
    check_retention(request.retention, able, who)


def check_sign(request: SignRequest, able: Capabilities, who: str) -> None:
    """Refuse a link that a store cannot make.

    Raises:
        StorageUnsupportedError: It cannot make links with this method, response headers or a version.
    """
    if request.method not in able.presign:
        raise no_link(request.method, able.presign).of(who)
    if request.overrides and (not able.response_overrides or request.method not in {"GET", "HEAD"}):
        raise OVERRIDES.of(who)
    check_version(request.version_id, able, who)
