"""A secret given as plain text where it does not belong is refused, and no frame of credstore shows it."""

import traceback

import pytest

import credstore
from credstore import (
    AwsKmsKey,
    ClientSide,
    CustomerKey,
    KeyRing,
    LocalConfig,
    LocalKey,
    LocalStorageProvider,
    MemoryConfig,
    MemoryStorageProvider,
    PassphraseKey,
    S3Config,
    Secret,
    StorageError,
    StorageFactory,
)
from credstore.proofs import LegacyHomes
from tests.links.signers import MADE, SECRETS
from tests.provider.support import run

ROOT = credstore.__path__[0]
CANARY = "canary-passphrase-in-plain-text"
ARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


async def opened(provider, **options):
    async with provider.open("key", **options) as reader:
        return await reader.read()


VERBS = {
    "store": lambda p, v: p.store("key", b"1", encryption=v),
    "retrieve": lambda p, v: p.retrieve("key", encryption=v),
    "open": lambda p, v: opened(p, encryption=v),
    "get_metadata": lambda p, v: p.get_metadata("key", encryption=v),
    "copy": lambda p, v: p.copy("key", "to", encryption=v),
    "copy from": lambda p, v: p.copy("key", "to", source_encryption=v),
    "move": lambda p, v: p.move("key", "to", source_encryption=v),
}
MAKERS = {
    "MemoryConfig": lambda v: MemoryConfig(encryption=v),
    "S3Config": lambda v: S3Config(bucket="proofs", region="us-east-1", encryption=v),
    "S3Config secret": lambda v: S3Config(
        bucket="proofs", region="us-east-1", access_key_id="id", secret_access_key=v
    ),
    "MemoryStorageProvider": lambda v: MemoryStorageProvider(encryption=v),
    "LocalStorageProvider": lambda v: LocalStorageProvider(LocalConfig(path="/nowhere"), encryption=v),
    "StorageFactory": lambda v: StorageFactory(environ={}, encryption=v),
    "StorageFactory of a mapping": lambda v: StorageFactory(environ={}).create(
        {"provider": "memory", "encryption": v}
    ),
    "ClientSide": lambda v: ClientSide(v, store_id="store"),
    "KeyRing": KeyRing,
    "KeyRing older": lambda v: KeyRing(LocalKey(bytes(32)), older=[v]),
    "LocalKey": LocalKey,
    "PassphraseKey": lambda v: PassphraseKey(v, salt=b"short"),
    "CustomerKey": CustomerKey,
    "AwsKmsKey": lambda v: AwsKmsKey(ARN, access_key_id="id", secret_access_key=v),
    "LegacyHomes key": lambda v: LegacyHomes(key=v),
    "LegacyHomes both": lambda v: LegacyHomes(key=Secret("0" * 64), passphrase=v),
    **{
        f"the signer for {cdn}": lambda v, cdn=cdn: MADE[cdn](**{SECRETS[cdn][0]: v})
        for cdn in SECRETS
        if cdn in MADE
    },
}


def shown(error):
    """What reporters with locals have of an error: all frames of credstore, and all of its chain."""
    told, seen = [], error
    while seen is not None:
        frames = traceback.TracebackException.from_exception(seen, capture_locals=True).stack
        told += [f"{each.name}: {each.locals}" for each in frames if each.filename.startswith(ROOT)]
        told.append(str(seen))
        seen = seen.__cause__ or seen.__context__
    return "\n".join(told)


@pytest.mark.parametrize("value", [CANARY, CANARY.encode()], ids=["text", "bytes"])
@pytest.mark.parametrize("verb", VERBS)
def test_no_frame_shows_a_passphrase_that_a_verb_refuses(verb, value):
    async def main(provider):
        await provider.store("key", b"1")
        with pytest.raises(StorageError, match=type(value).__name__) as caught:
            await VERBS[verb](provider, value)
        assert CANARY not in shown(caught.value)
        await provider.aclose()
        with pytest.raises(StorageError) as caught:
            await VERBS[verb](provider, value)
        assert CANARY not in shown(caught.value)

    run(main)


@pytest.mark.parametrize("value", [CANARY, CANARY.encode(), [CANARY]], ids=["text", "bytes", "list"])
@pytest.mark.parametrize("name", MAKERS)
def test_no_frame_shows_a_secret_that_a_constructor_refuses(name, value):
    with pytest.raises(StorageError) as caught:
        MAKERS[name](value)
    assert CANARY not in shown(caught.value)
