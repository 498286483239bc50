"""Pages that are made from the code are what their scripts make now; the picture shows each import rule."""

import importlib.util
import json
import re
import sys
import tomllib

import pytest

from credstore.config.registry import CLOUDS
from credstore.driver.capability_report import CapabilityFact
from tests.docs.blocks import ROOT

MAKERS = ["make_api", "make_architecture", "make_clouds", "make_settings"]


def maker(name: str):
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", MAKERS)
def test_a_made_page_is_up_to_date(name):
    for page, text in maker(name).pages().items():
        assert (ROOT / "docs" / page).read_text() == text, f"run `python docs/{name}.py`"


def test_the_requests_of_each_verb_are_up_to_date(s3_server):
    for page, text in maker("make_requests").pages(s3_server.url, s3_server.bucket).items():
        assert (ROOT / "docs" / page).read_text() == text, "run `python docs/make_requests.py`"


def test_every_cloud_has_a_page():
    rows = {row for rows in maker("make_clouds").PAGES.values() for row in rows}
    assert rows == {row.name for row in CLOUDS}


def test_every_public_name_has_its_place_in_the_reference():
    made = maker("make_api")
    shown = re.findall(r"^::: (\S+)$", "\n".join(made.pages().values()), re.MULTILINE)
    assert sorted(shown) == sorted(
        f"{package}.{name}" for package, names in made.public().items() for name in names
    )


def test_every_contract_is_in_the_picture():
    picture = (ROOT / "docs" / "architecture.svg").read_text()
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    for rule in rules:
        names = [each.strip() for layer in rule.get("layers", []) for each in layer.split("|")]
        assert all(f'class="name">{name}</text>' in picture for name in names)
        assert rule["type"] == "layers" or f">{rule['name']}: " in picture


def test_every_setting_is_on_its_page_with_its_range():
    page = (ROOT / "docs" / "reference" / "settings.md").read_text()
    assert "`CREDSTORE_PART_SIZE` | size, 5 MiB to 5 GiB | 8 MiB |" in page
    assert "`STORAGE_MAX_RETRIES` | number, at least 0 | 3 |" in page
    assert "`CREDSTORE_BANDWIDTH_LIMIT` | size, at least 1 KiB | none |" in page
    made = maker("make_settings")
    for row in CLOUDS:
        for name in made.held_by(row.config_class):
            assert f"| **`{name}`**<br>" in page, name


def test_a_report_is_shown_on_the_page_of_its_cloud(tmp_path, monkeypatch):
    made = maker("make_clouds")
    fact = CapabilityFact(name="tags", granted=True, honoured="no")
    monkeypatch.setattr(made, "load_report", lambda _: type("Report", (), {"facts": (fact,)}))
    monkeypatch.setattr(made, "DOCS", tmp_path)
    (tmp_path / "clouds" / "reports").mkdir(parents=True)
    assert made.report_of(CLOUDS[2]) == ""
    (tmp_path / "clouds" / "reports" / f"{CLOUDS[2].name}.json").write_text(json.dumps({}))
    assert "| tags | yes | no | granted but not honoured |" in made.report_of(CLOUDS[2])


class Files:
    """The files of a site, as MkDocs has them."""

    def __init__(self, *names):
        self.names = names

    def get_file_from_path(self, name):
        return name if name in self.names else None


class Page:
    """A page of a site."""

    def __init__(self, name):
        self.file = type("File", (), {"src_uri": name})


def test_links_out_of_the_site_lead_to_the_project(caplog):
    hooks = maker("site_hooks")
    files = Files("guide/a.md", "b.md")

    def led(text):
        return hooks.on_page_markdown(text, page=Page("guide/a.md"), files=files)

    assert led("[b](../b.md#x)") == "[b](../b.md#x)"
    assert led("[c](https://example.org)") == "[c](https://example.org)"
    assert led("[d](../../Makefile)") == f"[d]({hooks.SOURCE}Makefile)"
    assert led("```md\n[e](../../nothing)\n```\n") == "```md\n[e](../../nothing)\n```\n"
    assert not caplog.records
    assert led("[e](../../nothing)") == "[e](../../nothing)"
    assert led("[f](../../../secret)") == "[f](../../../secret)"
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("text", "fetches"),
    [
        ('<script src="https://cdn.example/x.js"></script>', True),
        ("<img alt='' src='//cdn.example/x.png'>", True),
        ('<link href="https://fonts.example/css" rel="stylesheet">', True),
        ('<link rel="preconnect" href="https://fonts.example" crossorigin>', True),
        ("@font-face{src:url(https://fonts.example/a.woff2)}", True),
        ('@import "https://fonts.example/a.css";', True),
        ('<a href="https://example.org">', False),
        ('<link rel="stylesheet" href="assets/a.css">', False),
        ('<script src="assets/a.js"></script>', False),
        ('<link rel="canonical" href="https://example.org/">', False),
    ],
)
def test_what_would_be_fetched_from_elsewhere_is_found(text, fetches):
    assert (maker("site_hooks").FETCHED.search(text) is not None) is fetches
