"""The settings given to c2pa-python take effect, each of them: it passes over names that it does not know.

Each setting is turned and has to matter, so a release that renames one, or a slip in a name here, is seen
even where the library's default is the value that is meant.
"""

import asyncio
import io
import json
from copy import deepcopy

import c2pa as library
import pytest
from cryptography import x509

from credstore.errors import StorageInvalidRequestError
from credstore.proofs.c2pa import TrustList, native, sign_manifest, signing, verify_manifest
from tests.proofs.c2pa_material import (
    AUTHORITY,
    C2PA_CLAIM_SIGNING,
    DEFINITION,
    IMAGES,
    Authority,
    embed_with_identity,
    host,
)

PNG = IMAGES["image/png"]
OTHER = Authority()
ROOM = 20_000
"""Bytes that a manifest without a picture stays below, and one with a picture does not."""


def sign(credential, **options):
    return asyncio.run(
        sign_manifest(PNG, "image/png", definition=DEFINITION, credential=credential, **options)
    )


OWN = sign(AUTHORITY.credential())
STRANGER = sign(OTHER.credential())
CLAIM_SIGNING = sign(AUTHORITY.credential(purpose=C2PA_CLAIM_SIGNING))
ODD_PURPOSE = "1.3.6.1.4.1.62558.99.9"
ALLOWED_SIGNER = OTHER.credential()
ALLOWED = sign(ALLOWED_SIGNER)
IDENTITY = embed_with_identity(PNG, "image/png", AUTHORITY, AUTHORITY)
LIST = TrustList.from_pem(
    AUTHORITY.root, allowed=ALLOWED_SIGNER.chain.partition(b"-----END")[0] + b"-----END CERTIFICATE-----\n"
)


def read(settings, asset, manifest):
    """State and failures that the library tells; the words of its refusal."""
    try:
        with (
            library.Context.from_dict(settings) as context,
            library.Reader("image/png", io.BytesIO(asset), manifest, context) as reader,
        ):
            told = json.loads(reader.json())
    except library.C2paError:
        return "refused"
    failures = told["validation_results"]["activeManifest"]["failure"]
    return told["validation_state"], *sorted(each["code"] for each in failures)


def sign_by(settings, credential):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signing, "signing_settings", lambda *, thumbnail: settings)
        patch.setattr(signing, "_check_result", unchecked)
        return sign(credential)


def size(settings):
    """Bytes of a manifest; as large as it gets where the library does not take the settings."""
    try:
        return len(sign_by(settings, AUTHORITY.credential()).manifest)
    except StorageInvalidRequestError:
        return ROOM


async def unchecked(*_):
    """What is made for an odd purpose verifies with odd settings only."""


ODD = sign_by(
    {"trust": {"trust_config": ODD_PURPOSE}},
    AUTHORITY.credential(purpose=x509.ObjectIdentifier(ODD_PURPOSE)),
)


def behaviour(settings):
    """All that a setting can change: what is fetched, who is trusted, what is made."""
    with host(b"nothing of use") as (base, asked):
        named = sign(AUTHORITY.credential(ocsp=f"{base}/ocsp"), remote_url=f"{base}/manifest")
        without = read(settings, named.asset, None)
        manifests = list(asked)
        asked.clear()
        read(settings, named.asset, named.manifest)
        return {
            "without a manifest": without,
            "manifests fetched": manifests,
            "OCSP asked": bool(asked),
            "own signer": read(settings, OWN.asset, OWN.manifest),
            "stranger": read(settings, STRANGER.asset, STRANGER.manifest),
            "for claim signing": read(settings, CLAIM_SIGNING.asset, CLAIM_SIGNING.manifest),
            "for something odd": read(settings, ODD.asset, ODD.manifest),
            "allowed itself": read(settings, ALLOWED.asset, ALLOWED.manifest),
            "an identity": read(settings, IDENTITY, None),
            "small": size(settings) < ROOM,
        }


OFFLINE = {"without a manifest": "refused", "manifests fetched": [], "OCSP asked": False}
UNTRUSTED = ("Valid", "signingCredential.untrusted")
VERIFYING = {
    **OFFLINE,
    "allowed itself": ("Trusted",),
    "an identity": ("Valid", "cawg.x509.credential.untrusted"),
    "own signer": ("Trusted",),
    "stranger": UNTRUSTED,
    "for claim signing": ("Trusted",),
    "for something odd": ("Invalid", "signingCredential.invalid", "signingCredential.untrusted"),
}
IDENTITIES = {**VERIFYING, "an identity": ("Trusted",)}
SIGNING = {**OFFLINE, "small": True}


def leaves(settings, above=()):
    """All but how much memory may be used, which `test_c2pa_media.py` measures."""
    for name, value in settings.items():
        if name == "core":
            continue
        if isinstance(value, dict):
            yield from leaves(value, (*above, name))
        elif isinstance(value, list):
            for index, each in enumerate(value):
                yield from leaves(each, (*above, name, index))
        else:
            yield (*above, name)


def replaced(settings, path, change):
    """A copy in which `change` was made to the section that holds the setting."""
    copy = section = deepcopy(settings)
    for name in path[:-1]:
        section = section[name]
    change(section, path[-1])
    return copy


def turn(section, name):
    if isinstance(section[name], bool):
        section[name] = not section[name]
    elif name.startswith("trust_config"):
        section[name] += f"\n{ODD_PURPOSE}"
    elif name.startswith("trust_kind"):
        section[name] = "manifest" if section[name] == "cawg" else "cawg"
    else:
        del section[name]


def misspell(section, name):
    section[f"{name}s"] = section.pop(name)


def check(settings, wanted):
    """They do what is wanted, and each of them is why."""
    found = behaviour(settings)
    assert {name: found[name] for name in wanted} == wanted
    for path in leaves(settings):
        assert behaviour(replaced(settings, path, turn)) != found, path


SETTINGS = {
    "verifying": (native.reading_settings(LIST, "manifest"), VERIFYING),
    "identities": (native.reading_settings(LIST, "cawg"), IDENTITIES),
    "signing": (native.signing_settings(thumbnail=False), SIGNING),
}


@pytest.mark.parametrize("use", SETTINGS)
def test_every_setting_takes_effect(use):
    settings, wanted = SETTINGS[use]
    assert len(list(leaves(settings))) >= 4
    check(settings, wanted)


@pytest.mark.parametrize(
    ("use", "path"), [(use, path) for use, (settings, _) in SETTINGS.items() for path in leaves(settings)]
)
def test_a_misspelt_setting_would_be_seen(use, path):
    settings, wanted = SETTINGS[use]
    with pytest.raises(AssertionError):
        check(replaced(settings, path, misspell), wanted)


def test_these_are_the_settings_in_use(monkeypatch):
    used = []
    real = library.Context.from_dict
    monkeypatch.setattr(
        library.Context, "from_dict", lambda settings: used.append(settings) or real(settings)
    )
    signed = sign(AUTHORITY.credential())
    coroutine = verify_manifest(PNG, signed.manifest, media_type="image/png", trust_anchors=AUTHORITY.root)
    assert asyncio.run(coroutine).state == "trusted"
    alone = native.reading_settings(None, "manifest")
    with_list = native.reading_settings(TrustList.from_pem(AUTHORITY.root), "manifest")
    assert used == [alone, SETTINGS["signing"][0], alone, with_list]
