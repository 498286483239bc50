"""The local driver keeps the contract."""

import os
from pathlib import Path

import pytest

from credstore.config.stores import LocalConfig
from credstore.drivers.local.driver import LocalDriver
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Harness
from tests.conformance.memory import fetch_at


class TestLocal(DriverConformance):
    group_commit = False

    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        async def peek(key: str) -> bytes | None:
            path = tmp_path / key
            return path.read_bytes() if path.is_file() else None

        async def poke(key: str, data: bytes) -> None:
            path = tmp_path / key
            before = path.stat()
            path.write_bytes(data)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

        config = LocalConfig(path=str(tmp_path), fsync=False, group_commit=self.group_commit)

        def open_driver() -> LocalDriver:
            return LocalDriver(config)

        return Harness(open=open_driver, peek=peek, poke=poke, fetch=fetch_at(open_driver))


class TestLocalInGroups(TestLocal):
    group_commit = True
