"""No argument of a wrong type ends a verb in anything but an error that names what is wrong with the request."""

import asyncio
import inspect
from contextlib import suppress

import pytest

from credstore.errors import ErrorCode, StorageError
from credstore.proofs import LegacyHomes, ProofStore
from tests.proofs.material import SIGNER
from tests.proofs.shelves import TRUST, Shelf
from tests.test_wrong_arguments import WRONG

ENDS = {"aclose", "close"}
VERBS = sorted(
    name
    for name, each in vars(ProofStore).items()
    | {item for base in ProofStore.__mro__[1:-1] for item in vars(base).items() if callable(item[1])}
    if callable(each) and not name.startswith("_") and name not in ENDS
)


async def called(verb, places, options):
    result = verb(*places, **options)
    if inspect.isasyncgen(result):
        async for _ in result:
            pass
    elif inspect.isawaitable(result):
        await result


@pytest.mark.parametrize("name", VERBS)
def test_a_wrong_argument_of_a_verb_is_refused_or_taken(name):
    async def run():
        seen = []
        async with Shelf().open(
            legacy=LegacyHomes(), observers=[lambda event: seen.append(event.error)]
        ) as store:
            proof = await store.issue(b"asset", manifest=b"m")
            good = {
                "proof_id": proof.proof_id,
                "asset": b"asset",
                "digest": proof.record.asset.sha256,
                "manifest": {"a": 1},
                "requests": [],
                "trust": TRUST,
                "signer": SIGNER,
                "authorities": [],
            }
            verb = getattr(store, name)
            taken = [
                each
                for each in inspect.signature(verb).parameters.values()
                if each.kind is not each.VAR_KEYWORD
            ]
            for wrong in taken:
                for value in [*WRONG, float("nan"), float("inf")]:
                    handed = {
                        each.name: value
                        if each is wrong
                        else good.get(each.name, None if each.default is each.empty else each.default)
                        for each in taken
                    }
                    places = [handed.pop(each.name) for each in taken if each.kind is each.POSITIONAL_ONLY]
                    with suppress(StorageError):
                        await called(verb, places, handed)
                    assert ErrorCode.UNFORESEEN not in seen, (wrong.name, value)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda store: anext(store.issue_many(5)), "`requests` of issue_many is an iterable"),
        (lambda store: anext(store.issue_many("abc")), "`requests` of issue_many is an iterable"),
        (lambda store: anext(store.issue_many([], at_once="8")), "`at_once` of issue_many is a whole number"),
        (
            lambda store: store.sweep_expired(grace="x"),
            "`grace` of sweep_expired is a timedelta or a number, not str",
        ),
        (
            lambda store: store.sweep_expired(grace=None),
            "`grace` of sweep_expired is a timedelta or a number, not None",
        ),
        (lambda store: store.sweep_expired(limit="3"), "`limit` of sweep_expired is a whole number"),
        (lambda store: store.list("3"), "`most` of list is a whole number"),
        (lambda store: store.adopt("text", b"asset"), "`legacy` of adopt is a LegacyProof, not str"),
        (
            lambda store: store.publish_trust("text", signer=SIGNER),
            "`trust` of publish_trust is a TrustStore",
        ),
        (lambda store: store.publish_trust(TRUST, signer="text"), "`signer` of publish_trust is a Signer"),
    ],
)
def test_what_is_wrong_is_told(call, told):
    async def run():
        async with Shelf().open() as store:
            with pytest.raises(StorageError) as caught:
                await call(store)
            assert caught.value.code == ErrorCode.INVALID_REQUEST
            assert told in caught.value.message

    asyncio.run(run())
