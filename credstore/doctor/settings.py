"""Where each setting of a store comes from: the URL, a variable, a file, or a default. Pure.

No secret is shown: of one, only that it is set.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from credstore.config.field_types import fields_with, held_by
from credstore.config.precedence import parse_setting
from credstore.config.registry import Cloud, Registry
from credstore.config.settings import CommonConfig
from credstore.config.variables import variables_of
from credstore.doctor.findings import Finding
from credstore.encryption import CustomerKey, KmsKey, Secret
from credstore.errors import StorageError
from credstore.provider.provider import StorageProvider
from credstore.provider.stored_form import session_of

_HIDDEN = "set, not shown"
_SHORT = 8


@dataclass(frozen=True, slots=True)
class Source:
    """Where the settings of a store were looked for.

    Attributes:
        named_by: What named the store: "given", "CREDSTORE_URL", a name.
        environ: Variables by name.
        of_file: Names of those that are from a file.
        file: Its path.
        given: Settings that were given by themselves, by name, and by what.
    """

    named_by: str
    environ: Mapping[str, str] = field(repr=False)
    of_file: Collection[str] = ()
    file: str = ""
    given: Mapping[str, str] = field(default_factory=dict[str, str])


def settings_of(config: CommonConfig, registry: Registry, source: Source) -> list[Finding]:
    """One finding for each setting that is not a default, and for what is derived.

    Args:
        config: The settings.
        registry: The known clouds.
        source: Where they were looked for.
    """
    row = registry.row_of(type(config), config.cloud)
    found = [Finding("provider", "ok", f"{config.cloud} ({source.named_by})")]
    if row is None:
        return found
    for name, shown in _shown(config).items():
        variable = _variable(row, name, getattr(config, name), source.environ)
        if name in source.given:
            where = source.given[name]
        elif variable is None:
            where = source.named_by
        else:
            where = f"{variable} in {source.file}" if variable in source.of_file else variable
        found.append(Finding(name, "ok", f"{shown} ({where})"))
    endpoint = getattr(config, "resolved_endpoint", None)
    if endpoint is not None and getattr(config, "endpoint", None) is None:
        found.append(Finding("endpoint", "ok", f"{endpoint} (of the provider)"))
    return found


def encryption_of(provider: StorageProvider) -> Finding:
    """By whom objects are encrypted, and with which key; of a key, only its id is shown."""
    session = session_of(provider)
    policy, at_rest = session.policy, session.at_rest()
    said = "nothing is encrypted before it is sent"
    if policy is not None:
        said = (
            f"before anything is sent, with the key {policy.keyring.current_id}, bound to the store id "
            f"{policy.store_id}"
        )
    if at_rest is not None:
        kinds: dict[type, str] = {KmsKey: "a key of its key service", CustomerKey: "a key of yours"}
        said += f"; at rest by the provider ({kinds.get(type(at_rest), at_rest)})"
    return Finding("encryption", "ok", said)


def _shown(config: CommonConfig) -> dict[str, str]:
    """Settings that are not defaults, as text."""
    kind = type(config)
    keys = fields_with(kind, "key")
    shown: dict[str, str] = {}
    for name in held_by(kind):
        value: object = getattr(config, name)
        if value is None or value == getattr(kind, name, ""):
            continue
        if isinstance(value, Secret | CustomerKey):
            shown[name] = _HIDDEN
        elif name in keys and isinstance(value, str):
            shown[name] = shortened(value)
        else:
            shown[name] = str(value)
    return shown


def _variable(row: Cloud, name: str, value: object, environ: Mapping[str, str]) -> str | None:
    """The strongest variable that says this value."""
    for variable in variables_of(row.name, name):
        if not environ.get(variable):
            continue
        try:
            said = parse_setting(row, name, environ[variable], variable)
        except StorageError:
            continue
        if said == value or (isinstance(said, str) and said.strip("/") == str(value).strip("/")):
            return variable
    return None


def shortened(key_id: str) -> str:
    """The public half of a key, so that its owner recognises it."""
    return key_id if len(key_id) <= _SHORT else f"{key_id[:4]}…{key_id[-4:]}"
