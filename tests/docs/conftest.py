"""An empty folder and an environment for what the documents show."""

import os
import sys

import pytest


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty directory and an environment with one store and no keys but examples."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "CREDSTORE_", "STORAGE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("CREDSTORE_URL", f"file://{tmp_path}/store")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:  # Files of a page are modules of that page only.
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
