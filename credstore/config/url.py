"""Stores as URLs: `s3://bucket/prefix?region=eu-west-1`, `minio://host:9000/bucket`, `file:///path`. Pure.

A message never repeats the URL, since it may have a secret where it does not belong.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote

from credstore.config.field_types import fields_with, held_by
from credstore.config.multi import multi_of
from credstore.config.precedence import Environ, family_of, fill, parse_setting
from credstore.config.registry import Cloud, Registry
from credstore.config.settings import CommonConfig
from credstore.config.traceless import traceless
from credstore.config.variables import PREFIX, URL, spoken, variables_of
from credstore.errors import StorageConfigurationError

_SOURCE = "the store URL"
_MAX_SHOWN = 40
_HTTP = "http"
"""The parameter with which a URL that names its server says that it has no TLS."""
_PARAMETER = re.compile(r"[?&#]([A-Za-z-]{2,32})=")
_PLAIN_LINK = "a presigned link to one object, whose signature is a key, and URLs end up in logs; a store is"
_SAS = (
    "with a shared access signature, which is a key, and URLs end up in logs; set what follows the `?` as "
    f"`sas_token` ({spoken(variables_of('azure', 'sas_token'))}), and give the store as az://ACCOUNT/CONTAINER"
)
_SIGNED = (
    ({"sv", "sig"}, _SAS),
    ({"x-amz-signature"}, f"{_PLAIN_LINK} s3://BUCKET, and its keys are set apart"),
    ({"x-goog-signature"}, f"{_PLAIN_LINK} gs://BUCKET, and its keys are set apart"),
)
"""Names of parameters that make a link of a URL, and what it is then."""
_PATH = re.compile(r"\.{0,2}/|~|[A-Za-z]:\\")
"""What looks like a path of this machine."""
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@traceless
def from_url(url: str, environ: Environ, *, registry: Registry | None = None) -> CommonConfig:
    """The config a URL describes.

    `s3://bucket/prefix` and similarly for every cloud; `minio://host:9000/bucket/prefix`, `ceph://…`
    and `custom://…` (with `?http=true` for a server without TLS); `file:///path` or
    `local:relative/path`, the whole path is the root; `memory://name/prefix`. The prefix may be left out.
    Other fields are parameters: `?region=eu-west-1&part_size=16MiB&timeout=10s`, and `?prefix=` too.

    Args:
        url: Percent-encoded where necessary; `+` in a parameter is a space. It never contains keys.
        environ: Where keys and everything the URL does not say come from; see `precedence`.
        registry: The clouds that are known; the built-in ones unless given.

    Raises:
        StorageConfigurationError: The scheme or a parameter is unknown, there is a key in the URL, or the
            config is invalid.
    """
    registry = registry or Registry()
    kind, given = parse_url(url, _SOURCE, registry)
    return fill(kind, given, environ, family_of(environ, registry, url_kind(environ, registry)))


def url_kind(environ: Environ, registry: Registry) -> str | None:
    """Label of the provider of `CREDSTORE_URL`, or None where it is not set or names several.

    Raises:
        StorageConfigurationError: It is not a store URL.
    """
    url = environ.get(URL)
    # What names several stores says nothing about the one that is filled in.
    return parse_url(url, URL, registry)[0].label if url and multi_of(url) is None else None


@traceless
def parse_url(url: str, source: str, registry: Registry) -> tuple[Cloud, dict[str, object]]:
    """The cloud and the fields of a URL.

    Args:
        url: As for `from_url`.
        source: What it was read from, for messages.
        registry: The clouds that are known.

    Raises:
        StorageConfigurationError: As for `from_url`.
    """
    _check_unsigned(url, source)
    url = registry.respelled(url)
    word, colon, rest = url.partition(":")
    if _PATH.match(url):
        raise StorageConfigurationError(
            f"{source} must be a URL such as s3://bucket or file:///path; a folder of this machine is "
            "file:///path, or file:name for one in the working directory"
        )
    if not colon or not url.isprintable() or " " in url:
        path = "; a path of this machine is file:///path, or in Python a Path" if _PATH.match(url) else ""
        raise StorageConfigurationError(f"{source} must be a URL such as s3://bucket or file:///path{path}")
    if word.lower() in {"http", "https"}:
        raise StorageConfigurationError(
            f"{source} must be that of a store, and not an address of the web: s3://bucket, gs://bucket, "
            "az://account/container, or custom://host[:port]/bucket for a server of your own that speaks S3 "
            "(a setting `endpoint` takes an address)"
        )
    kind = registry.find(word, where=f"the scheme of {source}")
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
        names = sorted(fields_with(kind.config_class, "key"))
        hint = f"; set keys in {spoken(variables_of(kind.name, names[0]))}" if names else ""
        raise StorageConfigurationError(f"{source} must not have a user or password{hint}")
    given: dict[str, object] = {}
    for name, text in pairs:
        _add(kind, given, name, text, source)
    for field, value in _placed(kind, _decoded(authority, source), _decoded(slash + path, source), source):
        if field in given:
            raise StorageConfigurationError(f"{source} gives `{field}` twice")
        given[field] = value
    if given.pop(_HTTP, False):
        given["allow_http"] = True
        given["endpoint"] = f"http{str(given.get('endpoint', '')).removeprefix('https')}"
    return kind, given


def _check_unsigned(url: str, source: str) -> None:
    names = {name.lower() for name in _PARAMETER.findall(url)}
    for signed, what in _SIGNED:
        if signed <= names:
            raise StorageConfigurationError(f"{source} must not be one {what}")


def _decoded(text: str, source: str) -> str:
    """The text that percent-encoding stands for; a guess would name a different place."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise StorageConfigurationError(f"{source} must be percent-encoded UTF-8") from None


def _add(kind: Cloud, given: dict[str, object], name: str, text: str, source: str) -> None:
    config = kind.config_class
    keys = fields_with(config, "key")
    if name in keys:
        names = spoken(variables_of(kind.name, name))
        raise StorageConfigurationError(f"{source} must not have `{name}`, URLs end up in logs; set {names}")
    allowed = held_by(config).keys() - keys - kind.preset.keys()
    if config.server_in_url:
        allowed.add(_HTTP)
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
    field = "allow_http" if name == _HTTP else name
    given[name] = parse_setting(kind, field, text, f"`{name}` of {source}")


def _placed(kind: Cloud, authority: str, path: str, source: str) -> Iterable[tuple[str, object]]:
    """Fields that the URL has outside its parameters."""
    placed: dict[str, object] | None = kind.config_class.placed(authority, path)
    if placed is None:
        form = kind.url or f"{kind.name}:?parameter=value"
        raise StorageConfigurationError(f"{source} must look like {form}, with everything else after a `?`")
    return placed.items()


def shown(name: str) -> str:
    """A name somebody wrote, shortened and made safe for a message."""
    return repr(name if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]}…")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name.lower(), known, n=1)
    return f"; did you mean `{near[0]}`?" if near else f"; it knows {', '.join(known)}"
