"""The pytest plugin: what its fixtures give, how faults look to a caller, and what it costs when pytest starts."""

import asyncio
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from credstore import (
    StorageAccessDeniedError,
    StorageConnectionError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageProvider,
    StorageQuotaExceededError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from credstore.config.local import MemoryConfig
from credstore.testing import Fault
from credstore.testing.faults import KINDS, VERBS, FaultyDriver

KIND_ERRORS = {
    "unavailable": (StorageUnavailableError, "no"),
    "rate_limited": (StorageRateLimitedError, "no"),
    "denied": (StorageAccessDeniedError, "no"),
    "quota": (StorageQuotaExceededError, "no"),
    "timeout": (StorageTimeoutError, "maybe"),
    "lost": (StorageConnectionError, "maybe"),
}


def store_with(*faults: Fault) -> StorageProvider:
    config = MemoryConfig()
    return StorageProvider(FaultyDriver(config, faults=faults), config)


def run_tests(folder: Path, code: str) -> tuple[int, str]:
    (folder / "test_it.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_it.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_the_package_announces_the_plugin():
    (found,) = [each for each in entry_points(group="pytest11") if each.name == "credstore"]
    assert found.value == "credstore.testing.plugin"


def test_a_run_without_its_fixtures_imports_nothing_of_credstore():
    code = (
        "import sys, credstore.testing.plugin\n"
        "print(*sorted(each for each in sys.modules if each.partition('.')[0] == 'credstore'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["credstore", "credstore.testing", "credstore.testing.plugin"]


@pytest.mark.parametrize("kind", KIND_ERRORS)
def test_a_store_that_fails_says_so_and_leaves_what_it_says(kind):
    error, applied = KIND_ERRORS[kind]

    async def main():
        async with store_with(Fault("store", kind)) as store:
            with pytest.raises(error) as caught:
                await store.store("a", b"data")
            assert (caught.value.applied, caught.value.key) == (applied, "a")
            assert await store.retrieve("a") == (b"data" if kind == "lost" else None)
            await store.store("a", b"again")
            assert await store.retrieve("a") == b"again"

    asyncio.run(main())


def test_every_verb_can_fail():
    async def main(verb):
        fault = Fault(verb, "unavailable", after=1, times=None)
        async with store_with(fault) as store:
            if verb != "store":
                await store.store("a", b"data")
                await store.store("b", b"data")

            async def scanned():
                return [item.key async for item in store.scan()]

            async def checked():
                if not (await store.health_check()).healthy:
                    raise StorageUnavailableError("as it says")

            call = {
                "store": lambda: store.store("a", b"data"),
                "read": lambda: store.retrieve("a"),
                "look": lambda: store.get_metadata("a"),
                "delete": lambda: store.delete("a"),
                "list": scanned,
                "copy": lambda: store.copy("a", "c"),
                "health_check": checked,
            }[verb]
            await call()
            for _ in range(2):
                with pytest.raises(StorageUnavailableError):
                    await call()
        assert fault.happened >= 2

    for verb in VERBS:
        asyncio.run(main(verb))


def test_a_batch_fails_as_a_whole_where_one_of_its_keys_does():
    async def main():
        async with store_with(Fault("delete", "denied", key="b*")) as store:
            await store.store("a", b"data")
            await store.batch_delete(["a"])
            await store.store("a", b"data")
            outcome = await store.batch_delete(["a", "b1"])
            assert set(outcome.failed) == {"a", "b1"}
            assert await store.exists("a")

    asyncio.run(main())


@pytest.mark.parametrize("compress", [False, "gzip"])
def test_damage_is_found_and_passes(compress):
    async def main():
        async with store_with(Fault("read", "damaged", key="*.jpg")) as store:
            await store.store("a.txt", b"data", compress=compress)
            await store.store("a.jpg", b"data", compress=compress)
            assert await store.retrieve("a.txt") == b"data"
            with pytest.raises(StorageIntegrityError):
                await store.retrieve("a.jpg")
            assert await store.retrieve("a.jpg") == b"data"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("put", "lost"), {}),
        (("store", "broken"), {}),
        (("store", "damaged"), {}),
        (("store", "lost"), {"times": 0}),
        (("store", "lost"), {"after": -1}),
    ],
)
def test_a_fault_that_cannot_be_is_refused(arguments, options):
    with pytest.raises(StorageInvalidRequestError):
        Fault(*arguments, **options)


def test_the_marker_gives_the_store_its_faults(tmp_path):
    code = (
        "import asyncio, pytest, credstore\n"
        "@pytest.mark.credstore_fault('store', 'unavailable', times=2)\n"
        "@pytest.mark.credstore_fault('store', 'lost')\n"
        "def test_it(credstore_store):\n"
        "    async def main():\n"
        "        for error in ('Connection', 'Unavailable', 'Unavailable'):\n"
        "            with pytest.raises(getattr(credstore, f'Storage{error}Error')):\n"
        "                await credstore_store.store('a', b'1')\n"
        "        await credstore_store.store('a', b'1')\n"
        "    asyncio.run(main())\n"
        "def test_each_test_has_its_own(credstore_store):\n"
        "    assert asyncio.run(credstore_store.retrieve('a')) is None\n"
        "def test_each_loop_has_its_own(credstore_store_factory):\n"
        "    asyncio.run(credstore_store_factory().store('a', b'1'))\n"
        "    assert asyncio.run(credstore_store_factory().retrieve('a')) == b'1'\n"
    )
    status, shown = run_tests(tmp_path, code)
    assert status == 0, shown
    assert "3 passed" in shown


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("'copy', 'lost'", "a fault never happened: Fault(verb='copy', kind='lost'"),
        ("'copy', 'broken'", f"credstore_fault: a fault is one of {', '.join(KINDS)}, not 'broken'"),
        ("'copy'", "credstore_fault: "),
    ],
)
def test_a_marker_that_does_nothing_fails_the_test(tmp_path, marker, said):
    code = f"import pytest\n@pytest.mark.credstore_fault({marker})\ndef test_it(credstore_store):\n    pass\n"
    status, shown = run_tests(tmp_path, code)
    assert status == 1, shown
    assert said in shown
