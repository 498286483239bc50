"""Where a profile of the AWS configuration leads, as botocore itself resolves it.

Rules of this file: botocore is asked and nothing is parsed here, so that endpoint, `services` section,
region, addressing style, FIPS, dual-stack and the variables of the environment count exactly as for any
client of it; nothing is sent and no credential is looked up; of an error only its class is shown, since
its text may repeat what stands in a file. Everything here blocks: it belongs into a thread.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from credstore.errors import StorageConfigurationError
from credstore.extras import missing_extra
from credstore.model import NOTHING

if TYPE_CHECKING:
    from botocore.session import Session

_NEEDING = "where an AWS profile leads is read by"
_KEY = "k"
_SERVICE = "s3"
_FILES = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
_NOT_PRINTED = "`credential_process` printed no credentials"
_MEANINGS = {
    "AttributeError": _NOT_PRINTED,
    "ConfigParseError": "a file cannot be parsed",
    "CredentialRetrievalError": "`credential_process` failed, or printed no credentials",
    "FileNotFoundError": "a program or file that it names is not there",
    "InfiniteLoopConfigError": "profiles name each other as their `source_profile`",
    "InvalidConfigError": "a profile or section that it names is missing, or a setting is not valid",
    "JSONDecodeError": _NOT_PRINTED,
    "NoRegionError": "it names no region",
    "PartialCredentialsError": "half of a key pair is missing",
    "PermissionError": "a program or file that it names may not be used",
    "RuntimeError": "the credentials that it gives have expired already",
    "SSOTokenLoadError": "there is no SSO session",
    "TypeError": _NOT_PRINTED,
    "UnauthorizedSSOTokenError": "the SSO session has ended",
    "UnicodeDecodeError": _NOT_PRINTED,
    "ValueError": "a setting is not valid",
}
"""What botocore's errors mean where they come from its configuration; their text may repeat a file's."""
_LEADING = ("AWS_DEFAULT_PROFILE", "AWS_PROFILE", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """Where requests for a bucket go.

    Attributes:
        endpoint: `scheme://host[:port]`, without the bucket.
        region: To sign for.
        addressing: Whether the bucket stands in the host or in the path.
        ca_file: PEM file of authorities to trust there, if one is named.
    """

    endpoint: str
    region: str
    addressing: Literal["virtual", "path"]
    ca_file: str | None = None


class _Found(Exception):  # noqa: N818 - no error, the way out
    """A request is about to be signed: it is known where to, and it goes no further."""

    def __init__(self, url: str, region: str, service: str) -> None:
        super().__init__()
        self.url = url
        self.region = region
        self.service = service


def lead_of(
    bucket: str,
    *,
    profile: str | None,
    endpoint: str | None = None,
    endpoint_else: str | None = None,
    region: str | None = None,
    region_else: str | None = None,
    addressing: str | None = None,
    accelerate: bool = False,
    dual_stack: bool = False,
    fips: bool = False,
    ca_file: str | None = None,
    variables: Mapping[str, str] = NOTHING,
) -> Lead:
    """Where botocore's client would send requests for a bucket.

    Args:
        bucket: Its name.
        profile: Named profile of the AWS configuration files; None for the chain's own choice.
        endpoint: In place of the profile's.
        endpoint_else: In place of the profile's too, unless the configuration says to ignore such ones.
        region: In place of the profile's.
        region_else: Where neither `region` nor the profile names one.
        addressing: In place of the profile's.
        accelerate: Use the endpoint of Transfer Acceleration, whatever the profile says.
        dual_stack: Use an endpoint that IPv6 reaches too, whatever the profile says.
        fips: Use an endpoint with FIPS cryptography, whatever the profile says.
        ca_file: In place of the profile's.
        variables: In place of the process's own, by name; those that are not there are the process's.

    Raises:
        StorageConfigurationError: No such profile; what stands in it leads nowhere, or nowhere that S3's
            usual signature is for; or the extra `aws` is missing.

    Cost: reads the configuration files and botocore's tables, some 0.2 s; blocks.
    """
    try:
        from botocore.config import Config
        from botocore.exceptions import ProfileNotFound
        from botocore.session import Session
    except ImportError as error:
        raise missing_extra("aws", _NEEDING) from error
    authorities = ca_file
    of_s3 = {"addressing_style": addressing, "use_accelerate_endpoint": accelerate}
    choices: dict[str, Any] = {"use_dualstack_endpoint": dual_stack, "use_fips_endpoint": fips}
    choices["s3"] = {name: value for name, value in of_s3.items() if value}
    choices = {name: value for name, value in choices.items() if value}
    try:
        session = Session(profile=profile)
        _tell(session, variables)
        authorities = ca_file or session.get_config_variable("ca_bundle")
        if endpoint is None and not session.get_config_variable("ignore_configured_endpoint_urls"):
            endpoint = endpoint_else
        client = session.create_client(
            _SERVICE,
            region_name=region or session.get_config_variable("region") or region_else,
            endpoint_url=endpoint,
            verify=ca_file,
            # Given, so that no credential is looked up; nothing is signed with them.
            aws_access_key_id="unused",
            aws_secret_access_key="unused",  # noqa: S106 - no secret
            config=Config(**choices) if choices else None,
        )
        client.meta.events.register_first(f"before-sign.{_SERVICE}", _stop)
        client.get_object(Bucket=bucket, Key=_KEY)
    except _Found as found:
        lead = _lead(bucket, found, authorities)
        service = found.service
    except ProfileNotFound:
        raise no_profile(profile or _named(variables)) from None
    except Exception as error:  # noqa: BLE001 - whatever botocore makes of its files
        lead, service = None, told(type(error).__name__)
    else:
        lead, service = None, "no request"
    if lead is None:
        whose = _of(profile or _named(variables))
        raise StorageConfigurationError(
            f"the AWS configuration{whose} leads to no usual S3 endpoint for this bucket ({service}); "
            "check `endpoint_url`, `services`, `region`, `ca_bundle` and the `s3` section there"
        )
    return lead


def told(name: str) -> str:
    """The name of an error's class, with what it means where something of the AWS configuration is wrong."""
    why = _MEANINGS.get(name)
    return f"{name}: {why}" if why else name


def no_profile(profile: str | None) -> StorageConfigurationError:
    """The error where the chosen profile is in no file."""
    return StorageConfigurationError(
        f"the AWS configuration has no profile {profile!r} (ProfileNotFound); "
        "check AWS_PROFILE and ~/.aws/config"
        if profile
        else "the profile that AWS_PROFILE names is not in the AWS configuration"
    )


def authorities_of(*, profile: str | None, variables: Mapping[str, str] = NOTHING) -> str | None:
    """PEM file of the authorities that botocore's client would trust, if one is named.

    Args:
        profile: As for `lead_of`.
        variables: As for `lead_of`.

    Raises:
        StorageConfigurationError: No such profile, the files cannot be read, or the extra `aws` is missing.
    """
    try:
        from botocore.exceptions import ProfileNotFound
        from botocore.session import Session
    except ImportError as error:
        raise missing_extra("aws", _NEEDING) from error
    try:
        session = Session(profile=profile)
        _tell(session, variables)
        return session.get_config_variable("ca_bundle")
    except ProfileNotFound:
        raise no_profile(profile or _named(variables)) from None
    except Exception as error:  # noqa: BLE001 - whatever botocore makes of its files
        why = told(type(error).__name__)
    raise StorageConfigurationError(f"the AWS configuration cannot be read ({why})")


def _tell(session: Session, variables: Mapping[str, str]) -> None:
    """Set what variables of the environment set, as if they were the process's.

    The session's own settings would also win over the `s3` section, which those do not.
    """
    from botocore.configprovider import ConstantProvider

    store = session.get_component("config_store")
    for setting, (_, names, _default, converted) in session.session_var_map.items():
        listed = [names] if isinstance(names, str) else names or ()
        if value := next((variables[name] for name in listed if variables.get(name)), None):
            store.set_config_provider(setting, ConstantProvider(converted(value) if converted else value))


def is_configured(variables: Mapping[str, str], *, endpoint: bool) -> bool:
    """Whether there is anything of AWS's own configuration that could lead somewhere.

    Args:
        variables: As for `lead_of`.
        endpoint: Whether variables for endpoints count.
    """
    known = {**os.environ, **variables}
    paths = (known.get(name) or usual for name, usual in _FILES.items())
    names = _LEADING + (_ENDPOINTS if endpoint else ())
    return any(known.get(name) for name in names) or any(map(_is_file, paths))


def _is_file(path: str) -> bool:
    """As botocore asks; a `Path` would raise where there is no home, or no permission."""
    return os.path.isfile(os.path.expanduser(os.path.expandvars(path)))  # noqa: PTH111, PTH113


def _named(variables: Mapping[str, str]) -> str | None:
    return variables.get("AWS_DEFAULT_PROFILE") or variables.get("AWS_PROFILE")


def _of(profile: str | None) -> str:
    return f" of the profile {profile!r}" if profile else ""


def _stop(request: Any, region_name: str, signing_name: str, **_: object) -> None:
    """End a client's call where everything about its request is known but the signature."""
    context: dict[str, Any] = request.context.get("signing", {})
    region = context.get("region") or region_name
    raise _Found(request.url, region, context.get("signing_name") or signing_name)


def _lead(bucket: str, found: _Found, ca_file: str | None) -> Lead | None:
    """What a request's URL says; None where it is not that of a bucket at the root of its host."""
    parts = urlsplit(found.url)
    if found.service != _SERVICE or parts.query:
        return None
    if parts.path == f"/{bucket}/{_KEY}":
        endpoint = f"{parts.scheme}://{parts.netloc}"
        return Lead(endpoint=endpoint, region=found.region, addressing="path", ca_file=ca_file)
    if parts.path == f"/{_KEY}" and parts.netloc.startswith(f"{bucket}."):
        host = parts.netloc.removeprefix(f"{bucket}.")
        endpoint = f"{parts.scheme}://{host}"
        return Lead(endpoint=endpoint, region=found.region, addressing="virtual", ca_file=ca_file)
    return None
