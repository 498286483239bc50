"""The ring: one current key, older ones by id, and a memory that never answers for another object."""

import asyncio
import pickle

import pytest
from cryptography.exceptions import InvalidTag

from credstore.encryption import ClientSide, DataKey
from credstore.errors import (
    StorageAccessDeniedError,
    StorageConfigurationError,
    StorageDecryptionError,
    StorageInvalidRequestError,
    StorageUnavailableError,
)
from credstore.keyring.local import LocalKey
from credstore.keyring.ring import KeyCache, KeyRing
from credstore.keyring.wrapping import CallableKey
from credstore.pipeline import envelope, header
from credstore.pipeline.header import Binding, parse_header

OLD, NEW = LocalKey(bytes(32), key_id="old"), LocalKey(bytes(range(32)), key_id="new")
CALLS: list[bytes] = []


def reverse(data):
    CALLS.append(data)
    return data[::-1]


async def reverse_async(data):
    return reverse(data)


def reverse_later(data):
    return reverse_async(data)


@pytest.fixture(autouse=True)
def calls():
    CALLS.clear()


def run(coroutine):
    return asyncio.run(coroutine)


def ask(ring, key, store_id="store", **more):
    return run(ring.unwrap(key.key_id, key.wrapped, store_id=store_id, **more)).reveal()


def test_new_objects_get_the_current_key_and_old_ones_still_open():
    before = run(KeyRing(OLD).generate(store_id="store"))
    ring = KeyRing(NEW, older=[OLD])
    fresh = run(ring.generate(store_id="store"))
    assert (before.key_id, fresh.key_id, ring.current_id) == ("old", "new", "new")
    assert ask(ring, before) == before.reveal() != fresh.reveal() == ask(ring, fresh)
    assert len(fresh.reveal()) == 32
    assert [ring.knows(key_id) for key_id in ("old", "new", "other")] == [True, True, False]


def test_a_data_key_is_wrapped_anew():
    ring = KeyRing(NEW, older=[OLD])
    before = run(KeyRing(OLD).generate(store_id="store"))
    after = run(ring.wrap(before, store_id="store"))
    assert after.key_id == "new"
    assert ask(KeyRing(NEW), after) == before.reveal()


def test_each_data_key_is_another():
    ring = KeyRing(NEW)
    assert len({run(ring.generate(store_id="store")).reveal() for _ in range(50)}) == 50


def test_randomness_comes_from_outside():
    assert run(KeyRing(NEW, random=bytes).generate(store_id="store")).reveal() == bytes(32)


def test_an_unknown_key_is_the_error_of_a_wrong_one():
    key = run(KeyRing(OLD).generate(store_id="store"))
    texts = set()
    for ring, asked in (
        (KeyRing(NEW), key),
        (KeyRing(LocalKey(bytes(31) + b"x", key_id="old")), key),
        (KeyRing(OLD), DataKey(bytes(32), key_id="old", wrapped=b"junk")),
        (KeyRing(OLD), DataKey(key.reveal(), key_id="elsewhere", wrapped=key.wrapped)),
    ):
        with pytest.raises(StorageDecryptionError) as caught:
            ask(ring, asked)
        texts.add((str(caught.value), caught.value.code))
    assert texts == {(str(header.undecryptable()), "DECRYPTION_FAILED")}


def test_no_other_key_is_tried():
    plain = bytes(range(40, 72))
    wrapped = run(OLD.wrap(plain, "store"))
    with pytest.raises(StorageDecryptionError):
        run(KeyRing(NEW, older=[OLD]).unwrap("new", wrapped, store_id="store"))


def test_two_keys_of_one_id_are_refused():
    with pytest.raises(StorageConfigurationError, match="'old'"):
        KeyRing(OLD, older=[LocalKey(bytes(range(32)), key_id="old")])


@pytest.mark.parametrize("function", [reverse, reverse_async, reverse_later])
def test_callables_plain_or_async(function):
    ring = KeyRing(CallableKey("mine", function, function))
    key = run(ring.generate(store_id="store"))
    assert key.wrapped == key.reveal()[::-1]
    assert ask(ring, key) == key.reveal()


@pytest.mark.parametrize("failure", [ValueError("canary"), InvalidTag("canary")])
def test_a_callable_that_refuses_is_the_one_error(failure):
    def unwrap(data):
        raise failure

    with pytest.raises(StorageDecryptionError) as caught:
        run(KeyRing(CallableKey("mine", reverse, unwrap)).unwrap("mine", b"x", store_id="store"))
    assert str(caught.value) == str(header.undecryptable())
    assert caught.value.__context__ is None


def test_a_callable_that_fails_is_an_error_of_its_own_without_its_text():
    def fail(data):
        raise OSError("canary")

    ring = KeyRing(CallableKey("mine", fail, fail))
    for asking in (ring.generate(store_id="store"), ring.unwrap("mine", b"x", store_id="store")):
        with pytest.raises(StorageUnavailableError, match="OSError") as caught:
            run(asking)
        assert caught.value.retryable
        assert "canary" not in f"{caught.value}{caught.value.__context__}{caught.value.__cause__}"


def test_an_error_of_ours_passes_a_callable():
    def denied(data):
        raise StorageAccessDeniedError("no")

    ring = KeyRing(CallableKey("mine", denied, denied))
    for asking in (ring.generate(store_id="store"), ring.unwrap("mine", b"x", store_id="store")):
        with pytest.raises(StorageAccessDeniedError):
            run(asking)


@pytest.mark.parametrize("given", [b"", "text", None, bytes(7000)])
def test_a_callable_that_wraps_to_nonsense_is_an_error(given):
    with pytest.raises(StorageUnavailableError):
        run(KeyRing(CallableKey("mine", lambda data: given, reverse)).generate(store_id="store"))


@pytest.mark.parametrize("given", [b"", bytes(31), bytes(33)])
def test_a_data_key_of_another_length_is_the_one_error(given):
    with pytest.raises(StorageDecryptionError):
        run(KeyRing(CallableKey("mine", reverse, lambda data: given)).unwrap("mine", b"x", store_id="store"))


def unwraps(ring, key, times=1, **more):
    CALLS.clear()
    for _ in range(times):
        assert ask(ring, key, **more) == key.reveal()
    return len(CALLS)


def test_only_answers_from_elsewhere_are_remembered():
    key = DataKey(bytes(range(32)), key_id="mine", wrapped=bytes(range(32))[::-1])
    assert unwraps(KeyRing(CallableKey("mine", reverse, reverse)), key, 5) == 5
    remote = KeyRing(CallableKey("mine", reverse, reverse, remote=True))
    assert unwraps(remote, key, 5) == 1
    remote.forget()
    assert unwraps(remote, key, 5) == 1
    run(remote.aclose())
    assert unwraps(remote, key, 5) == 1


def test_a_key_of_this_machine_unwraps_without_waiting():
    ring = KeyRing(NEW, older=[OLD])
    for each in (ring, KeyRing(OLD)):
        made = run(each.generate(store_id="store"))
        found = ring.unwrap_here(made.key_id, made.wrapped)
        assert (found.reveal(), found.key_id, found.wrapped) == (made.reveal(), made.key_id, made.wrapped)
    with pytest.raises(StorageDecryptionError) as unknown:
        ring.unwrap_here("other", made.wrapped)
    short = run(OLD.wrap(bytes(16), "store"))
    refused = [unknown.value]
    for wrapped in (run(NEW.wrap(bytes(32), "store")), made.wrapped[:-1], b"", short):
        with pytest.raises(StorageDecryptionError) as caught:
            ring.unwrap_here("old", wrapped)
        refused.append(caught.value)
        with pytest.raises(StorageDecryptionError):
            run(ring.unwrap("old", wrapped, store_id="store"))
    assert {str(error) for error in refused} == {str(header.undecryptable())}


def test_a_key_of_this_machine_makes_data_keys_without_waiting():
    ring = KeyRing(NEW, older=[OLD], random=lambda size: b"r" * size)
    made = ring.generate_here()
    again = run(ring.generate(store_id="store"))
    assert (made.key_id, made.reveal(), made.wrapped) == ("new", b"r" * 32, again.wrapped)
    assert ask(ring, made) == made.reveal()
    assert KeyRing(NEW).generate_here().reveal() != KeyRing(NEW).generate_here().reveal()


class Reversed(LocalKey):
    async def generate(self, random, store_id):
        plain, wrapped = await super().generate(random, store_id)
        return plain[::-1], wrapped

    async def unwrap(self, wrapped, store_id):
        return (await super().unwrap(wrapped, store_id))[::-1]


def test_whatever_may_wait_or_unwraps_otherwise_is_asked():
    made = run(KeyRing(NEW).generate(store_id="store"))
    own = Reversed(bytes(range(32)), key_id="new")
    for ring in (
        KeyRing(own),
        KeyRing(NEW, cache=KeyCache()),
        KeyRing(CallableKey("new", reverse, reverse)),
        KeyRing(CallableKey("new", reverse, reverse, remote=True)),
    ):
        assert ring.unwrap_here("new", made.wrapped) is None
        assert ring.generate_here() is None
        with pytest.raises(StorageDecryptionError):
            ring.unwrap_here("other", made.wrapped)
    assert ask(KeyRing(own), made) == made.reveal()[::-1]


def test_a_remembered_key_ends_by_uses_age_and_number():
    now = [0.0]
    ring = KeyRing(
        CallableKey("mine", reverse, reverse), cache=KeyCache(2, max_age=10, max_uses=3), clock=lambda: now[0]
    )
    keys = [DataKey(bytes([n] * 32), key_id="mine", wrapped=bytes([n] * 32)) for n in range(3)]
    assert unwraps(ring, keys[0], 3) == 1
    assert unwraps(ring, keys[0], 3) == 1
    ring.forget()
    assert unwraps(ring, keys[0]) == 1
    now[0] = 9.9
    assert unwraps(ring, keys[0]) == 0
    now[0] = 10.0
    assert unwraps(ring, keys[0]) == 1
    assert unwraps(ring, keys[1]) == 1
    assert unwraps(ring, keys[0]) == 0  # So the other was used longest ago.
    assert unwraps(ring, keys[2]) == 1
    assert unwraps(ring, keys[0]) == 0
    assert unwraps(ring, keys[1]) == 1
    assert len(ring._remembered) == 2


def test_a_remembered_key_answers_for_nothing_else():
    ring = KeyRing(
        CallableKey("mine", reverse, reverse),
        older=[CallableKey("other", reverse, reverse)],
        cache=KeyCache(),
    )
    key = DataKey(bytes(range(32)), key_id="mine", wrapped=bytes(range(32))[::-1])
    assert unwraps(ring, key, suite=1, salt=b"a") == 1
    assert unwraps(ring, key, suite=1, salt=b"a") == 0
    assert unwraps(ring, key, suite=2, salt=b"a") == 1
    assert unwraps(ring, key, suite=1, salt=b"b") == 1
    assert unwraps(ring, key, suite=1, salt=b"a", store_id="elsewhere") == 1
    assert unwraps(ring, DataKey(key.reveal(), key_id="other", wrapped=key.wrapped), suite=1, salt=b"a") == 1


def test_a_poisoned_memory_opens_nothing():
    """Whatever the ring remembers, the commitment in the object's body decides."""
    ring = KeyRing(CallableKey("mine", reverse, reverse), cache=KeyCache())
    place = Binding("store", "a", "ab" * 16)
    key = run(ring.generate(store_id="store"))
    stored = envelope.Sealer(key, place, salt=bytes(32), chunk_size=4096, plain_size=5).seal(b"proof")
    found = parse_header(stored)

    def read():
        asking = ring.unwrap(
            found.key_id, found.wrapped, store_id="store", suite=found.suite, salt=found.salt
        )
        return envelope.Opener(found, run(asking), place).open(stored[found.size :])

    assert read() == b"proof"
    for remembered in ring._remembered.values():
        remembered.key = DataKey(bytes(32), key_id="mine", wrapped=found.wrapped)
    with pytest.raises(StorageDecryptionError):
        read()


@pytest.mark.parametrize(
    "settings",
    [{"size": 0}, {"max_uses": 0}, {"max_age": 0}, {"max_age": float("inf")}, {"max_age": float("nan")}],
)
def test_a_memory_without_bounds_is_refused(settings):
    with pytest.raises(StorageConfigurationError):
        KeyCache(**settings)


def test_nothing_shows_a_key():
    key = DataKey(b"canary key of thirty-two bytes!!", key_id="old", wrapped=b"w")
    ring = KeyRing(CallableKey("mine", reverse, reverse), older=[OLD])
    run(ring.wrap(key, store_id="store"))
    shown = ClientSide(ring, store_id="store")
    assert "canary" not in f"{key!r}{key}{ring!r}{shown!r}{ring.keys}"
    assert repr(ring) == "KeyRing(current='mine', older=['old'])"
    for thing in (key, ring, shown, *ring.keys.values()):
        with pytest.raises(TypeError, match="never pickled"):
            pickle.dumps(thing)


def test_a_ring_closes_with_its_block():
    async def use():
        async with KeyRing(CallableKey("mine", reverse, reverse, remote=True)) as ring:
            await ring.unwrap("mine", bytes(32), store_id="store")
        return len(ring._remembered)

    assert run(use()) == 0


@pytest.mark.parametrize("settings", [{"store_id": ""}, {"store_id": "é"}, {"store_id": "a\n"}, {"store_id": "k" * 256}, {"store_id": None}, {"store_id": "a", "chunk_size": 5000}, {"store_id": "a", "chunk_size": 2**23}])  # fmt: skip
def test_a_configuration_that_cannot_be_kept_is_refused(settings):
    with pytest.raises(StorageConfigurationError):
        ClientSide(KeyRing(OLD), **settings)


def test_a_data_keys_length():
    with pytest.raises(StorageInvalidRequestError):
        DataKey(bytes(31), key_id="a", wrapped=b"b")
    assert ClientSide(KeyRing(OLD), store_id="a store").required


@pytest.mark.parametrize("uses", [1, 3, 1000])
def test_many_readers_of_one_object_ask_the_key_service_once(uses):
    key = CallableKey("k", reverse_async, reverse_async, remote=True)

    async def main():
        ring = KeyRing(key, cache=KeyCache(max_uses=uses))
        data = await ring.generate(store_id="store")
        CALLS.clear()
        found = await asyncio.gather(*(ring.unwrap("k", data.wrapped, store_id="store") for _ in range(6)))
        assert [each.reveal() for each in found] == [data.reveal()] * 6
        assert len(CALLS) == -(-6 // uses)

    run(main())
