"""Azure's signatures against the code of azure-storage-blob: of requests, and of links in every layout used."""

import asyncio
import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch
from urllib.parse import parse_qsl

import pytest
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.transport import HttpRequest
from azure.storage.blob import BlobSasPermissions, generate_blob_sas
from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy
from hypothesis import given, settings
from hypothesis import strategies as st

from credstore.drivers.azure.headers import encode_name
from credstore.encryption import Secret
from credstore.wire.azure.sas import VERSION, DelegationKey, Grant, delegation_sas, service_sas
from credstore.wire.azure.shared_key import sign, string_to_sign
from credstore.wire.azure.signer import KeySigner
from credstore.wire.signer import WireCall
from credstore.wire.urls import encode_path, encode_query
from tests.servers.azurite import KEY

VECTORS = json.loads((Path(__file__).parent / "azure_sas.json").read_text())["cases"]
ENDS = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)
DELEGATED = DelegationKey(
    oid="11111111-2222-3333-4444-555555555555",
    tid="99999999-8888-7777-6666-555555555555",
    start="2026-11-28T00:00:00Z",
    expiry="2026-12-05T00:00:00Z",
    service="b",
    version="2023-11-03",
    value=Secret(KEY),
    ends=datetime(2026, 12, 5, tzinfo=UTC),
)
AWKWARD = " +%?#&'\"~*/.:;=@!$(),[]<>|\\^`{}-_é中\U0001f600\u00a0"
KEYS = st.text(alphabet=AWKWARD + "aZ09", min_size=1, max_size=30)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)
TOKENS = st.text(alphabet="abyz0189-_.!#", min_size=1, max_size=8)
SIGNED = [
    "content-encoding", "content-language", "content-md5", "content-type", "if-match", "if-none-match",
    "if-modified-since", "x-ms-range", "x-ms-blob-type", "x-ms-blob-content-type", "x-ms-access-tier",
    "x-ms-source-if-match", "x-ms-version", "x-ms-copy-source", "x-ms-tags",
]  # fmt: skip
HEADERS = st.dictionaries(
    st.one_of(st.sampled_from(SIGNED), TOKENS.map(lambda name: f"x-ms-meta-{encode_name(name)}")),
    VALUES,
    max_size=14,
)
QUERIES = st.dictionaries(
    st.sampled_from(["comp", "restype", "blockid", "versionid", "prefix", "marker", "delimiter", "include"]),
    st.text(alphabet=AWKWARD + "aZ09", min_size=1, max_size=20),
    max_size=5,
).map(lambda found: list(found.items()))


def theirs(method, url, headers, length):
    """The Authorization header that the vendor's own policy adds."""
    sent = {**headers, "content-length": str(length)} if length else dict(headers)
    request = HttpRequest(method, url, headers=sent)
    context = SimpleNamespace(transport=None)
    SharedKeyCredentialPolicy("acme", KEY).on_request(PipelineRequest(request, context))
    return request.headers["Authorization"]


@settings(max_examples=300)
@given(
    st.sampled_from(["GET", "PUT", "HEAD", "DELETE", "POST"]), KEYS, QUERIES, HEADERS, st.integers(0, 1 << 40)
)
def test_a_request_is_signed_as_by_the_vendors_policy(method, key, query, headers, length):
    path = f"/proofs/{encode_path(key)}"
    url = f"https://acme.blob.core.windows.net{path}" + (f"?{encode_query(query)}" if query else "")
    text = string_to_sign(
        method=method, account="acme", path=path, query=query, headers=headers, length=length
    )
    ours = f"SharedKey acme:{sign(base64.b64decode(KEY), text)}"
    assert ours == theirs(method, url, headers, length)


@settings(max_examples=50)
@given(st.lists(TOKENS, min_size=2, max_size=8, unique=True))
def test_metadata_is_in_the_order_of_the_service(names):
    """A name's place differs from ASCII's where it has digits, letters and underscores."""
    headers = {f"x-ms-meta-{encode_name(name)}": "v" for name in names}
    text = string_to_sign(method="PUT", account="acme", path="/c/k", query=[], headers=headers, length=0)
    ours = f"SharedKey acme:{sign(base64.b64decode(KEY), text)}"
    assert ours == theirs("PUT", "https://acme.blob.core.windows.net/c/k", headers, 0)


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: f"{case['kind']}-{case['blob'][:12]}")
def test_a_link_is_signed_as_by_the_vendors_client_of_that_version(case):
    """`generate_blob_sas` of the release whose newest version of the API is the one that is used here."""
    grant = Grant(
        container="proofs",
        blob=case["blob"],
        permissions=case["permissions"],
        expires=ENDS,
        version_id=case["version_id"],
        overrides=case["overrides"],
        https_only=case["https_only"],
    )
    made = (
        service_sas("acme", Secret(KEY), grant)
        if case["kind"] == "service"
        else delegation_sas("acme", DELEGATED, grant)
    )
    assert dict(parse_qsl(made)) == dict(parse_qsl(case["token"]))


@settings(max_examples=150)
@given(
    KEYS,
    st.sampled_from(["r", "cw", "d"]),
    st.dictionaries(
        st.sampled_from(
            ["cache_control", "content_disposition", "content_encoding", "content_language", "content_type"]
        ),
        VALUES,
    ),
    st.integers(1, 604_800),
)
def test_any_service_link_is_the_installed_clients(key, permissions, overrides, seconds):
    """Its layout has not changed since, so the newest release is asked too, told the older version."""
    expires = ENDS + timedelta(seconds=seconds)
    grant = Grant(
        container="proofs",
        blob=key,
        permissions=permissions,
        expires=expires,
        overrides={name.replace("_", "-"): value for name, value in overrides.items()},
    )
    with patch("azure.storage.blob._shared_access_signature.X_MS_VERSION", VERSION):
        token = generate_blob_sas(
            "acme",
            "proofs",
            key,
            account_key=KEY,
            permission=BlobSasPermissions.from_string(permissions),
            expiry=expires,
            protocol="https",
            **overrides,
        )
    assert dict(parse_qsl(service_sas("acme", Secret(KEY), grant))) == dict(parse_qsl(token))


def signed(signer, call):
    return asyncio.run(signer.sign(call, None, 1_764_500_000.0))


def test_a_copys_source_is_made_readable_only_where_it_is_copied_from_a_url():
    signer = KeySigner("acme", Secret(KEY))
    source = "https://acme.blob.core.windows.net/proofs/a%20b%2Fc?versionid=2026-11-28T10%3A00%3A00.1Z"
    headers = {"x-ms-version": VERSION, "x-ms-copy-source": source}
    call = WireCall(
        operation="PutBlobFromURL",
        method="PUT",
        origin="https://acme.blob.core.windows.net",
        path="/proofs/copy",
        headers=headers,
        mutation=True,
    )
    added = signed(signer, call).headers
    url, _, query = added["x-ms-copy-source"].partition("?")
    assert url == source.partition("?")[0]
    told = dict(parse_qsl(query))
    assert (told["sp"], told["sr"], told["spr"]) == ("r", "bv", "https")
    sent = {name: value for name, value in {**headers, **added}.items() if name != "authorization"}
    assert added["authorization"] == theirs("PUT", call.origin + call.path, sent, 0)
    assert "x-ms-copy-source" not in signed(signer, replace(call, operation="CopyBlob")).headers
