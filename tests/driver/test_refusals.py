"""What a store cannot do is said once: what, who, and what to do instead."""

import asyncio
from dataclasses import fields, replace

import pytest

from credstore.config.stores import MemoryConfig
from credstore.driver import CREATE, CopyRequest, ObjectInfo, Precondition, ReadOptions, SignRequest, refusals
from credstore.driver.refusals import Lack
from credstore.drivers.memory import MemoryDriver
from credstore.encryption import CustomerKey, KmsKey
from credstore.errors import StorageUnsupportedError
from credstore.testing.harness import request
from tests.provider.support import Spy, over

ABLE = replace(
    MemoryDriver(MemoryConfig()).capabilities,
    versions=True,
    storage_classes=frozenset({"COLD", "WARM"}),
    sse_s3=True,
    sse_kms=True,
    sse_c=True,
)
FLAGS = [
    each.name
    for each in fields(ABLE)
    if isinstance(getattr(ABLE, each.name), bool) and each.name != "writable"
]
NOTHING_AT_ALL = replace(
    ABLE, presign=frozenset(), storage_classes=frozenset(), **dict.fromkeys(FLAGS, False)
)
CUSTOMER = CustomerKey(bytes(32))
SOURCE = ObjectInfo(key="k", size=1, etag="e")
COPY = CopyRequest(source=SOURCE, destination="d", write_id="0" * 32)


def put(**fields):
    return lambda able: refusals.check_put(request("k", **fields), able, "acme")


def read(**fields):
    return lambda able: refusals.check_read(ReadOptions(**fields), able, "acme")


def copy(**fields):
    return lambda able: refusals.check_copy(replace(COPY, **fields), able, "acme")


def link(**fields):
    return lambda able: refusals.check_sign(SignRequest(key="k", **fields), able, "acme")


def delete(if_match=None, version_id=None):
    return lambda able: refusals.check_delete(if_match, version_id, able, "acme")


ASKED = {
    "put if absent": (put(precondition=CREATE), "conditional_create"),
    "put if match": (put(precondition=Precondition("replace", "e")), "conditional_replace"),
    "put tags": (put(tags={"a": "b"}), "metadata"),
    "put class": (put(storage_class="COLD"), "only one"),
    "put AES256": (put(encryption="AES256"), "encryption=False"),
    "put KMS": (put(encryption=KmsKey("id")), "ClientSide"),
    "put SSE-C": (put(encryption=CUSTOMER), "ClientSide"),
    "read version": (read(version_id="v"), "leave version_id out"),
    "read SSE-C": (read(customer_key=CUSTOMER), "ClientSide"),
    "delete if match": (delete(if_match="e"), "without the condition"),
    "delete version": (delete(version_id="v"), "leave version_id out"),
    "copy if absent": (copy(precondition=CREATE), "conditional_create"),
    "copy KMS": (copy(encryption=KmsKey("id")), "ClientSide"),
    "copy of SSE-C": (copy(source_customer_key=CUSTOMER), "ClientSide"),
    "copy of a version": (copy(source=replace(SOURCE, version_id="v")), "leave version_id out"),
    "link": (link(), "every cloud"),
    "link of a version": (link(version_id="v"), "every cloud"),
    "link with headers": (link(overrides={"content-type": "a/b"}), "every cloud"),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_is_lacking_is_refused_with_what_to_do_instead(name):
    ask, instead = ASKED[name]
    with pytest.raises(StorageUnsupportedError) as caught:
        ask(NOTHING_AT_ALL)
    what, sent, hint = caught.value.message.split("; ", 2)
    assert what.startswith("acme cannot ")
    assert sent == "nothing was sent"
    assert instead in hint
    assert (caught.value.code, caught.value.applied, caught.value.retryable) == ("UNSUPPORTED", "no", False)


@pytest.mark.parametrize("name", ASKED)
def test_what_is_there_passes(name):
    ASKED[name][0](ABLE)


def test_nothing_special_passes_everywhere():
    for ask in (put(), read(), copy(), delete()):
        ask(NOTHING_AT_ALL)


def test_a_key_never_shows():
    with pytest.raises(StorageUnsupportedError) as caught:
        put(encryption=CustomerKey(b"canary-customer-key-32-bytes-lon"))(NOTHING_AT_ALL)
    assert "canary" not in repr(caught.value) + str(caught.value)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (put(storage_class="HOT"), "acme cannot store as 'HOT' (storage_class); .*choose one of COLD, WARM"),
        (link(method="PUT"), "acme cannot make a temporary link for PUT; .*it makes links for GET, HEAD"),
    ],
)
def test_a_choice_names_what_there_is(ask, words):
    with pytest.raises(StorageUnsupportedError, match=words.replace("(", r"\(").replace(")", r"\)")):
        ask(ABLE)


def test_encryption_that_is_there_anyway_need_not_be_asked_for():
    put(encryption="AES256")(replace(NOTHING_AT_ALL, sse_s3_implied=True))


def test_response_headers_are_for_reading():
    able = replace(ABLE, presign=frozenset({"GET", "PUT"}))
    link(overrides={"content-type": "a/b"})(able)
    with pytest.raises(StorageUnsupportedError, match="response headers"):
        link(method="PUT", overrides={"content-type": "a/b"})(able)


def test_every_row_of_the_table_reads_as_a_sentence():
    rows = {name: row for name, row in vars(refusals).items() if isinstance(row, Lack)}
    assert len(rows) >= 15
    for name, row in rows.items():
        text = row.of("acme").message
        assert text.count("; ") >= 2, name
        assert not text.endswith("."), name
        assert row.instead, name


@pytest.mark.parametrize(
    ("call", "ask"),
    [
        (lambda p: p.store("k", b"1", tags={"a": "b"}), lambda d: d.put(request("k", tags={"a": "b"}))),
        (
            lambda p: p.store("k", b"1", encryption=KmsKey("i")),
            lambda d: d.put(request("k", encryption=KmsKey("i"))),
        ),
        (
            lambda p: p.store("k", b"1", storage_class="C"),
            lambda d: d.put(request("k", storage_class="C")),
        ),
        (lambda p: p.store("k", b"1", if_absent=True), lambda d: d.put(request("k", precondition=CREATE))),
        (lambda p: p.delete("k", if_match="e"), lambda d: d.delete("k", if_match="e")),
        (lambda p: p.delete("k", version_id="v"), lambda d: d.delete("k", version_id="v")),
        (
            lambda p: p.get_signed_url("k", method="PUT"),
            lambda d: d.sign(SignRequest(key="k", method="PUT")),
        ),
    ],
)
def test_provider_and_driver_say_the_same(call, ask):
    """The provider finds it out first; whoever calls the driver by himself hears the same."""

    class Poor(Spy):
        @property
        def capabilities(self):
            return NOTHING_AT_ALL

        async def put(self, asked):
            refusals.check_put(asked, self.capabilities, self.name)
            return await super().put(asked)

        async def delete(self, key, *, if_match=None, version_id=None, **options):
            refusals.check_delete(if_match, version_id, self.capabilities, self.name)
            return await super().delete(key, **options)

        async def sign(self, asked):
            refusals.check_sign(asked, self.capabilities, self.name)
            return await super().sign(asked)

    async def message(awaitable):
        with pytest.raises(StorageUnsupportedError) as caught:
            await awaitable
        return caught.value.message

    async def main():
        driver = Poor()
        provider = over(driver)
        assert await message(call(provider)) == await message(ask(driver))
        assert driver.calls == []
        await provider.aclose()

    asyncio.run(main())
