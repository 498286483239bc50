"""Fixtures that several directories share."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import settings

from tests import canaries
from tests.servers.moto import MotoServer, running_moto
from tests.surroundings import with_signals, without_proxies

without_proxies()
with_signals()

# How long an example takes depends on the machine and says nothing.
settings.register_profile("credstore", deadline=None, print_blob=True)
settings.load_profile("credstore")


@dataclass(frozen=True)
class S3Server:
    """moto with one fresh bucket for one test."""

    url: str
    bucket: str


@pytest.fixture(scope="session")
def moto_server() -> Iterator[MotoServer]:
    with running_moto() as server:
        yield server


@pytest.fixture
def s3_server(moto_server: MotoServer) -> S3Server:
    return S3Server(moto_server.url, moto_server.make_bucket())


@pytest.fixture(autouse=True)
def no_secret_is_told() -> Iterator[None]:
    """Nothing that a test logs or raises tells a secret (P24)."""
    watch = canaries.watch = canaries.Watch()
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(watch)
    yield
    canaries.watch = None
    root.removeHandler(watch)
    root.setLevel(level)
    watch.check()
