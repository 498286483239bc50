"""One signer of each CDN with keys made up for tests, and an address each of them signs."""

import functools

import yarl
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from credstore.encryption import Secret
from credstore.links.akamai import AkamaiSigner
from credstore.links.bunny import BunnySigner
from credstore.links.cloudflare import CloudflareSigner
from credstore.links.cloudfront import CloudFrontSigner
from credstore.links.fastly import FastlySigner
from credstore.links.google import CloudCdnSigner, MediaCdnSigner, MediaCdnTokenSigner
from credstore.links.keycdn import KeyCdnSigner
from credstore.links.nginx import NginxSigner
from credstore.links.spaces import SpacesCdnSigner

NOW = 1_700_000_000
LATER = NOW + 3600
URL = "https://cdn.example.com/a/b.json"


def steady(url):
    """What aiohttp makes of an address, the one client that rewrites what is encoded well."""
    return str(yarl.URL(url))


def pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@functools.cache
def rsa_key(bits=2048):
    return rsa.generate_private_key(65537, bits)


@functools.cache
def ec_key(curve=ec.SECP256R1):
    return ec.generate_private_key(curve())


def presigned(host="proofs.ams3.digitaloceanspaces.com", headers="host", path="/a/b.json"):
    return (
        f"https://{host}{path}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=id%2F20231114%2Fams3%2Fs3%2Faws4_request"
        f"&X-Amz-Date=20231114T221320Z&X-Amz-Expires=3600&X-Amz-SignedHeaders={headers}&X-Amz-Signature={'0f' * 32}"
    )


SECRETS = {
    "akamai": ("key", "aabbccddeeff00112233445566778899"),
    "bunny": ("key", "a-bunny-key-of-tests"),
    "cloudflare": ("secret", "a-cloudflare-secret-of-tests"),
    "cloud-cdn": ("key", "nZtRohdNF9m3cKM24IcK4w=="),
    "fastly": ("key", "iqFPeN2u+Z0Lm5IrsKaOFKRqEU5Gw8ePtaEkHZWuD24="),
    "keycdn": ("secret", "a-keycdn-secret-of-tests"),
    "media-cdn": ("key", "BxwXXNjeGaoWqjr7GHEymRJkP4SaOC12dTGixk7Yr8I="),
    "media-cdn-token": ("key", "BxwXXNjeGaoWqjr7GHEymRJkP4SaOC12dTGixk7Yr8I="),
    "nginx": ("secret", "an-nginx-secret-of-tests"),
}
"""By signer: which field is the secret, and its text."""

MADE = {
    "akamai": AkamaiSigner,
    "bunny": BunnySigner,
    "cloudflare": functools.partial(CloudflareSigner, ttl=10800),
    "cloud-cdn": functools.partial(CloudCdnSigner, key_name="my-key"),
    "fastly": FastlySigner,
    "keycdn": KeyCdnSigner,
    "media-cdn": functools.partial(MediaCdnSigner, key_name="my-key"),
    "media-cdn-token": MediaCdnTokenSigner,
    "nginx": NginxSigner,
}


@functools.cache
def signer_of(cdn):
    if cdn == "spaces":
        return SpacesCdnSigner(space="proofs", region="ams3")
    if cdn == "cloudfront":
        return CloudFrontSigner(key_pair_id="K1TESTKEY", private_key=Secret(pem(ec_key())))
    if cdn == "cloudfront-rsa":
        return CloudFrontSigner(key_pair_id="K1TESTKEY", private_key=Secret(pem(rsa_key())))
    field, secret = SECRETS[cdn]
    return MADE[cdn](**{field: Secret(secret)})


KEYED = [*MADE, "cloudfront", "cloudfront-rsa"]
ALL = [*KEYED, "spaces"]


def address(cdn):
    return presigned() if cdn == "spaces" else URL
