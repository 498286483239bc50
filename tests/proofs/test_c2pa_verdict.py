"""Verdicts from reports, made by hand where no library writes them: what an editor records proves nothing."""

from datetime import UTC, datetime

import pytest

from credstore.errors import StorageConfigurationError
from credstore.proofs.c2pa import C2paTrust, TrustList
from credstore.proofs.c2pa.codes import MOST_MANIFESTS, codes_by_manifest, ingredients_of
from credstore.proofs.c2pa.judging import Readings, judge
from credstore.proofs.c2pa.native import Reading
from credstore.proofs.format import errors
from credstore.proofs.format.record import AssetDigest
from tests.proofs.c2pa_material import AUTHORITY, Authority

TOP, BELOW = "urn:c2pa:top", "urn:c2pa:below"
NOW = datetime(2026, 11, 29, tzinfo=UTC)
VALIDITY = {"notBefore": "2026-01-01T00:00:00+00:00", "notAfter": "2027-01-01T00:00:00+00:00"}
BOUND = ("assertion.dataHash.match", "signingCredential.trusted")


def statuses(label, **codes):
    return {
        kind: [
            {"code": code, "url": f"self#jumbf=/c2pa/{label}/c2pa.signature"} for code in codes.get(kind, ())
        ]
        for kind in ("success", "informational", "failure")
    }


def reading(*, top=None, recorded=None, delta=None, validity=VALIDITY):
    """A report of a manifest with one ingredient, unless neither word nor delta is about it."""
    report = {
        "active_manifest": TOP,
        "manifests": {TOP: {"signature_info": {"common_name": "Editor"}}, BELOW: {}},
        "validation_results": {"activeManifest": statuses(TOP, **(top or {"success": BOUND}))},
    }
    if recorded is not None or delta is not None:
        report["manifests"][TOP]["ingredients"] = [
            {
                "title": "a photo",
                "relationship": "parentOf",
                "active_manifest": BELOW,
                "label": "c2pa.ingredient.v3",
                "validation_results": {"activeManifest": statuses(BELOW, **(recorded or {}))},
            }
        ]
        report["validation_results"]["ingredientDeltas"] = [
            {
                "ingredientAssertionURI": f"self#jumbf=/c2pa/{TOP}/c2pa.assertions/c2pa.ingredient.v3",
                "validationDeltas": statuses(BELOW, **(delta or {})),
            }
        ]
    certificates = {label: {"certificateInfo": {"validity": validity}} for label in (TOP, BELOW)}
    return Reading("embedded", report, certificates)


def verdict(given, ingredients="any", **others):
    return judge(
        Readings(given, **others),
        trust=C2paTrust(signers=(TrustList.from_pem(AUTHORITY.root),)),
        ingredients=ingredients,
        digest=AssetDigest.of(b""),
        now=NOW,
        place="embedded",
        remote_url=None,
    )


@pytest.mark.parametrize(
    ("success", "failure", "state", "kind"),
    [
        (BOUND, (), "trusted", None),
        (("signingCredential.trusted",), (), "invalid", errors.ProofManifestError),
        (BOUND[:1], (), "valid", errors.ProofUntrustedKeyError),
        (BOUND[:1], ("signingCredential.untrusted",), "valid", errors.ProofUntrustedKeyError),
        (BOUND, ("signingCredential.untrusted",), "valid", errors.ProofUntrustedKeyError),
        (BOUND, ("assertion.dataHash.mismatch",), "invalid", errors.ProofAssetMismatchError),
        (BOUND[1:], ("assertion.bmffHash.mismatch",), "invalid", errors.ProofAssetMismatchError),
        ((), ("assertion.boxesHash.mismatch", "signingCredential.untrusted"), "invalid", errors.ProofUntrustedKeyError),
        (BOUND, ("signingCredential.ocsp.revoked",), "invalid", errors.ProofKeyRevokedError),
        (BOUND[:1], ("signingCredential.untrusted", "signingCredential.expired"), "invalid", errors.ProofKeyExpiredError),
        (BOUND, ("signingCredential.expired",), "invalid", errors.ProofKeyExpiredError),
        (BOUND[1:], ("claimSignature.mismatch", "assertion.dataHash.mismatch"), "invalid", errors.ProofManifestError),
        (BOUND, ("of a later version",), "invalid", errors.ProofManifestError),
        (BOUND, ("cawg.x509.signature.mismatch", "timeStamp.mismatch"), "trusted", None),
    ],
)  # fmt: skip
def test_every_code_has_its_verdict(success, failure, state, kind):
    found = verdict(reading(top={"success": success, "failure": failure}))
    assert found.state == state
    if kind is None:
        assert found.require() is found
    else:
        with pytest.raises(errors.ProofError) as caught:
            found.require()
        assert type(caught.value) is kind
        assert TOP in caught.value.message
        assert "later" not in caught.value.message


@pytest.mark.parametrize(
    "validity",
    [
        {},
        {"notBefore": "soon", "notAfter": None},
        {**VALIDITY, "notAfter": "2026-11-28T23:59:59+00:00"},
        {**VALIDITY, "notBefore": "2026-11-30T00:00:00+00:00"},
    ],
)
def test_a_certificate_outside_its_time_never_counts(validity):
    with pytest.raises(errors.ProofKeyExpiredError):
        verdict(reading(validity=validity)).require()


GOOD = ("claimSignature.validated", "assertion.dataHash.match")
UNTRUSTED = ("signingCredential.untrusted",)
TRUSTED = ("signingCredential.trusted",)
INGREDIENTS = {
    "trusted by both": ({"success": (*GOOD, *TRUSTED)}, {}, "trusted", "trusted"),
    "by the reader only": (
        {"success": GOOD, "failure": UNTRUSTED},
        {"success": ("ingredient.manifest.validated", *TRUSTED)},
        "trusted",
        "trusted",
    ),
    "by the editor only": (
        {"success": (*GOOD, *TRUSTED)},
        {"failure": UNTRUSTED},
        "trusted",
        "valid",
    ),
    # Failures that were recorded are subtracted from the deltas: a forger records both.
    "forged": ({"success": (*GOOD, *TRUSTED), "failure": UNTRUSTED}, {}, "trusted", "valid"),
    "nothing said": ({}, {}, "trusted", "invalid"),
    "said by the reader": ({}, {"success": (*GOOD, *TRUSTED)}, "trusted", "trusted"),
    "recorded as changed": (
        {"success": TRUSTED, "failure": ("assertion.dataHash.mismatch",)},
        {},
        "trusted",
        "invalid",
    ),
    "changed since": (
        {"success": (*GOOD, *TRUSTED)},
        {"failure": ("ingredient.manifest.mismatch",)},
        "invalid",
        "invalid",
    ),
    "was elsewhere, is here": (
        {"failure": ("manifest.inaccessible",)},
        {"success": ("ingredient.manifest.validated", *GOOD, *TRUSTED)},
        "trusted",
        "trusted",
    ),
}


@pytest.mark.parametrize("case", INGREDIENTS)
def test_ingredients_count_by_the_readers_own_reading(case):
    recorded, delta, any_state, trusted_state = INGREDIENTS[case]
    given = reading(recorded=recorded, delta=delta)
    assert verdict(given).state == any_state
    strict = verdict(given, "trusted")
    assert strict.state == trusted_state
    assert all(each.role == "ingredient" and each.manifest == BELOW for each in strict.findings)
    if trusted_state != "trusted":
        with pytest.raises(errors.ProofError, match=f"an ingredient's manifest {BELOW}"):
            strict.require()


def test_an_ingredient_without_a_manifest_is_not_a_trusted_one():
    given = reading(recorded={})
    given.report["manifests"][TOP]["ingredients"][0]["active_manifest"] = None
    assert verdict(given).state == "trusted"
    assert verdict(given).unsigned_ingredients == ("a photo",)
    with pytest.raises(errors.ProofUntrustedKeyError, match="an ingredient a photo"):
        verdict(given, "trusted").require()


@pytest.mark.parametrize(
    ("recorded", "delta", "trusted"),
    [
        ({"success": ("timeStamp.trusted",)}, {"informational": ("timeStamp.untrusted",)}, False),
        ({"success": ("timeStamp.trusted",), "informational": ("timeStamp.untrusted",)}, {}, False),
        ({"informational": ("timeStamp.untrusted",)}, {"success": ("timeStamp.trusted",)}, True),
        ({"success": ("timeStamp.trusted",)}, {}, True),
        ({}, {}, False),
    ],
)
def test_a_recorded_time_is_not_trusted_for_it(recorded, delta, trusted):
    given = reading(recorded=recorded, delta=delta)
    given.certificates[BELOW]["timeStampInfo"] = {"timestamp": "2026-05-01T00:00:00+00:00"}
    (ingredient,) = verdict(given, timestamps=given).ingredients
    assert ingredient.time.trusted is trusted


def test_a_chain_of_ingredients_is_walked_once_and_ends():
    report = reading(recorded={}).report
    loop = {"active_manifest": TOP, "title": "itself"}
    report["manifests"][BELOW] = {"ingredients": [loop, loop]}
    assert len(list(ingredients_of(report))) == 3
    many = {
        f"urn:c2pa:{number}": {"ingredients": [{"active_manifest": f"urn:c2pa:{number + 1}"}]}
        for number in range(3 * MOST_MANIFESTS)
    }
    found = list(ingredients_of({"active_manifest": "urn:c2pa:0", "manifests": many}))
    assert MOST_MANIFESTS <= len(found) <= MOST_MANIFESTS + 1


@pytest.mark.parametrize("junk", [None, 7, "text", [], {}, [7], [{}], [[]]])
def test_odd_reports_say_nothing_good(junk):
    report = reading(recorded={}).report
    report["validation_results"] = {
        "activeManifest": {"success": junk, "failure": junk},
        "ingredientDeltas": junk,
    }
    report["manifests"][TOP] = {"ingredients": junk, "assertions": junk, "signature_info": junk}
    codes_by_manifest(report)
    assert verdict(Reading("embedded", report, {TOP: {"certificateInfo": junk}})).state != "trusted"


def test_what_an_asset_says_is_shown_in_one_short_line():
    given = reading()
    given.report["manifests"][TOP].update(title="a\x1b[31m\nb" + "x" * 10_000)
    title = verdict(given).active.title
    assert title.startswith("a[31m b")
    assert len(title) <= 201


def test_lists_are_read_as_published():
    """Text between certificates, one that does not load, and a file of purposes with comments."""
    other = Authority()
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    file = b"# Claim signers\nCN=Test root\n" + AUTHORITY.root + broken + b"\nanother\r\n" + other.root
    found = TrustList.from_pem(
        file, name="published", purposes="//id-kp-emailProtection\n1.3.6.1.5.5.7.3.4\n\n1.2.3 # ours\n"
    )
    assert len(found.certificates()) == 2
    assert (found.skipped, found.purposes) == (1, ("1.3.6.1.5.5.7.3.4", "1.2.3"))
    use = found.used_as("signers")
    assert (use.name, use.certificates, use.confirmed) == ("published", 2, True)
    assert len(use.sha256) == 64
    for wrong in (b"", b"no certificate", broken):
        with pytest.raises(StorageConfigurationError, match="no certificates"):
            TrustList.from_pem(wrong)
    with pytest.raises(StorageConfigurationError, match="bytes"):
        TrustList.from_pem(bytes(17 * 1024 * 1024))
    with pytest.raises(StorageConfigurationError, match="identifiers"):
        TrustList.from_pem(AUTHORITY.root, purposes="// nothing")
