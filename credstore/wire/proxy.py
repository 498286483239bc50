"""Which proxy requests to an origin go through, as the environment or a setting says. Pure.

Rules of this file: a proxy's URL may contain a password, so it is a `Secret` from the moment it is read, no
function that raises has it in a local variable, and no message repeats any of it. The rules are fixed when
they are made; a URL is parsed when an origin needs it, so that a bad one that is never needed does no harm.

Source: Python's `urllib.request.getproxies_environment` and `proxy_bypass_environment`, whose rules apply
here too; curl and Go's `httpproxy` for ALL_PROXY, networks in NO_PROXY, and a scheme's default port; RFC 7617
for the password.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

from credstore.encryption import Secret
from credstore.errors import ErrorCode, StorageConfigurationError

FROM_ENVIRONMENT = "env"
OFF = "off"
_PORTS = {"http": 80, "https": 443}
_BETWEEN = re.compile(r"[,\s]+")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xff]")
_FORM = "must be http://[user:password@]host:port, with user and password percent-encoded"
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Proxy:
    """One HTTP proxy.

    Attributes:
        host: Its name or address, IPv6 without brackets.
        port: Its port.
        authorization: Value of the header Proxy-Authorization, or None.
    """

    host: str
    port: int
    authorization: Secret | None

    @property
    def name(self) -> str:
        """Its URL without user and password, for messages."""
        return f"http://{authority(self.host, self.port)}"

    @property
    def stays_here(self) -> bool:
        """Whether it is on this machine, so that what it is sent does not cross a network."""
        address = _address(self.host)
        name = f".{self.host.rstrip('.')}"
        return name.endswith(".localhost") if address is None else address.is_loopback


def authority(host: str, port: int) -> str:
    """`host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_proxy(url: Secret, source: str, *, bare: bool = False) -> Proxy:
    """The proxy that a URL names; without a port, port 80 is used.

    Args:
        url: `http://[user:password@]host[:port]`.
        source: What it was read from, for the start of the message.
        bare: Whether `host:port` will do for http, as it does in the environment's variables.

    Raises:
        StorageConfigurationError: It does not name an HTTP proxy.
    """
    found = _parsed(url, bare=bare)
    if isinstance(found, str):
        raise StorageConfigurationError(f"{source} {found}", code=ErrorCode.PROXY_UNUSABLE)
    return found


def is_word(setting: Secret) -> str | None:
    """The word that a setting has instead of a URL, "env" or "off", or None."""
    return next((word for word in (FROM_ENVIRONMENT, OFF) if setting.reveal().lower() == word), None)


def has_password(url: Secret) -> bool:
    """Whether a proxy's URL contains a user or password."""
    return "@" in url.reveal()


def _parsed(url: Secret, *, bare: bool) -> Proxy | str:
    """The proxy, or why there is none."""
    text = url.reveal()
    if "://" not in text:
        if not bare:
            return f'must be "{FROM_ENVIRONMENT}", "{OFF}", or a URL: http://[user:password@]host:port'
        text = f"http://{text}"
    scheme = text.partition("://")[0].lower()
    if scheme == "https":
        return (
            "names a proxy to speak TLS with; only http:// proxies are supported, which carry TLS to the "
            "endpoint too"
        )
    if scheme != "http":
        what = "a SOCKS" if scheme.startswith("socks") else "another kind of"
        return f"names {what} proxy; only HTTP proxies are supported, written as http://host:port"
    if not text.isascii() or _UNPRINTABLE.search(text) or "\\" in text:
        return _FORM
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return _FORM
    if not host or port == 0 or parts.path not in {"", "/"} or parts.query or parts.fragment:
        return _FORM
    user, at, _ = parts.netloc.rpartition("@")
    authorization = _basic(user) if at else None
    if at and authorization is None:
        return "has a user with a colon in its name, which cannot be sent to a proxy (RFC 7617)"
    return Proxy(host, port or _PORTS["http"], authorization)


def _basic(user_and_password: str) -> Secret | None:
    name, _, password = user_and_password.partition(":")
    user = unquote_to_bytes(name)
    if b":" in user:
        return None
    return Secret(f"Basic {base64.b64encode(user + b':' + unquote_to_bytes(password)).decode('ascii')}")


class ProxyRules:
    """Which proxy each origin is reached through."""

    __slots__ = ("_by_scheme", "_bypass")

    def __init__(self, by_scheme: Mapping[str, tuple[str, Secret]], bypass: str = "") -> None:
        """Keep the rules.

        Args:
            by_scheme: "http", "https" and "all", each mapped to where a URL was read from and the URL.
            bypass: Hosts that are reached without a proxy, as in NO_PROXY.
        """
        self._by_scheme = dict(by_scheme)
        self._bypass = bypass

    @classmethod
    def of(cls, setting: str | Secret | None, environ: Mapping[str, str]) -> ProxyRules:
        """The rules of a store.

        Args:
            setting: "env" for the environment's, "off" or None for no proxy, or the URL of the proxy that all
                requests go through, whatever NO_PROXY says.
            environ: Variables by name; read for "env" only.
        """
        if setting == FROM_ENVIRONMENT:
            return cls._from_environ(environ)
        if setting is None or setting == OFF:
            return NO_PROXIES
        url = setting if isinstance(setting, Secret) else Secret(setting)
        return cls({"all": ("`proxy`", url)})

    @classmethod
    def _from_environ(cls, environ: Mapping[str, str]) -> ProxyRules:
        """What `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` say, in either case.

        The one in lower case wins, even if it is empty, which cancels the other.
        """
        found: dict[str, tuple[str, Secret]] = {}
        for lower in (False, True):
            for name, value in environ.items():
                scheme, end, rest = name.lower().rpartition("_proxy")
                if not end or rest or scheme not in {"http", "https", "all", "no"}:
                    continue
                if name.endswith("_proxy"):
                    found.pop(scheme, None)
                if value and lower == name.endswith("_proxy"):
                    found[scheme] = (name, Secret(value))
            if not lower and "REQUEST_METHOD" in environ:
                # In a CGI program, HTTP_PROXY is what a client's header "Proxy" said (CVE-2016-5385).
                found.pop("http", None)
        _, bypass = found.pop("no", ("", Secret("")))
        return cls(found, bypass.reveal())

    def check_reach(self, origin: str, *, allow_http: bool) -> None:
        """Refuse a proxy by way of which requests to an endpoint cannot go.

        Args:
            origin: `scheme://host[:port]`.
            allow_http: Whether http may leave this machine; a proxy would take it elsewhere.

        Raises:
            StorageConfigurationError: The endpoint is http without `allow_http`, and the proxy is not local.
        """
        proxy = self.proxy_for(origin)
        if proxy is not None and not (proxy.stays_here or origin.startswith("https:") or allow_http):
            raise StorageConfigurationError(
                f"the endpoint is http on this machine, but the proxy {proxy.name} is on another; name the "
                f"endpoint's host in NO_PROXY, or set `proxy` to {OFF}",
                code=ErrorCode.PROXY_UNUSABLE,
            )

    def proxy_for(self, origin: str) -> Proxy | None:
        """The proxy for `scheme://host[:port]`, or None for none.

        Raises:
            StorageConfigurationError: A URL that is needed does not name an HTTP proxy.
        """
        if not self._by_scheme:
            return None
        parts = urlsplit(origin)
        found = self._by_scheme.get(parts.scheme) or self._by_scheme.get("all")
        if found is None or bypassed(self._bypass, parts.hostname or "", parts.port or _PORTS[parts.scheme]):
            return None
        source, url = found
        return parse_proxy(url, source, bare=True)


NO_PROXIES = ProxyRules({})


def bypassed(rules: str, host: str, port: int) -> bool:
    """Whether a host is one of those that are reached without a proxy.

    A name stands for itself and everything below it, with or without a leading dot; `*.name` only for what is
    below it; an address or network (`10.0.0.0/8`) for addresses, to which names are not resolved; each may
    have a port; `*` stands for everything. This machine's own names and addresses are treated like any other,
    as in Python and curl.

    Args:
        rules: Separated by commas or blanks.
        host: Name or address, IPv6 without brackets.
        port: The port that the request goes to.
    """
    host = host.lower().rstrip(".")
    address = _address(host)
    return any(_matches(entry.lower(), host, address, port) for entry in _BETWEEN.split(rules) if entry)


def _matches(entry: str, host: str, address: IpAddress | None, port: int) -> bool:
    if entry == "*":
        return True
    if (network := _network(entry)) is None:
        name, colon, wanted = entry.rpartition(":")
        if colon and wanted.isascii() and wanted.isdigit():
            if int(wanted) != port:
                return False
            entry = name
        network = _network(entry)
    if network is not None:
        return address is not None and address in network
    if address is not None:
        return False
    if entry.startswith("*."):
        return host.endswith(entry[1:].rstrip("."))
    name = entry.strip(".")
    return host == name or host.endswith(f".{name}")


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The addresses that one address or network stands for, or None for a name."""
    try:
        found = ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None
    return found


def _address(host: str) -> IpAddress | None:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
