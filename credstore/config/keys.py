"""The rules of a config's keys: which belong together, and that none is plain text. Pure."""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import datetime
from typing import ClassVar, Protocol

from credstore.arguments import given
from credstore.config import validation as checks
from credstore.config.field_types import describe, fits, held_by
from credstore.config.variables import spoken, variables_of
from credstore.encryption import CustomerKey, Secret, decoded_key


def refuse_plain_secrets(config: type, owner: str, settings: MutableMapping[str, object]) -> None:
    """Refuse a secret in plain text, or whatever else is given in its place, before any frame or repr has it.

    Args:
        config: The config class.
        owner: Name of the cloud's row, whose variables to name.
        settings: What it is made of; emptied, for the traceback.

    Raises:
        StorageConfigurationError: A field that holds a secret was given something else.
    """
    _refuse_pasted(owner, settings)
    held = held_by(config)
    secrets = [name for name in held if {Secret, CustomerKey} & set(held[name]) and name in settings]
    wrong = {name: given(settings[name]) for name in secrets if not fits(held[name], settings[name])}
    settings.clear()
    for name, kind in wrong.items():
        secret = f': {name}=Secret("…")' if Secret in held[name] and kind == "str" else f", not {kind}"
        raise checks.wrong(owner, name, f"must be {describe(name, held[name])}{secret}")


def _refuse_pasted(owner: str, settings: MutableMapping[str, object]) -> None:
    """Refuse a key in place of the path of its file, before a message or repr shows it as one."""
    for name in ("wrapping_key", "older_wrapping_keys"):
        said = settings.get(name)
        if isinstance(said, str) and any(decoded_key(each.strip()) is not None for each in said.split(",")):
            del said
            settings.clear()
            raise checks.wrong(
                owner, name, "must be the path of a key's file, and not the key itself, which ends up in logs"
            )


class Keyed(Protocol):
    """A config with keys; see `S3FamilyConfig`."""

    own_chain: ClassVar[bool]

    @property
    def cloud(self) -> str:
        """Name of its row, whose variables to name."""
        ...

    @property
    def access_key_id(self) -> str | None:
        """With `secret_access_key`."""
        ...

    @property
    def secret_access_key(self) -> Secret | None:
        """The secret half."""
        ...

    @property
    def session_token(self) -> Secret | None:
        """Of temporary credentials."""
        ...

    @property
    def session_expires_at(self) -> datetime | None:
        """When the session token ends."""
        ...


def check_keys(config: Keyed) -> None:
    """Keys are whole, and there are some.

    Raises:
        StorageConfigurationError: One is missing that another needs, or is not valid.
    """
    owner = config.cloud
    checks.check_word(owner, "access_key_id", config.access_key_id)
    for name, secret in (
        ("secret_access_key", config.secret_access_key),
        ("session_token", config.session_token),
    ):
        if secret is not None and not checks.is_word(secret.reveal()):
            raise checks.no_word(owner, name)  # Not below, where a frame would have it.
    if (config.access_key_id is None) != (config.secret_access_key is None):
        missing = "access_key_id" if config.access_key_id is None else "secret_access_key"
        raise checks.wrong(owner, missing, "is missing; a key and its secret go together")
    if config.session_token is not None and config.access_key_id is None:
        raise checks.wrong(owner, "access_key_id", "is missing; `session_token` needs it")
    if config.session_expires_at is not None and config.session_token is None:
        raise checks.wrong(owner, "session_token", "is missing; `session_expires_at` needs it")
    if config.session_expires_at is not None:
        checks.check_instant(owner, "session_expires_at", config.session_expires_at)
    if config.access_key_id is None and not config.own_chain:
        secrets = spoken(variables_of(owner, "secret_access_key"))
        raise checks.wrong(owner, "access_key_id", f"is missing, and so is `secret_access_key` ({secrets})")
