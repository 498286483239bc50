"""A prefix changes keys and nothing else: what goes down, what comes up, and what is pretended."""

import asyncio
import inspect
import time
from dataclasses import dataclass, replace

import pytest

from credstore import driver as contract
from credstore.config.stores import MemoryConfig
from credstore.driver import (
    BreaksCircuits,
    BytesBody,
    CopyRequest,
    Driver,
    KeepsConnections,
    LockingDriver,
    Page,
    PutRequest,
    ResumeToken,
    RetainingDriver,
    SignRequest,
    TaggedDriver,
    VerifiesLinks,
    VersionedDriver,
)
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import (
    StorageAccessDeniedError,
    StorageConfigurationError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
)
from credstore.model import Retention
from credstore.provider.provider import StorageProvider
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.strategies.prefixed import FORWARDED, PrefixedDriver, prefixed
from credstore.testing.harness import fetched, keys, put, request
from tests.conformance.versioned import VersionedMemory, Versions
from tests.drivers.s3.support import put_request
from tests.strategies.faulty import Faulty

# Values and seams of the contract, which a driver is not asked for.
NO_ABILITIES = {contract.Body, contract.Driver, contract.Journal}


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


def whole(objects: MemoryObjects) -> MemoryDriver:
    return MemoryDriver(MemoryConfig(), objects=objects)


def below(objects: MemoryObjects, prefix: str = "team/a/") -> Driver:
    return prefixed(whole(objects), prefix)


def test_it_sees_only_what_is_below_it(objects):
    async def main():
        for key in ("team/a/x", "team/a/y/z", "team/ab", "team/a", "team/ab/x", "x", "team/a0", "team/a/"):
            await put(whole(objects), key, key.encode())
        part = below(objects)
        assert await keys(part) == ["x", "y/z"]
        assert await keys(part, limit=1) == ["x", "y/z"]
        assert await keys(part, "y/") == ["y/z"]
        assert await fetched(part, "x") == b"team/a/x"
        for absent in ("b", "b/x", "0", "team/a/x"):
            assert await fetched(part, absent) is None
        outcomes = await part.delete_many(["x", "b", "team/a/x"])
        assert [(key, done.existed) for key, done in outcomes.items()] == [
            ("x", True),
            ("b", False),
            ("team/a/x", False),
        ]
        assert "team/ab" in objects.by_key
        assert await keys(whole(objects), "team/a/") == ["team/a/", "team/a/y/z"]

    asyncio.run(main())


def test_results_infos_and_errors_have_the_key_without_it(objects):
    class Complaining(MemoryDriver):
        async def head(self, key, options=contract.READ_ALL):
            try:
                return await super().head(key, options)
            except StorageNotFoundError as error:
                error.key = key
                raise

        async def delete_many(self, keys, *, deadline=None):
            return {key: StorageAccessDeniedError("locked", key=key) for key in keys}

    async def main():
        part = prefixed(Complaining(MemoryConfig(), objects=objects), "team/a/")
        # A key may look as if it had the prefix, and then has it twice.
        for key in ("x", "team/a/x"):
            assert (await put(part, key)).key == key
            assert (await part.head(key)).key == key
            async with await part.get(key) as reader:
                assert reader.info.key == key
            assert f"team/a/{key}" in objects.by_key
            source = await part.head(key)
            copied = await part.copy(CopyRequest(source=source, destination=f"{key}-copy", write_id="0" * 32))
            assert copied.key == f"{key}-copy"
            with pytest.raises(StorageNotFoundError) as caught:
                await part.head(f"{key}-nothing")
            assert caught.value.key == f"{key}-nothing"
            outcomes = await part.delete_many([key])
            assert [(name, error.key) for name, error in outcomes.items()] == [(key, key)]

    asyncio.run(main())


def test_what_a_store_tells_of_others_is_an_error(objects):
    class ListsEverything(MemoryDriver):
        async def list(self, prefix="", cursor=None, **options) -> Page:
            return await super().list("", cursor, **options)

    async def main():
        await put(whole(objects), "secret/of/others")
        with pytest.raises(StorageIntegrityError) as caught:
            await prefixed(ListsEverything(MemoryConfig(), objects=objects), "team/").list()
        assert caught.value.code == "LISTING"
        assert "secret" not in str(caught.value)

    asyncio.run(main())


def test_keys_are_shorter_by_it(objects):
    inner = whole(objects)
    able = inner.capabilities
    part = prefixed(inner, "ä/")
    assert part.capabilities == replace(able, max_key_size=able.max_key_size - 3)
    assert part.capabilities is part.capabilities


def test_a_prefix_that_leaves_nothing_of_a_key_is_refused():
    class Short(MemoryDriver):
        @property
        def capabilities(self):
            return replace(super().capabilities, max_key_size=255)

    with pytest.raises(StorageConfigurationError, match="255"):
        prefixed(Short(MemoryConfig()), "p" * 200 + "/")
    assert prefixed(Short(MemoryConfig()), "p/").capabilities.max_key_size == 253


def test_abilities_that_change_change_here_too(objects):
    class Changing(MemoryDriver):
        tags = True

        @property
        def capabilities(self):
            return replace(super().capabilities, tags=self.tags)

    inner = Changing(MemoryConfig())
    part = prefixed(inner, "p/")
    assert part.capabilities.tags
    inner.tags = False
    assert not part.capabilities.tags


class Plain(Driver):
    """A driver without optional protocols."""

    def __init__(self, inner: Driver) -> None:
        self._inner = inner


for _name in [name for name in vars(Driver) if not name.startswith("_")]:
    _is_fact = isinstance(vars(Driver)[_name], property)
    _forward = lambda self, *given, _name=_name, **named: getattr(self._inner, _name)(*given, **named)  # noqa: E731
    _fact = property(lambda self, _name=_name: getattr(self._inner, _name))
    setattr(Plain, _name, _fact if _is_fact else _forward)


class Circuits(Plain):
    circuits = {"host": "open"}  # noqa: RUF012


class Tags(Plain):
    async def get_tags(self, key, *, deadline=None):
        return {"key": key}

    async def put_tags(self, key, tags, *, deadline=None):
        self.put = key, tags


@pytest.mark.parametrize(
    ("inner", "abilities"),
    [
        (Plain(MemoryDriver(MemoryConfig())), set()),
        (Circuits(MemoryDriver(MemoryConfig())), {BreaksCircuits}),
        (Tags(MemoryDriver(MemoryConfig())), {TaggedDriver}),
        (MemoryDriver(MemoryConfig()), {TaggedDriver, VerifiesLinks, RetainingDriver, LockingDriver}),
        (VersionedMemory(Versions()), {TaggedDriver, VerifiesLinks, VersionedDriver, RetainingDriver, LockingDriver}),
        (
            FallbackDriver(MemoryDriver(MemoryConfig()), MemoryDriver(MemoryConfig())),
            {TaggedDriver, BreaksCircuits, KeepsConnections, VersionedDriver, RetainingDriver, LockingDriver},
        ),
    ],
    ids=lambda each: type(each).__name__,
)  # fmt: skip
def test_it_can_what_the_store_can_and_no_more(inner, abilities):
    part = prefixed(inner, "p/")
    assert {each for each in FORWARDED if isinstance(part, each)} == abilities
    assert isinstance(part, PrefixedDriver)
    twice = prefixed(part, "q/")
    assert {each for each in FORWARDED if isinstance(twice, each)} == abilities


def test_what_is_forwarded_speaks_of_keys_without_the_prefix():
    async def main():
        part = prefixed(Tags(MemoryDriver(MemoryConfig())), "p/")
        assert await part.get_tags("x") == {"key": "p/x"}
        await part.put_tags("x", {"a": "1"})
        assert part._inner.put == ("p/x", {"a": "1"})
        assert prefixed(Circuits(MemoryDriver(MemoryConfig())), "p/").circuits == {"host": "open"}

    asyncio.run(main())


def test_versions_below_the_prefix_are_removed_and_no_others():
    async def main():
        versions = Versions()
        part = prefixed(VersionedMemory(versions), "p/")
        for driver, key in ((part, "a"), (part, "ab"), (part._inner, "a"), (part._inner, "pa")):
            for data in (b"one", b"second"):
                await driver.put(put_request(key, data))
        assert await part.keeps_versions()
        held = versions.ids("p/ab")[0]
        versions.locks["p/ab", held] = Retention(legal_hold=True)
        assert (await part.get_retention("ab", held)).legal_hold
        async with StorageProvider(part, MemoryConfig()) as provider:
            assert [each.key for each in await provider.list_versions("a", exact=True)] == ["a", "a"]
            assert (await provider.delete_versions("a", exact=True)).complete
            assert versions.names() == ["a", "p/ab", "pa"]
            result = await provider.delete_versions("a")
            assert [(each.key, each.error.key) for each in result.remaining] == [("ab", "ab")]
            assert versions.names() == ["a", "p/ab", "pa"]

    asyncio.run(main())


def test_every_optional_protocol_of_the_contract_is_forwarded():
    """One that is added to `driver/contract.py` and forgotten here would be lost below a prefix without a word."""
    protocols = {
        each
        for _, each in inspect.getmembers(contract, inspect.isclass)
        if getattr(each, "_is_protocol", False) and each.__module__.startswith(contract.__name__)
    }
    assert protocols - NO_ABILITIES == set(FORWARDED)


def test_no_prefix_is_the_driver_itself(objects):
    inner = whole(objects)
    assert prefixed(inner, "") is inner


def test_links_are_checked_only_for_what_is_below(objects):
    async def main():
        part, beside = below(objects), below(objects, "team/b/")
        now = time.time()

        def granted(driver, signed):
            path, _, query = signed.url.removeprefix("http://127.0.0.1:8765").partition("?")
            return driver.verify_link("GET", path, dict(each.split("=") for each in query.split("&")), now)

        link = await part.sign(SignRequest(key="x", expires_in=60))
        assert "/team/a/x?" in link.url
        assert granted(part, link).key == "x"
        assert granted(whole(objects), link).key == "team/a/x"
        above = await whole(objects).sign(SignRequest(key="team/a/", expires_in=60))
        for driver, wrong in ((beside, link), (part, above)):
            with pytest.raises(StorageAccessDeniedError) as caught:
                granted(driver, wrong)
            assert caught.value.code == "LINK_INVALID"

    asyncio.run(main())


@pytest.mark.parametrize("status", [403, None])
def test_credentials_for_the_prefix_alone_are_healthy(objects, status):
    class Limited(MemoryDriver):
        asked = []  # noqa: RUF012

        async def ping(self, *, deadline=None):
            raise StorageAccessDeniedError("not the whole of it", status_code=status)

        async def list(self, prefix="", cursor=None, *, limit=1000, **options):
            self.asked.append((prefix, limit))
            return await super().list(prefix, cursor, limit=limit, **options)

    inner = Limited(MemoryConfig(), objects=objects)
    inner.asked = []
    if status is None:  # A disk that cannot be written is not made well by listing it.
        with pytest.raises(StorageAccessDeniedError):
            asyncio.run(prefixed(inner, "p/").ping())
    else:
        asyncio.run(prefixed(inner, "p/").ping())
        assert inner.asked == [("p/", 1)]


@dataclass
class Kept:
    """A journal in memory."""

    token: ResumeToken | None = None

    async def load(self):
        return self.token

    async def save(self, token):
        self.token = token

    async def clear(self):
        self.token = None


TOKEN = ResumeToken(
    place="https://s3.example.com/bucket", key="team/a/x", size=1, digest="d", part_size=1, upload_id="u",
    write_id="w", options="o",
)  # fmt: skip


class Journaling(MemoryDriver):
    """Saves a token and loads it."""

    def __init__(self, token=TOKEN) -> None:
        super().__init__(MemoryConfig())
        self.token = token
        self.loaded = None

    async def put(self, request: PutRequest):
        self.loaded = await request.journal.load()
        await request.journal.save(self.token)
        return await super().put(request)


def write(driver, journal, key="x"):
    asyncio.run(driver.put(replace(request(key), journal=journal)))


def test_a_journal_has_keys_without_the_prefix_and_the_prefix_in_its_place():
    journal, inner = Kept(), Journaling()
    write(prefixed(inner, "team/a/"), journal)
    assert inner.loaded is None
    assert (journal.token.key, journal.token.place) == ("x", "https://s3.example.com/bucket/team/a/")
    write(prefixed(inner, "team/a/"), journal)
    assert inner.loaded == TOKEN


@pytest.mark.parametrize(
    ("prefix", "key", "place"),
    [
        ("team/b/", "x", "https://s3.example.com/bucket/team/a/"),
        ("team/a/", "y", "https://s3.example.com/bucket/team/a/"),
        ("team/a/", "x", "https://s3.example.com/bucket"),
        ("a/", "x", "https://s3.example.com/bucketa/"),
    ],
)
def test_a_journal_of_another_upload_is_refused(prefix, key, place):
    journal = Kept(replace(TOKEN, key="x", place=place))
    with pytest.raises(StorageInvalidRequestError) as caught:
        write(prefixed(Journaling(), prefix), journal, key)
    assert caught.value.code == "RESUME_MISMATCH"
    assert "'x'" in str(caught.value)


def test_a_fallback_keeps_its_note_below_the_prefix(objects):
    async def main():
        first, kept = Faulty("first"), MemoryObjects()
        first.mode = "down"
        both = FallbackDriver(prefixed(first, "one/"), prefixed(whole(kept), "two/"))
        assert (await put(both, "k", b"1")).key == "k"
        assert sorted(kept.by_key) == ["two/.credstore/failover", "two/k"]
        first.mode = "well"
        assert await keys(both) == ["k"]
        assert await fetched(both, "k") == b"1"

    asyncio.run(main())


def test_bodies_and_all_else_of_a_write_arrive_as_given(objects):
    seen = []

    class Looking(MemoryDriver):
        async def put(self, request):
            seen.append(request)
            return await super().put(request)

    async def main():
        given = PutRequest(key="k", body=BytesBody(b"x"), write_id="1" * 32, tags={"a": "b"})
        await prefixed(Looking(MemoryConfig(), objects=objects), "p/").put(given)
        assert seen == [replace(given, key="p/k")]

    asyncio.run(main())
