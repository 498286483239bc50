"""What the AWS configuration adds to a store whose keys come from AWS's chain, or from AWS's own variables.

Rules of this file: the keys of a profile go only to hosts that the profile itself leads to, or that the
config names; an endpoint of the environment is neither (`S3Config.environ_endpoint`). Keys of the environment
go where the environment says, or the profile next to them. Without files and variables of AWS nothing is
asked, so that such keys need no botocore. Everything here blocks, and belongs into a thread.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import cast
from urllib.parse import urlsplit

from credstore.config.settings import CommonConfig
from credstore.config.stores import S3Config, S3FamilyConfig
from credstore.errors import ErrorCode, StorageConfigurationError
from credstore.wire.aws.profile import Lead, authorities_of, is_configured, lead_of

_PORTS = {"http": 80, "https": 443}
_FOUND = "_found_by_profile"
"""Attribute of a config, whose equals may have been made when the files said something else. It serves only
public URLs; whoever sends a key looks the place up again."""


def located(config: S3Config) -> S3Config:
    """The same store with the endpoint, region, addressing and authorities that its profile leads to.

    Args:
        config: Whose `place_is_open` or `trust_is_open` is true.

    Raises:
        StorageConfigurationError: The profile is not there or leads nowhere; it leads to an endpoint that
            would be refused in the config too; or the environment names another endpoint.
    """
    variables = dict(config.environ_settings or ())
    chained = config.access_key_id is None
    asked = _is_there(config)
    if config.place_is_open and (chained or asked):
        told = config.environ_endpoint
        lead = lead_of(
            config.bucket,
            profile=config.profile,
            endpoint=config.given_endpoint,
            endpoint_else=None if chained or told is None else told[1],
            region=config.region,
            region_else=config.environ_region,
            addressing=config.addressing,
            accelerate=config.accelerate,
            dual_stack=config.dual_stack,
            fips=config.fips,
            ca_file=trusted(config),
            variables=variables,
        )
        if chained and config.endpoint is None:
            _check_environment(config, lead.endpoint)
    else:
        known = trusted(config)
        if known is None and asked:
            known = authorities_of(profile=config.profile, variables=variables)
        lead = Lead(
            endpoint=config.resolved_endpoint,
            region=config.resolved_region,
            # As botocore has it; an endpoint of one's own rarely has a name for every bucket.
            addressing=config.addressing or ("path" if config.endpoint else config.resolved_addressing),
            ca_file=known,
        )
    try:
        if config.accelerate or config.fips or config.dual_stack:
            replace(config, region=lead.region)  # Not every region has the endpoints that were chosen.
        found = replace(
            config,
            endpoint=lead.endpoint,
            region=lead.region,
            addressing=lead.addressing,
            accelerate=False,  # The endpoint is of that kind.
            dual_stack=False,
            fips=False,
            ca_file=lead.ca_file,
            environ_endpoint=None,
            environ_region=None,
        )
    except StorageConfigurationError as error:
        why = error.message.partition("; it is set by ")[0]
        raise StorageConfigurationError(
            f"the AWS configuration leads to what cannot be used: {why}"
        ) from None
    object.__setattr__(config, _FOUND, found)
    return found


def has_say(config: S3FamilyConfig) -> bool:
    """Whether AWS's own configuration is to be asked before anything is sent; two looks at the disk."""
    if config.place_is_open:
        return True
    return config.trust_is_open and trusted(config) is None and _is_there(cast("S3Config", config))


def trusted(config: S3FamilyConfig) -> str | None:
    """File of the authorities as far as no file of AWS's is needed; its variable is stronger than those."""
    return (os.environ.get("AWS_CA_BUNDLE") or None) if config.trust_is_open else config.ca_file


def _is_there(config: S3Config) -> bool:
    return is_configured(dict(config.environ_settings or ()), endpoint=config.endpoint is None)


def located_once(config: CommonConfig) -> CommonConfig:
    """As `located`, from memory if it was found before; for addresses that nothing is sent to."""
    known: CommonConfig | None = getattr(config, _FOUND, None)
    return known or located(cast("S3Config", config))  # No other has an open place.


def _check_environment(config: S3Config, endpoint: str) -> None:
    """Refuse an endpoint of the environment that is not the profile's own: its keys would go there."""
    if config.environ_endpoint is None:
        return
    variable, named = config.environ_endpoint
    # What the process has in AWS's own variables, botocore has seen, and decided about.
    if variable.startswith("AWS_") and os.environ.get(variable) == named:
        return
    if _origin(named) != _origin(endpoint):
        raise StorageConfigurationError(
            f"{variable} names another endpoint than the AWS configuration, where the keys come from; they "
            "are sent only where their profile leads, or where `endpoint` of the store itself says: unset "
            f"{variable}, give `endpoint` with the store, or give keys",
            code=ErrorCode.FOREIGN_ENDPOINT,
        )


def _origin(url: str) -> tuple[str, str, int | None] | None:
    try:
        parts = urlsplit(url)
        return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
