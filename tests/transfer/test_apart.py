"""Two places that share a store: whatever is made of it, a transfer between them loses nothing."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from credstore import (
    ClientSide,
    KeyRing,
    LocalConfig,
    LocalKey,
    LocalStorageProvider,
    MemoryStorageProvider,
    StorageConfigurationError,
    StorageFactory,
    StorageInvalidRequestError,
    cached,
)
from credstore.provider.homes import Home, Site, meet, sites_of
from credstore.replicas import add_replica
from credstore.strategies.cached.disk import CacheDirectory
from credstore.strategies.table import STRATEGIES
from credstore.transfer import Alone, Under, compare, copy_tree, journal_name, migrate, sync
from credstore.transfer.places import check_apart, side_of
from tests.transfer.ends import make_tree, tree_of

SEVERAL = sorted(set(STRATEGIES) - {"PRIMARY_ONLY"})
VERBS = {
    "migrate": lambda one, two: migrate(one, two, delete_source=True),
    "sync": lambda one, two: sync(one, two, delete=True, max_delete=None),
    "copy_tree": copy_tree,
}
OBJECTS = {"k1": b"1" * 3000, "k2": b"2", "d/k3": b"3" * 70_000}
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
KEYS |= {"CREDSTORE_ACCESS_KEY_ID": "id", "CREDSTORE_SECRET_ACCESS_KEY": "secret"}


def url(path: Path, query="") -> str:
    return f"file://{path}{query and '?'}{query}"


async def filled(path: Path, prefix="") -> LocalStorageProvider:
    store = LocalStorageProvider(LocalConfig(path=path))
    for key, data in OBJECTS.items():
        await store.store(prefix + key, data)
    return store


async def has_all(store, prefix="") -> bool:
    return all([await store.retrieve(prefix + key) == data for key, data in OBJECTS.items()])


async def refused(verb, one, two) -> None:
    with pytest.raises(StorageInvalidRequestError, match="the same place"):
        await VERBS[verb](one, two)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("strategy", [*SEVERAL, "fallback"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_member_is_not_apart_from_what_it_is_a_member_of(tmp_path, verb, strategy, at, reverse):
    async def run():
        roots = [tmp_path / name for name in ("b", "c")]
        roots.insert(at, tmp_path / "a")
        urls = [url(root) for root in roots]
        async with StorageFactory(environ={}) as factory, await filled(tmp_path / "a") as member:
            if strategy == "fallback":
                whole = factory.create_with_fallback(*urls[at - 1 if at else 0 :][:2])
            else:
                whole = factory.create_multi(urls, strategy=strategy)
            await refused(verb, *((whole, member) if reverse else (member, whole)))
            assert await has_all(member)
            assert await has_all(whole) or strategy in {"REDUNDANT", "PERFORMANCE_OPTIMIZED"}

    asyncio.run(run())


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "what", ["dedup", "cache", "cached", "twice", "sealed", "key", "group", "primary", "upper"]
)
def test_a_store_is_not_apart_from_another_view_of_it(tmp_path, what, verb, reverse):
    async def run():
        root = tmp_path / "a"
        async with (
            StorageFactory(environ={}) as factory,
            AsyncExitStack() as stack,
            await filled(root) as store,
        ):

            async def private(**options):
                made = LocalStorageProvider(LocalConfig(path=root), **options)
                return await stack.enter_async_context(made)

            policy = ClientSide(KeyRing(LocalKey(bytes(32))), store_id="s", required=False)
            made = {
                "dedup": lambda: factory.create(url(root, "dedup=true")),
                "cache": lambda: factory.create(url(root, f"cache={tmp_path / 'near'}")),
                "group": lambda: factory.create(url(root, "group_commit=true")),
                "primary": lambda: factory.create_multi([url(root), url(tmp_path / "b")], "PRIMARY_ONLY"),
                "upper": lambda: factory.create(url(tmp_path)),
            }
            if what in made:
                other = made[what]()
            elif what == "sealed":
                other = await private(encryption=policy)
            elif what == "key":
                key = tmp_path / "key"
                key.write_text("00" * 32)
                key.chmod(0o600)
                other = factory.create(LocalConfig(path=root, wrapping_key=key, store_id="s"))
            else:
                other = cached(await private(), tmp_path / "near")
                if what == "twice":
                    other = cached(other, tmp_path / "nearer")
                stack.push_async_callback(other.aclose)
            await refused(verb, *((other, store) if reverse else (store, other)))
            assert await has_all(store)

    asyncio.run(run())


@pytest.mark.parametrize("strategy", [*SEVERAL, "fallback"])
def test_the_prefix_of_each_member_counts(tmp_path, strategy):
    async def run():
        urls = [url(tmp_path / "b", "prefix=p"), url(tmp_path / "a", "prefix=q")]
        async with StorageFactory(environ={}) as factory, await filled(tmp_path / "a", "q/x/") as member:
            whole = (
                factory.create_with_fallback(*urls)
                if strategy == "fallback"
                else factory.create_multi(urls, strategy=strategy)
            )
            for mine, theirs in (("", ""), ("q/", ""), ("q/x/", "x/"), ("q/x/", ""), ("q/x/d/", "x/")):
                for pair in (
                    (Under(member, mine), Under(whole, theirs)),
                    (Under(whole, theirs), Under(member, mine)),
                ):
                    await refused("migrate", *pair)
            assert await has_all(member, "q/x/")
            for key, data in OBJECTS.items():  # Nothing of the members' is there.
                await member.store(f"p/x/{key}", data)
            assert (await migrate(Under(member, "p/x/"), Under(whole, "y/"), delete_source=True)).complete
            assert await has_all(whole, "y/")
            assert [item.key for item in await member.list("p/")] == []
            # Inside the one store that both are, as well.
            assert (await migrate(Under(whole, "y/"), Under(whole, "z/"), delete_source=True)).complete
            assert await has_all(whole, "z/")
            await refused("migrate", Under(whole, "z/"), whole)

    asyncio.run(run())


def test_members_of_two_strategies_are_compared_with_each_other(tmp_path):
    async def run():
        a, b, c, d = (url(tmp_path / name) for name in "abcd")
        async with StorageFactory(environ={}) as factory:
            one, two = factory.create_with_fallback(a, b), factory.create_multi([c, b], "LOAD_BALANCED")
            other = factory.create_multi([c, d], "LOAD_BALANCED")
            await one.store("k", b"1")
            await refused("migrate", one, two)
            await refused("migrate", two, one)
            assert (await migrate(one, other, delete_source=True)).complete
            assert await other.retrieve("k") == b"1"

    asyncio.run(run())


@pytest.mark.parametrize("reverse", [False, True])
def test_one_object_is_not_moved_onto_itself_by_another_way(tmp_path, reverse):
    async def run():
        async with StorageFactory(environ={}) as factory, await filled(tmp_path / "a") as member:
            whole = factory.create_with_fallback(url(tmp_path / "b"), url(tmp_path / "a"))
            one, two = (whole, member) if reverse else (member, whole)
            await refused("migrate", Alone(one, "k1"), two)
            await refused("migrate", Alone(Under(one, "d/"), "k3", "d/k3"), two)
            assert await has_all(member)
            assert (await migrate(Alone(one, "k1", "n"), two, delete_source=True)).complete
            assert await whole.retrieve("n") == OBJECTS["k1"]

    asyncio.run(run())


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("which", ["a", "above", "inside", "cache", "member cache"])
def test_a_folder_is_apart_from_every_member_and_cache(tmp_path, which, reverse):
    async def run():
        home = tmp_path / "home"
        make_tree(home, {"notes": b"n"})
        async with StorageFactory(environ={}) as factory:
            near = f"cache={home / 'near'}" if which == "member cache" else ""
            whole = factory.create_with_fallback(url(tmp_path / "b"), url(home / "a", near))
            if which == "cache":
                whole = cached(whole, home / "near")
            await whole.store("k", b"1")
            (home / "near").mkdir(exist_ok=True)
            folder = {"a": home / "a", "inside": home / "a/d", "above": home}.get(which, home / "near")
            before = tree_of(home)
            await refused("migrate", *((whole, folder) if reverse else (folder, whole)))
            await refused("sync", *((whole, folder) if reverse else (folder, whole)))
            assert tree_of(home) == before
            await whole.aclose()

    asyncio.run(run())


def test_a_cache_may_be_in_a_folder_that_is_copied(tmp_path):
    async def run():
        make_tree(tmp_path / "home", {"notes": b"n"})
        async with cached(MemoryStorageProvider(), tmp_path / "home/.cache") as store:
            await store.store("k", b"1")
            assert await store.retrieve("k") == b"1"
            assert (await copy_tree(tmp_path / "home", store, exclude=[".cache/**"])).complete
            assert await store.retrieve("notes") == b"n"
            await refused("sync", tmp_path / "home/.cache", store)

    asyncio.run(run())


def test_one_file_may_come_from_beside_a_store_but_not_from_inside(tmp_path):
    async def run():
        make_tree(tmp_path, {"file": b"f"})
        async with await filled(tmp_path / "a") as store:
            assert (await copy_tree(Alone(tmp_path, "file"), store)).complete
            assert (await copy_tree(Alone(store, "k2"), tmp_path)).complete
            for name in ("a/k1", "a/k2"):
                await refused("migrate", Alone(tmp_path, name, "k2"), store)
                await refused("migrate", Alone(store, "k2", name), tmp_path)
            assert await has_all(store)
            assert (tmp_path / "k2").read_bytes() == OBJECTS["k2"]

    asyncio.run(run())


@pytest.mark.parametrize("leads", ["a", "a/d", "up"])
def test_links_that_are_followed_do_not_lead_into_the_other_end(tmp_path, leads):
    async def run():
        make_tree(tmp_path / "home", {"notes": b"n"})
        (tmp_path / "up").mkdir()
        (tmp_path / "up/in").symlink_to(tmp_path / "a")
        (tmp_path / "home/link").symlink_to(tmp_path / leads)
        async with StorageFactory(environ={}) as factory, await filled(tmp_path / "a") as store:
            whole = factory.create_with_fallback(url(tmp_path / "b"), url(tmp_path / "a"))
            report = await migrate(tmp_path / "home", whole, delete_source=True, links="follow")
            assert [event.detail for event in report.events if event.kind == "refused"] == [
                "a symbolic link leads into the other end of the transfer"
            ]
            assert await has_all(store)
            assert await whole.retrieve("notes") == b"n"

    asyncio.run(run())


def test_a_store_is_the_same_however_it_is_written(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    written = [
        f"file://{tmp_path}/a",
        f"file://{tmp_path}/link",
        f"file://{tmp_path}/b/../a",
        "file:a",
        "file:./link",
    ]
    cloud = [
        "custom://h.example/proofs?region=us-east-1",
        "custom://h.example:443/proofs?region=us-east-1",
        "custom://H.EXAMPLE/proofs?region=us-east-1",
        "s3://proofs?endpoint=https://h.example/&region=us-east-1",
        "s3://proofs?endpoint=https://h.example:443&region=eu-west-1",
    ]
    aws = [
        "s3://proofs?region=us-east-1",
        "s3://proofs?region=us-east-1&dual_stack=true",
        "s3://proofs?endpoint=https://s3.us-east-1.amazonaws.com:443/&region=us-east-1",
    ]
    factory = StorageFactory(environ=KEYS)

    async def run():
        for same in (written, cloud, aws):
            for text in same[1:]:
                whole = factory.create_with_fallback(url(tmp_path / "other"), text)
                with pytest.raises(StorageInvalidRequestError, match="the same place"):
                    check_apart(side_of(factory.create(same[0])), side_of(whole))
        for text in (url(tmp_path / "ab"), "custom://h.example:444/proofs?region=us-east-1"):
            whole = factory.create_with_fallback(url(tmp_path / "other"), text)
            for same in (written, cloud, aws):
                check_apart(side_of(factory.create(same[0])), side_of(whole))
        await factory.aclose()

    asyncio.run(run())


def test_a_directory_that_is_mounted_twice_is_one(tmp_path, monkeypatch):
    for name in ("a/x", "mount/x", "c"):
        (tmp_path / name).mkdir(parents=True)
    real = Path.stat

    def stat(path, **options):  # What a bind mount of a at mount looks like.
        text = str(path).replace(str(tmp_path / "mount"), str(tmp_path / "a"))
        return real(Path(text), **options)

    monkeypatch.setattr(Path, "stat", stat)
    mounted = Site(tmp_path / "mount", "x/")
    assert meet(Site(tmp_path / "a"), mounted)
    assert meet(Site(tmp_path / "a/x"), mounted)
    assert not meet(Site(tmp_path / "a", "y/"), mounted)
    assert not meet(Site(tmp_path / "c"), mounted)


def test_a_store_in_memory_is_its_own_alone(tmp_path):
    async def run():
        async with MemoryStorageProvider() as one, MemoryStorageProvider() as two:
            await one.store("k", b"1")
            assert (await copy_tree(one, two)).complete
            near = cached(one, tmp_path / "near")
            await refused("migrate", one, near)
            await refused("migrate", near, one)
            assert (await copy_tree(Under(near, "k"), Under(near, "n"))).complete
            await near.aclose()

    asyncio.run(run())


def test_a_new_replica_is_none_of_those_that_are_there(tmp_path):
    async def run():
        async with StorageFactory(environ={}) as factory:
            for at in ("a", "b/x", "."):
                whole = factory.create_multi([url(tmp_path / "a"), url(tmp_path / "b")])
                async with LocalStorageProvider(LocalConfig(path=tmp_path / at)) as again:
                    with pytest.raises(StorageInvalidRequestError, match="keep the replicas"):
                        await add_replica(whole, again)
            other = LocalStorageProvider(LocalConfig(path=tmp_path / "c"))
            await whole.store("k", b"1")
            assert (await add_replica(whole, other)).equal
            async with LocalStorageProvider(LocalConfig(path=tmp_path / "c")) as third:
                await refused("migrate", third, whole)

    asyncio.run(run())


def test_a_journal_is_of_all_members(tmp_path):
    async def run():
        a, b, c = (url(tmp_path / name) for name in "abc")
        async with StorageFactory(environ={}) as factory, MemoryStorageProvider() as source:
            one, two = factory.create_multi([a, b]), factory.create_multi([a, c])
            assert journal_name(source, one) != journal_name(source, two)
            assert journal_name(source, factory.create_multi([a, b], write_quorum=2)) == journal_name(
                source, one
            )
            plain = factory.create(a)
            near = cached(LocalStorageProvider(LocalConfig(path=tmp_path / "a")), tmp_path / "near")
            assert journal_name(source, near) == journal_name(source, plain)
            await source.store("k", b"1")
            options = {"journal": tmp_path / "journal"}
            assert (await copy_tree(source, one, **options)).complete
            await near.aclose()

    asyncio.run(run())


def test_a_member_may_be_compared_with_the_whole(tmp_path):
    async def run():
        async with StorageFactory(environ={}) as factory:
            whole = factory.create_multi([url(tmp_path / "a"), url(tmp_path / "b")], "REDUNDANT")
            await whole.store("k", b"1")
            assert (await compare(whole, factory.create(url(tmp_path / "b")))).equal

    asyncio.run(run())


def test_a_cache_is_in_none_of_the_stores(tmp_path):
    async def run():
        factory = StorageFactory(environ={})
        a = tmp_path / "a"
        for near in (a, a / "near", tmp_path):
            with pytest.raises(StorageConfigurationError, match="the directory of the store itself"):
                factory.create(url(a, f"cache={near}"))
            with pytest.raises(StorageConfigurationError, match="a cache"):
                factory.create_multi([url(tmp_path / "b"), url(a), f"memory:x?cache={near}"])
            with pytest.raises(StorageConfigurationError, match="a cache"):
                factory.create_with_fallback(f"memory:x?cache={near}", url(a))
            whole = factory.create_with_fallback("memory:x", url(a))
            with pytest.raises(StorageInvalidRequestError, match="the directory of the store itself"):
                cached(whole, near)
        await factory.aclose()

    asyncio.run(run())


def test_a_cache_makes_room_by_its_own_files_alone(tmp_path):
    foreign = make_tree(tmp_path / "near", {"ab/photo.json": b"p" * 900, "photos/" + "a" * 64: b"q" * 900})
    entry = tmp_path / "near/ab" / ("ab" + "0" * 62)
    entry.write_bytes(b"e" * 900)
    CacheDirectory(foreign, 1000)._make_room(500)
    assert tree_of(foreign) == {"ab/photo.json": b"p" * 900, "photos/" + "a" * 64: b"q" * 900}


def test_sites_of_the_same_store_are_named_once():
    config = LocalConfig(path="/srv/proofs", prefix="team")
    assert sites_of([Home(config), Home(config)]) == [Site(Path("/srv/proofs").resolve(), "team/")]
