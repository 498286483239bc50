"""What users may ask for, checked before anything is sent. Pure.

Keys are checked by their UTF-8 bytes, as every provider counts them. A segment `.` or `..` is
refused although some providers store it: browsers, CDNs and proxies rewrite such URLs, so a link to it leads
elsewhere. credstore's own keys are refused here for all verbs, so that nothing else has to know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import cast

from credstore.config.validation import FORBIDDEN
from credstore.driver.internal import SEGMENT, is_internal, is_internal_prefix
from credstore.driver.refusals import check_encryption, check_tags
from credstore.driver.values import Capabilities, is_system_name
from credstore.encryption import CustomerKey, KmsKey, ServerEncryption, kind_of
from credstore.errors import (
    ErrorCode,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
)
from credstore.model import UNSET, StoreOptions

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
MAX_TAGS = 10
MAX_TAG_NAME = 128
MAX_TAG_VALUE = 256
OPTION_NAMES = frozenset(StoreOptions.__annotations__)


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_callback(value: object) -> bool:
    return value is None or callable(value)


def is_number(value: object) -> bool:
    """Whether it can be compared with a duration, unlike a bool or text."""
    return isinstance(value, int | float) and not isinstance(value, bool)


_KINDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "metadata": (_is_mapping, "a mapping of names to texts"),
    "tags": (_is_mapping, "a mapping of names to texts"),
    "driver_options": (_is_mapping, "a mapping from a driver's name to its options"),
    "timeout": (is_number, "a number of seconds"),
    "progress": (_is_callback, "a function of two numbers, or None"),
}
"""What an option's value must be, where nothing else checks it; callers may not use type checking."""


def check_key(key: str, max_size: int = 1024) -> None:
    """Refuse what cannot name an object.

    Raises:
        StorageInvalidKeyError: Not text, empty, too long in UTF-8, with control characters, lone surrogates
            or non-characters, with a segment `.` or `..`, or credstore's own (code "RESERVED_KEY").
    """
    if (
        type(key) is str
        and 0 < len(key) <= max_size
        and key.isascii()
        and key.isprintable()
        and key[0] != "."
        and "/." not in key
    ):
        return  # As nearly all are.
    if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise StorageInvalidKeyError(f"a key is text (str), not {type(key).__name__}")
    if not key:
        raise StorageInvalidKeyError("a key has at least one character; this one is empty", key=key)
    _check_text(key, max_size)
    if "." in key:
        if "/./" in (segments := f"/{key}/") or "/../" in segments:
            raise StorageInvalidKeyError(
                "a key has no segment '.' or '..': browsers and proxies would rewrite links to it", key=key
            )
        if SEGMENT in key and is_internal(key):  # The first test is cheaper than a call.
            raise _reserved(key)


def check_progress(progress: object) -> None:
    """Refuse what cannot be called.

    Raises:
        StorageInvalidRequestError: It is neither None nor callable.
    """
    if not _is_callback(progress):
        raise StorageInvalidRequestError("progress is a function of two numbers")


def check_reading(max_size: object, decode: object, progress: object) -> None:
    """Refuse wrong arguments of a read of all bytes.

    Raises:
        StorageInvalidRequestError: `max_size` is not a number of bytes or None, `decode` neither True nor
            False, or `progress` neither None nor callable.
    """
    if max_size is not None:
        check_count("max_size", max_size)
    if decode is not True:
        check_flag("decode", decode)
    if progress is not None:
        check_progress(progress)


def check_prefix(prefix: str, max_size: int = 1024) -> None:
    """Refuse a prefix that no key can start with.

    Raises:
        StorageInvalidKeyError: Not text, too long in UTF-8, with forbidden characters, or all keys that start
            with it are credstore's own (code "RESERVED_KEY").
    """
    if not isinstance(prefix, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise StorageInvalidKeyError(f"a prefix is text (str), not {type(prefix).__name__}")
    _check_text(prefix, max_size)
    if is_internal_prefix(prefix):
        raise _reserved(prefix)


def check_start_after(start_after: str, max_size: int = 1024) -> None:
    """Refuse a text that no name can come after; it may be among credstore's own keys.

    Raises:
        StorageInvalidKeyError: Not text, too long in UTF-8, or with forbidden characters.
    """
    if not isinstance(start_after, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise StorageInvalidKeyError(f"start_after is text (str), not {type(start_after).__name__}")
    _check_text(start_after, max_size)


def _check_text(key: str, max_size: int) -> None:
    if not _is_plain(key) and (found := FORBIDDEN.search(key)):
        raise StorageInvalidKeyError(
            f"a key has no control characters, surrogates or non-characters; this one has "
            f"U+{ord(found[0]):04X} at position {found.start()}",
            key=key.encode("utf-8", "backslashreplace").decode("ascii", "backslashreplace"),
        )
    if len(key) * 4 > max_size and len(key.encode()) > max_size:
        raise StorageInvalidKeyError(
            f"a key has at most {max_size} bytes of UTF-8; this one has {len(key.encode())}",
            key=key[:64] + "…",
        )


def check_delimiter(delimiter: object) -> None:
    """Refuse a delimiter that cannot occur in keys.

    Raises:
        StorageInvalidRequestError: Not text, empty, or with characters that no key has.
    """
    if not isinstance(delimiter, str):
        raise StorageInvalidRequestError(f"a delimiter is text (str), not {type(delimiter).__name__}")
    if not delimiter:
        raise StorageInvalidRequestError("a delimiter is not empty; leave it out to list all keys")
    if FORBIDDEN.search(delimiter):
        raise StorageInvalidRequestError(
            "a delimiter has no control characters, surrogates or non-characters"
        )


def _reserved(key: str) -> StorageInvalidKeyError:
    return StorageInvalidKeyError(
        f"the segment {SEGMENT!r} belongs to credstore, which keeps objects that others need below it, such "
        f"as wrapped keys and dictionaries; choose another name",
        code=ErrorCode.RESERVED_KEY,
        key=key,
    )


def check_count(name: str, value: object) -> None:
    """Refuse what is not a number of bytes or objects.

    Raises:
        StorageInvalidRequestError: Not a whole number, or below 0.
    """
    if type(value) is not int and (not isinstance(value, int) or isinstance(value, bool)):
        raise StorageInvalidRequestError(f"{name} is a whole number, not {type(value).__name__}")
    if value < 0:
        raise StorageInvalidRequestError(f"{name} is 0 or more, not {value}")


MOST_PARALLEL = 64
"""Requests at once of one listing."""


def check_parallel(parallel: int, *, max_keys: int | None = None, delimiter: str | None = None) -> None:
    """Refuse a number of requests at once that a listing cannot have.

    Raises:
        StorageInvalidRequestError: Not 1 to `MOST_PARALLEL`; or more than 1, but not all keys are wanted.
    """
    check_count("parallel", parallel)
    if not 1 <= parallel <= MOST_PARALLEL:
        raise StorageInvalidRequestError(f"parallel is 1 to {MOST_PARALLEL}, not {parallel}")
    if parallel > 1 and (max_keys is not None or delimiter is not None):
        raise StorageInvalidRequestError(
            "parallel is for all keys under a prefix; leave out max_keys and delimiter, or parallel"
        )


def check_flag(name: str, value: object) -> None:
    """Refuse anything but True and False.

    Raises:
        StorageInvalidRequestError: It is anything else, whatever its truth value.
    """
    if not isinstance(value, bool):
        raise StorageInvalidRequestError(f"{name} is True or False, not {type(value).__name__}")


def checked_etag(if_match: object) -> str | None:
    """The etag without quotes, or None for `UNSET`.

    Raises:
        StorageInvalidRequestError: It is empty, or not text that can be sent in a header; a weak etag, which
            names no exact version; or None, which is an unknown etag, not the absence of a condition.
    """
    if if_match is UNSET:
        return None
    if if_match is None:
        raise StorageInvalidRequestError(
            "if_match=None names no version, so anything would be replaced or removed; look the etag up with "
            "get_metadata, or leave if_match out"
        )
    given = check_header("if_match", if_match)
    if given[:2] in {"W/", "w/"}:
        raise StorageInvalidRequestError(
            "if_match is a weak entity tag, which two different versions may have, so it is not a condition "
            "(RFC 9110 §13.1.1); look for what weakens it, such as a proxy that compresses"
        )
    etag = given.strip('"')
    if '"' in etag or not _is_plain(etag):
        raise StorageInvalidRequestError(
            "if_match is one etag of printable ASCII, with or without its quotes"
        )
    if not etag:
        raise StorageInvalidRequestError("if_match is the etag of a version; this one is empty")
    return etag


def checked_version(version_id: object) -> str | None:
    """The id of a version that a change is about, or None for `UNSET`.

    Raises:
        StorageInvalidRequestError: It is None, empty, or not text that can be sent.
    """
    if version_id is UNSET:
        return None
    if version_id is None:
        raise StorageInvalidRequestError(
            "version_id=None names no version, so the current one would be removed; leave it out if you want "
            "that"
        )
    return check_version_id(version_id)


def check_version_id(version_id: object) -> str:
    """The id of a version, refused if it is empty: servers take an empty one to mean the current version.

    Raises:
        StorageInvalidRequestError: It is empty, or not text that can be sent.
    """
    if not check_header("version_id", version_id):
        raise StorageInvalidRequestError("version_id is the id of a version; this one is empty")
    return cast("str", version_id)


def check_options(options: Mapping[str, object]) -> None:
    """Refuse unknown options, suggesting the nearest known one, and values of the wrong type.

    Raises:
        StorageInvalidRequestError: An unknown option, or a value of the wrong type.
    """
    for name, value in options.items():
        if name not in OPTION_NAMES:
            near = get_close_matches(name, OPTION_NAMES, n=1)
            hint = (
                f"; did you mean {near[0]!r}?" if near else f"; options are {', '.join(sorted(OPTION_NAMES))}"
            )
            raise StorageInvalidRequestError(f"store has no option {name!r}{hint}")
        if name in _KINDS:
            fits, words = _KINDS[name]
            if not fits(value):
                raise StorageInvalidRequestError(f"{name} is {words}, not {type(value).__name__}")


def checked_metadata(metadata: Mapping[str, str], max_size: int | None) -> dict[str, str]:
    """The user's metadata with lower-case names.

    Raises:
        StorageInvalidRequestError: A name is not an HTTP token or is credstore's own, a name occurs twice, a
            value is not text or has control characters or surrounding blanks, or there is too much metadata.
    """
    checked: dict[str, str] = {}
    if not metadata:
        return checked
    for raw, value in metadata.items():
        check_token(f"metadata name {raw!r}", raw)
        name = raw.lower()
        if is_system_name(name):
            raise StorageInvalidRequestError(f"metadata name {raw!r} belongs to credstore; choose another")
        if name in checked:
            raise StorageInvalidRequestError(f"metadata name {raw!r} is given twice (names ignore case)")
        check_header(f"metadata value of {raw!r}", value)
        checked[name] = value
    size = sum(len(name) + len(value.encode()) for name, value in checked.items())
    if max_size is not None and size > max_size:
        raise StorageInvalidRequestError(
            f"metadata has {size} bytes; this provider keeps at most {max_size}",
            code=ErrorCode.METADATA_TOO_LARGE,
        )
    return checked


def _is_plain(text: str) -> bool:
    """Whether it is all printable ASCII, as most keys and headers are: cheaper than searching it."""
    return text.isascii() and text.isprintable()


def check_token(what: str, name: object) -> None:
    """Refuse what cannot be the name of a header.

    Raises:
        StorageInvalidRequestError: It is not an HTTP token.
    """
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise StorageInvalidRequestError(f"{what} is not an HTTP token (RFC 9110 §5.6.2)")


def check_header(what: str, value: object) -> str:
    """The text, refused if it cannot be sent in a header.

    Raises:
        StorageInvalidRequestError: It is not text, or has control characters, lone surrogates, or blanks at
            its ends, which HTTP would drop.
    """
    if not isinstance(value, str):
        raise StorageInvalidRequestError(f"{what} is text (str), not {type(value).__name__}")
    if not _is_plain(value) and FORBIDDEN.search(value):
        raise StorageInvalidRequestError(f"{what} has a control character or surrogate")
    if value and (value[0] in " \t" or value[-1] in " \t"):
        raise StorageInvalidRequestError(f"{what} has blanks at its ends, which HTTP does not keep")
    return value


def checked_tags(tags: Mapping[str, str], capabilities: Capabilities, who: str) -> dict[str, str]:
    """The tags, if this provider has tags.

    Raises:
        StorageUnsupportedError: The provider has no tags.
        StorageInvalidRequestError: There are more than 10, or a name or value is too long.
    """
    if not tags:
        return {}
    check_tags(tags, capabilities, who)
    if len(tags) > MAX_TAGS:
        raise StorageInvalidRequestError(f"an object has at most {MAX_TAGS} tags, not {len(tags)}")
    for name, value in tags.items():
        check_header(f"tag name {name!r}", name)
        check_header(f"value of tag {name!r}", value)
        if not 1 <= len(name) <= MAX_TAG_NAME or len(value) > MAX_TAG_VALUE:
            raise StorageInvalidRequestError(
                f"tag {name!r}: names have 1 to {MAX_TAG_NAME} characters, values at most {MAX_TAG_VALUE}"
            )
    return dict(tags)


def chosen_encryption(
    asked: bool | ServerEncryption | None,  # noqa: FBT001 - the public option's own type
    default: bool | ServerEncryption | None,  # noqa: FBT001
    capabilities: Capabilities,
    who: str,
) -> ServerEncryption | None:
    """What to ask the provider for.

    Args:
        asked: The call's option, or None if it was not given.
        default: The configured one; None means AES256 where the provider has the header.
        capabilities: Of the provider.
        who: Its label.

    Raises:
        StorageUnsupportedError: The provider has no encryption of this kind.
        StorageInvalidRequestError: It is not a known kind.
    """
    chosen = asked if asked is not None else default
    if chosen is None:
        return "AES256" if capabilities.sse_s3 else None
    if chosen is False:
        return None
    if chosen is True or chosen == "AES256":
        check_encryption("AES256", capabilities, who)
        # Where it is implied, the header would be refused: everything is encrypted at rest anyway.
        return "AES256" if capabilities.sse_s3 else None
    if isinstance(chosen, KmsKey | CustomerKey):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        check_encryption(chosen, capabilities, who)
        return chosen
    raise StorageInvalidRequestError(
        "encryption is True, False, 'AES256', a KmsKey or a CustomerKey, not "
        f"{kind_of(cast('object', chosen))}"
    )


def customer_key(asked: bool | ServerEncryption | None, default: object) -> CustomerKey | None:  # noqa: FBT001
    """The customer-provided key a read has to send, or None."""
    chosen = asked if asked is not None else default
    return chosen if isinstance(chosen, CustomerKey) else None
