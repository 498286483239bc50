"""Listings of what others stored: in the server's own order, and with entries that are odd (faults D2, D3)."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from credstore import MemoryConfig
from credstore.config.stores import S3CompatibleConfig
from credstore.drivers.memory import MemoryDriver
from credstore.errors import StorageError, StorageIntegrityError, StorageInvalidKeyError
from credstore.provider import scanning
from credstore.provider.provider import StorageProvider
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.testing import ScriptedTransport
from tests.drivers.s3.fake import Answer, FakeS3, Stored, error, xml
from tests.drivers.s3.support import make_driver


def row(key, size="1", more=""):
    return f"<Contents><Key>{key}</Key><Size>{size}</Size>{more}</Contents>"


def page(*rows, token=None, encoded=True, prefixes=()):
    text = "".join(rows) + "".join(
        f"<CommonPrefixes><Prefix>{each}</Prefix></CommonPrefixes>" for each in prefixes
    )
    coded = "<EncodingType>url</EncodingType>" if encoded else ""
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    truncated = "true" if token else "false"
    return xml(
        f"<ListBucketResult>{coded}<IsTruncated>{truncated}</IsTruncated>{more}{text}</ListBucketResult>"
    )


class Lister(FakeS3):
    """Answers listings with pages: the n-th by its token, the first without one."""

    def __init__(self, *pages, **objects) -> None:
        super().__init__()
        self.pages = pages
        for key, body in objects.items():
            self.objects[key] = Stored({}, body)

    def apply(self, seen):
        if "list-type" in seen.query:
            found = self.pages[int(seen.query.get("continuation-token", 0))]
            return found(seen) if callable(found) else found
        return super().apply(seen)


@asynccontextmanager
async def opened(server, flavor="generic", **settings):
    driver = make_driver(
        server.url,
        kind=S3CompatibleConfig,
        flavor=flavor,
        transport=ScriptedTransport(server.respond),
        **settings,
    )
    async with StorageProvider(driver, driver._bucket.config) as store:
        yield store


def run(test, server, **settings):
    async def main():
        async with opened(server, **settings) as store:
            return await test(store)

    return asyncio.run(main())


def keys(found):
    return [item.key for item in found]


async def scanned(store, *args, **options):
    return [getattr(each, "key", None) or each.prefix async for each in store.scan(*args, **options)]


OWN_ORDER = (page(row("obj/"), row("obj%2B"), token=1), page(row("z"), row("a"), token=2), page(row("m")))


def test_a_server_may_list_in_an_order_of_its_own_where_it_promised_none():
    async def test(store):
        assert await scanned(store) == ["obj+", "obj/", "a", "z", "m"]  # Of a page the names ascend.
        assert keys(await store.list()) == ["a", "m", "obj+", "obj/", "z"]
        assert keys(await store.list(max_keys=3)) == ["a", "obj+", "obj/"]
        assert keys(await store.list(start_after="m")) == ["obj+", "obj/", "z"]
        assert "start-after" not in {name for seen in server.log for name in seen.query}
        assert (await store.get_stats()).total_objects == 5

    server = Lister(*OWN_ORDER)
    run(test, server)


@pytest.mark.parametrize("flavor", ["minio", "ceph"])
def test_one_that_promised_to_ascend_has_to(flavor):
    async def test(store):
        with pytest.raises(StorageIntegrityError, match="out of order"):
            await store.list()

    run(test, Lister(*OWN_ORDER), flavor=flavor)


def test_prefixes_come_in_any_order_too():
    async def test(store):
        assert await scanned(store, delimiter="/") == ["a/", "b", "c/", "a"]
        found = await store.list(delimiter="/")
        assert (keys(found), found.prefixes) == (["a", "b"], ("a/", "c/"))

    run(test, Lister(page(row("b"), prefixes=["c/", "a/"], token=1), page(row("a"))))


@pytest.mark.parametrize(
    "pages",
    [
        (page(row("b"), row("a"), row("b")),),
        (page(row("b"), token=1), page(row("a"), token=2), page(row("b"))),
        (page(row("b"), token=1), page(row("a"), token=1)),
        (page(row("b"), token=1), page(token=2), page(token=1)),
        (page(prefixes=["b/"], token=1), page(prefixes=["b/"])),
    ],
    ids=["on-a-page", "later", "same-token", "circle", "prefix"],
)
def test_what_comes_again_is_noticed_in_any_order(pages):
    async def test(store):
        with pytest.raises(StorageIntegrityError) as caught:
            await store.list(delimiter="/")
        assert caught.value.code == "LISTING"

    run(test, Lister(*pages))


def test_a_long_circle_is_noticed_by_its_pages_though_few_names_are_remembered(monkeypatch):
    monkeypatch.setattr("credstore.driver.repeats.REMEMBERED", 3)

    def numbered(seen):
        at = int(seen.query.get("continuation-token", 0))
        return page(row(f"k{(at * 7) % 10}"), token=at + 1)  # New tokens for ever.

    async def test(store):
        with pytest.raises(StorageIntegrityError, match="circles"):
            await scanned(store)

    run(test, Lister(*[numbered] * 30))


def test_a_fallback_sorts_the_member_that_does_not():
    async def test(store):
        other = MemoryDriver(MemoryConfig())
        both = FallbackDriver(store._session.driver, other)
        async with StorageProvider(both, MemoryConfig()) as pair:
            assert pair.capabilities.ordered
            assert await scanned(pair) == ["a", "m", "obj+", "obj/", "z"]
            assert keys(await pair.list(max_keys=2)) == ["a", "m"]

    run(test, Lister(*OWN_ORDER))


@pytest.mark.parametrize("size", ["-1", "", "x", "9" * 30, "1.5"])
def test_a_size_that_is_none_is_looked_up(size):
    async def test(store):
        found = await store.list()
        assert [(item.key, item.size) for item in found] == [("a", 1), ("b", 4), ("c", 1)]
        assert (await store.get_stats()).total_size == 6
        assert found.refused == {}

    run(test, Lister(page(row("a"), row("b", size), row("gone", size), row("c")), b=b"data"))


def test_one_object_that_cannot_be_shown_is_told_of_when_the_rest_was_given():
    async def test(store):
        server.plan("HEAD", Answer(403, b"", {"x-amz-request-id": "1"}), times=99)
        server.plan("GET", error(403, "AccessDenied"), query="no", times=99)
        found = await store.list()
        assert keys(found) == ["a", "z"]
        assert set(found.refused) == {"caf\\xe9", "", "b"}
        assert found.refused["caf\\xe9"].code == "UNREADABLE_ENTRY"
        assert found.refused["b"].key == "b"
        seen = []

        async def scan():
            async for item in store.scan():
                seen.append(item.key)  # noqa: PERF401 - what came before the end counts

        with pytest.raises(StorageIntegrityError, match="and 2 more") as caught:
            await scan()
        assert (seen, caught.value.code) == (["a", "z"], "UNREADABLE_ENTRY")
        with pytest.raises(StorageError):
            await store.get_stats()

    class Refusing(Lister):
        def apply(self, seen):
            if seen.key == "b" and seen.method == "GET":
                return error(403, "AccessDenied")
            return super().apply(seen)

    server = Refusing(page(row("a"), row("caf%E9"), row(""), row("b", "-1"), row("z")))
    run(test, server)


ODD = ["tab%09bed", "nul%01", "%2F%2Flead", "a%2F..%2Fb", "x" * 1500, "%EF%BF%BE", "%20edge%20"]


def test_keys_that_no_verb_takes_are_listed_and_refused_by_name():
    async def test(store):
        found = await store.list()
        assert len(found) == len(ODD)
        assert found.refused == {}
        for item in found[:-1]:
            if not item.key.startswith(("//", " edge")):
                with pytest.raises(StorageInvalidKeyError) as caught:
                    await store.exists(item.key)
                assert caught.value.key
        assert (await store.get_stats()).total_objects == len(ODD)

    run(test, Lister(page(*map(row, ODD))))


def test_characters_that_xml_has_not_are_asked_for_once_more_encoded():
    def answer(seen):
        if seen.query.get("encoding-type") == "url":
            return page(row("a%01b"), row("c"))
        return page(row("a&#1;b"), row("c"), encoded=False)

    async def test(store):
        assert keys(await store.list()) == ["a\x01b", "c"]

    run(test, Lister(answer), flavor="ceph")


def test_pages_without_names_end_in_an_error_in_any_order(monkeypatch):
    monkeypatch.setattr(scanning, "EMPTY_PAGES", 5)

    async def test(store):
        with pytest.raises(StorageIntegrityError, match="circles"):
            await store.list()

    run(test, Lister(*(page(token=number + 1) for number in range(20))))


@pytest.mark.parametrize(
    ("name", "key", "refused"),
    [
        (b"b&#x1;c", "b\x01c", None),
        (b"b&#1;c&#x41;&amp;#x1;", "b\x01cA&#x1;", None),
        (b"b\x01c", "b\x01c", None),
        (b"b\x00c", "b\x00c", None),
        ("b\ufffec".encode(), "b\ufffec", None),
        ("b\ue000\x01\ue001".encode(), "b\ue000\x01\ue001", None),
        (b"b\xffc", None, "b\\xffc"),
        (b"b&#xD800;c", None, "b\\ud800c"),
    ],
)
def test_a_name_that_xml_cannot_carry_ends_no_listing_of_a_server_that_encodes_none(name, key, refused):
    plain = page(row("a"), row("NAME"), row("d"), encoded=False)
    listed = Answer(200, plain.body.replace(b"NAME", name), plain.headers)

    async def test(store):
        found = await store.list()
        assert keys(found) == [each for each in ("a", key, "d") if each]
        assert list(found.refused) == ([refused] if refused else [])

    run(test, Lister(listed))


def test_text_that_nobody_asked_for_ends_no_listing():
    async def test(store):
        assert keys(await store.list()) == ["a", "d"]

    owner = "<Owner><DisplayName>&#x2;</DisplayName></Owner>"
    run(test, Lister(page(row("a", more=owner), row("d"), encoded=False)))


@pytest.mark.parametrize("said", ["False", "FALSE", " false\n", "0"])
def test_a_boolean_is_one_in_every_spelling(said):
    async def test(store):
        assert keys(await store.list()) == ["a", "b"]

    def spelled(answer, word, said):
        return Answer(200, answer.body.replace(word, said.encode()), answer.headers)

    first = spelled(page(row("a"), token=1), b">true<", ">True<")
    run(test, Lister(first, spelled(page(row("b")), b">false<", f">{said}<")))
