"""File systems over stores in memory, on disk and at moto's server."""

import fsspec
import pytest

from credstore import MemoryStorageProvider, Secret, StorageFactory
from credstore.filesystem import CredstoreFileSystem
from tests.conftest import S3Server
from tests.drivers.s3.support import KEY_ID, SECRET


@pytest.fixture(autouse=True, scope="session")
def known_to_fsspec():
    """As the entry point does where the package is installed."""
    fsspec.register_implementation("credstore", CredstoreFileSystem, clobber=True)


@pytest.fixture
def memory_fs():
    def store():
        return MemoryStorageProvider()

    fs = CredstoreFileSystem(store, skip_instance_cache=True)
    yield fs
    fs.close()


@pytest.fixture
def local_fs_url(tmp_path):
    return f"file://{tmp_path}/store"


@pytest.fixture
def disk_fs(local_fs_url):
    fs = CredstoreFileSystem(local_fs_url, skip_instance_cache=True)
    yield fs
    fs.close()


def at_moto(server: S3Server, **options) -> CredstoreFileSystem:
    def store():
        return StorageFactory(environ={}, **options).create(
            {
                "provider": "custom",
                "flavor": "minio",
                "endpoint": server.url,
                "allow_http": True,
                "bucket": server.bucket,
                "access_key_id": KEY_ID,
                "secret_access_key": Secret(SECRET),
                "multipart_threshold": 8 * 1024 * 1024,
            }
        )

    return CredstoreFileSystem(store, skip_instance_cache=True)


@pytest.fixture
def moto_fs(s3_server: S3Server):
    fs = at_moto(s3_server)
    yield fs
    fs.close()


@pytest.fixture(params=["memory", "disk", "moto"])
def any_fs(request):
    return request.getfixturevalue(f"{request.param}_fs")
