"""fsspec's own suite for file systems, over each kind of store."""

import posixpath

import pytest
from fsspec.tests.abstract import (
    AbstractCopyTests,
    AbstractFixtures,
    AbstractGetTests,
    AbstractOpenTests,
    AbstractPipeTests,
    AbstractPutTests,
)


class Fixtures(AbstractFixtures):
    @pytest.fixture
    def fs_path(self):
        return "/"

    @pytest.fixture
    def fs_join(self):
        return posixpath.join

    @pytest.fixture
    def supports_empty_directories(self):
        return False


class Suite(
    AbstractCopyTests, AbstractGetTests, AbstractPutTests, AbstractPipeTests, AbstractOpenTests, Fixtures
):
    pass


class TestMemory(Suite):
    @pytest.fixture
    def fs(self, memory_fs):
        return memory_fs


class TestDisk(Suite):
    @pytest.fixture
    def fs(self, disk_fs):
        return disk_fs


class TestMoto(Suite):
    @pytest.fixture
    def fs(self, moto_fs):
        return moto_fs
