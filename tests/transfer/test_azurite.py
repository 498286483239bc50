"""Between Azure's emulator and every other kind of place."""

import asyncio
from collections.abc import Iterator

import pytest

from credstore import AzureConfig, AzureStorageProvider, Secret
from credstore.transfer import compare, migrate, sync
from tests.servers.azurite import ACCOUNT, KEY, AzuriteServer, running_azurite
from tests.transfer.ends import TREE, content, end_of, make_tree

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def azurite() -> Iterator[AzuriteServer]:
    with running_azurite() as server:
        yield server


@pytest.mark.parametrize("kind", ["folder", "memory", "local", "s3"])
def test_to_azure_and_back(azurite, kind, tmp_path, s3_server):
    config = AzureConfig(
        bucket=azurite.make_container(),
        account=ACCOUNT,
        account_key=Secret(KEY),
        endpoint=azurite.url,
        part_size=65_536,
        multipart_threshold=65_536,
    )

    async def run():
        async with (
            end_of(kind, tmp_path, s3_server, "one") as one,
            AzureStorageProvider(config) as azure,
            end_of(kind, tmp_path, s3_server, "two") as two,
        ):
            make_tree(tmp_path / "seed")
            await sync(tmp_path / "seed", one)
            journal = tmp_path / "journal"
            assert (await migrate(one, azure, journal=journal)).complete
            assert await content(azure) == TREE
            again = await sync(one, azure, journal=journal)
            assert again.compared_by == {"journal": len(TREE)}
            assert (await migrate(azure, two, delete_source=True)).complete
            assert await content(two) == TREE
            assert await content(azure) == {}
            assert (await compare(one, two, checksum=True)).equal

    asyncio.run(run())
