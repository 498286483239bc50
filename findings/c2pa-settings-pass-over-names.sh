#!/bin/sh
# One would guess that a settings object which refuses a value of the wrong type also refuses a name that it doesn't
# have, above all in set("dotted.path", value), where the path is all there is. c2pa-python refuses the first and
# accepts the second: a misspelt "enabld" is taken without a word and the thumbnail that it should have turned off is
# embedded in the signed file all the same, here 29 kB of it. This matters to whoever signs with settings from a file
# or across releases: a typo, or a name that only another release has, leaves the default in force, so test each
# setting by its effect.
# Seen 2026-11-28 with c2pa-python 0.38.1 (c2pa-rs 0.91.3).
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check c2pa-python==0.38.1 cryptography==50.0.2 pillow==13.0.0

cat >"$work/sign.py" <<'PY'
import datetime
import io
import json
import sys
from importlib.metadata import version

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image


def certify(name, key, issuer, issuer_key, authority):
    now = datetime.datetime.now(datetime.UTC)
    flags = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
         "decipher_only"), False)
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **flags),
            critical=True)
    )
    if not authority:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def named(common_name):
    return x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
chain = certify(named("leaf"), leaf_key, named("root"), root_key, False)
chain += certify(named("root"), root_key, named("root"), root_key, True)
private = leaf_key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
picture = io.BytesIO()
Image.new("RGB", (320, 320), (9, 99, 200)).save(picture, "JPEG")
CAMERA = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
MANIFEST = {
    "claim_generator_info": [{"name": "example", "version": "1"}],
    "assertions": [{
        "label": "c2pa.actions.v2",
        "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": CAMERA}]}}],
}


def thumbnail_after(settings):
    signed = io.BytesIO()
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain, private, None)) as signer,
        c2pa.Builder(MANIFEST, context) as builder,
    ):
        builder.sign(signer, "image/jpeg", io.BytesIO(picture.getvalue()), signed)
    with c2pa.Reader("image/jpeg", io.BytesIO(signed.getvalue())) as reader:
        store = json.loads(reader.json())
    has = "thumbnail" in store["manifests"][store["active_manifest"]]
    return "thumbnail embedded" if has else "no thumbnail"


def outcome(act):
    try:
        act()
    except c2pa.C2paError:
        return "refused"
    return "accepted"


def thumbnail(name, value):
    return {"builder": {"thumbnail": {name: value}}}


print(f"c2pa-python {version('c2pa-python')}, c2pa-rs {c2pa.sdk_version()}")
print("guess: a wrong name is refused as a wrong type is")
seen = {
    "enabled = 'no' (wrong type)": outcome(lambda: c2pa.Settings.from_dict(thumbnail("enabled", "no"))),
    "enabld = False (wrong name)": outcome(lambda: c2pa.Settings.from_dict(thumbnail("enabld", False))),
    "set('no.such', '1')": outcome(lambda: c2pa.Settings().set("no.such", "1")),
    "signed with enabled = False": thumbnail_after(thumbnail("enabled", False)),
    "signed with enabld = False": thumbnail_after(thumbnail("enabld", False)),
}
for what, result in seen.items():
    print(f"  {what}: {result}")
expected = ["refused", "accepted", "accepted", "no thumbnail", "thumbnail embedded"]
sys.exit(0 if list(seen.values()) == expected else "CHANGED")
PY
"$work/venv/bin/python" "$work/sign.py"
