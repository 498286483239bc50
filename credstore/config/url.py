"""Stores as URLs: `s3://bucket?region=eu-west-1`, `minio://host:9000/bucket`, `file:///path`. Pure.

A message never repeats the URL: it may have a secret where none belongs.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote

from credstore.config.clouds import CommonConfig
from credstore.config.filling import KEYS, Environ, family_of, fill, parse_setting
from credstore.config.holds import held_by
from credstore.config.kinds import Kind, Kinds
from credstore.config.names import PREFIX, URL, spoken, variables_of
from credstore.errors import StorageConfigurationError

_SOURCE = "the store URL"
_MAX_SHOWN = 40
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FORMS = {
    "local": "file:///path",
    "memory": "memory://name",
    "custom": "minio://host:9000/bucket",
}


def from_url(url: str, environ: Environ, *, kinds: Kinds | None = None) -> CommonConfig:
    """The config a URL describes.

    `s3://bucket`, `r2://bucket`, `spaces://bucket`, `wasabi://bucket`, `b2://bucket`;
    `minio://host:9000/bucket`, `ceph://…` and `custom://…` (with `?http=true` for a server without
    TLS); `file:///path` or `local:relative/path`; `memory://name`. Further fields are parameters:
    `?region=eu-west-1&part_size=16MiB&timeout=10s`.

    Args:
        url: Percent-encoded where it must be; `+` in a parameter is a space. It never has keys.
        environ: Where keys and what the URL leaves open come from; see `filling`.
        kinds: Known kinds; the built-in ones unless given.

    Raises:
        StorageConfigurationError: Unknown scheme or parameter, a key in the URL, or the config
            refuses itself.
    """
    kinds = kinds or Kinds()
    kind, given = parse_url(url, _SOURCE, kinds)
    return fill(kind, given, environ, family_of(environ, kinds, url_kind(environ, kinds)))


def url_kind(environ: Environ, kinds: Kinds) -> str | None:
    """Canonical provider of `CREDSTORE_URL`, or None where it is not set.

    Raises:
        StorageConfigurationError: It is no store URL.
    """
    return parse_url(environ[URL], URL, kinds)[0].name if environ.get(URL) else None


def parse_url(url: str, source: str, kinds: Kinds) -> tuple[Kind, dict[str, object]]:
    """Kind and fields of a URL.

    Args:
        url: As for `from_url`.
        source: What it was read from, for messages.
        kinds: Known kinds.

    Raises:
        StorageConfigurationError: As for `from_url`.
    """
    word, colon, rest = url.partition(":")
    if not colon or not url.isprintable() or " " in url:
        raise StorageConfigurationError(f"{source} must be a URL such as s3://bucket or file:///path")
    kind = kinds.find(word, where=f"the scheme of {source}")
    if "#" in url:
        raise StorageConfigurationError(f"{source} must not have a fragment; write # as %23")
    if _STRAY_PERCENT.search(rest):
        raise StorageConfigurationError(f"{source} must be percent-encoded; write % as %25")
    place, _, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict")
    except ValueError:
        raise StorageConfigurationError(f"{source} must have parameters of the form name=value") from None
    authority, slash, path = place[2:].partition("/") if place.startswith("//") else ("", "", place)
    if "@" in authority:
        names = spoken(variables_of(kind.owner({}), "access_key_id"))
        raise StorageConfigurationError(f"{source} must not have a user or password; set keys in {names}")
    given: dict[str, object] = {}
    for name, text in pairs:
        _add(kind, given, name, text, source)
    for field, value in _placed(kind, authority, _decoded(slash + path, source), given, source).items():
        if field in given and field != "allow_http":
            raise StorageConfigurationError(f"{source} gives `{field}` twice")
        given[field] = value
    given.pop("http", None)
    return kind, given


def _decoded(text: str, source: str) -> str:
    """The text that percent-encoding stands for; a guess would name another place."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise StorageConfigurationError(f"{source} must be percent-encoded UTF-8") from None


def _add(kind: Kind, given: dict[str, object], name: str, text: str, source: str) -> None:
    held = held_by(kind.config)
    if name in KEYS - {"profile"}:
        names = spoken(variables_of(kind.owner({}), name))
        raise StorageConfigurationError(f"{source} must not have `{name}`, URLs end up in logs; set {names}")
    allowed = set(held) - KEYS - kind.preset.keys() | ({"profile"} & held.keys())
    if kind.name == "custom":
        allowed.add("http")
    if name not in allowed:
        raise StorageConfigurationError(
            f"{source} has a parameter {shown(name)} that {kind.name} does not know{nearest(name, allowed)}"
        )
    if name in given:
        raise StorageConfigurationError(f"{source} gives `{name}` twice")
    if not text:
        raise StorageConfigurationError(f"{source} has an empty `{name}`")
    if name == "proxy" and "@" in text:
        raise StorageConfigurationError(
            f"{source} must not have a proxy's password, URLs end up in logs; set {PREFIX}PROXY"
        )
    field = "allow_http" if name == "http" else name
    given[name] = parse_setting(kind, field, text, f"`{name}` of {source}")


def _placed(
    kind: Kind, authority: str, path: str, given: dict[str, object], source: str
) -> dict[str, object]:
    """Fields that the URL has outside its parameters."""
    form = StorageConfigurationError(
        f"{source} must look like {_FORMS.get(kind.name, f'{kind.name}://bucket')}, with all else after a `?`"
    )
    if kind.name == "local":
        if authority not in {"", "localhost"}:
            raise form
        return {"path": path} if path else {}
    if kind.name == "memory":
        name = _decoded(authority, source) or path
        if authority and path:
            raise form
        return {"name": name} if name else {}
    if kind.name == "custom":
        bucket = path.strip("/")
        if not authority or "/" in bucket:
            raise form
        http = given.get("http") is True
        placed: dict[str, object] = {"endpoint": f"{'http' if http else 'https'}://{authority}"}
        return placed | ({"allow_http": True} if http else {}) | ({"bucket": bucket} if bucket else {})
    if path.strip("/") or ":" in authority or (authority and "bucket" not in held_by(kind.config)):
        raise form
    return {"bucket": authority} if authority else {}


def shown(name: str) -> str:
    """A name somebody wrote, short and without surprises, for a message."""
    return repr(name if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]}…")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name.lower(), known, n=1)
    return f"; did you mean `{near[0]}`?" if near else f"; it knows {', '.join(known)}"
