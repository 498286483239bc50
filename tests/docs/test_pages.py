"""Everything that a page shows is run, or compared with what is there."""

import json
import re
import shlex
import tomllib

import boto3
import click
import pytest

from credstore.cli.main import application
from tests.docs.blocks import ROOT, Block, blocks, pages, run_page
from tests.servers.azurite import ACCOUNT, KEY, running_azurite
from tests.servers.gcs_emulator import running_emulator

ELSEWHERE = {
    "docs/add-a-driver.md": "tests/docs/test_agreement.py",
    "docs/check-provider.md": "tests/docs/test_agreement.py",
    "docs/dask.md": "tests/cluster/test_commands.py",
    "docs/proofs.md": "tests/proofs/test_page.py",
    "docs/tables.md": "tests/docs/test_agreement.py",
    "docs/test-your-server.md": "tests/docs/test_agreement.py",
}
"""Pages whose blocks are run by a test of their own, since they need a server, a cluster or an authority."""
BUCKET = "my-proofs"
ON_MOTO = {
    "docs/clouds/s3.md": {"AWS_ENDPOINT_URL_S3": "{url}"},
    "docs/clouds/r2.md": {
        "R2_ACCOUNT_ID": "0" * 32,
        "R2_ENDPOINT": "{url}",
        "R2_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "R2_SECRET_ACCESS_KEY": "example",
    },
    "docs/clouds/spaces.md": {
        "DO_SPACES_ENDPOINT": "{url}",
        "DO_SPACES_KEY": "AKIDEXAMPLE",
        "DO_SPACES_SECRET": "example",
    },
    "docs/clouds/wasabi.md": {
        "WASABI_ENDPOINT": "{url}",
        "WASABI_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "WASABI_SECRET_ACCESS_KEY": "example",
    },
    "docs/clouds/b2.md": {
        "B2_ENDPOINT": "{url}",
        "B2_APPLICATION_KEY_ID": "AKIDEXAMPLE",
        "B2_APPLICATION_KEY": "example",
    },
    "docs/clouds/s3-compatible.md": {"MINIO_ACCESS_KEY": "AKIDEXAMPLE", "MINIO_SECRET_KEY": "example"},
    "docs/migrate/boto3.md": {"AWS_ENDPOINT_URL_S3": "{url}"},
    "docs/migrate/aiobotocore.md": {"AWS_ENDPOINT_URL_S3": "{url}"},
}
"""Pages whose blocks speak to a cloud that is moto here, with the variables that lead there."""
OTHERS = {"docs/clouds/gcs.md", "docs/clouds/azure.md"}
RUN = [
    name
    for name in pages()
    if name not in ELSEWHERE.keys() | ON_MOTO.keys() | OTHERS
    and any(block.title or block.language in {"python", "sh"} for block in blocks(name))
]
WITHOUT_URL = {"docs/tables.md", "docs/migrate/s3fs.md"}
"""Pages that say what happens where nothing is set."""
ALONE = {"docs/guide/configure.md", "docs/guide/observe.md", "docs/guide/web-frameworks.md"}
"""Pages that set up what a process has once: variables, logging, tracing, a framework."""
PREPARED = {
    "README.md": "docs/tutorial.md",
}
"""Pages that begin with a photo, which the other page draws."""


@pytest.mark.parametrize("name", RUN)
def test_a_pages_blocks_run_in_order(name, place, monkeypatch):
    if name in WITHOUT_URL:
        monkeypatch.delenv("CREDSTORE_URL")
    if name in PREPARED:
        (drawing,) = [
            each.code for each in blocks(PREPARED[name]) if "photo.jpg" in each.code and "PIL" in each.code
        ]
        exec(compile(drawing, name, "exec"), {})
    shown = run_page(name, alone=name in ALONE)
    if name == "docs/guide/command-line.md":
        assert (place / "copy.json").read_text() == '{"claim": "original"}\n'
        assert '"total_objects": 1' in shown


def fresh_bucket(url: str) -> None:
    """The bucket of the pages, empty."""
    keys = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "example"}
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
    if BUCKET not in [each["Name"] for each in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=BUCKET)
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    client.close()


@pytest.mark.parametrize("name", ON_MOTO)
def test_a_page_of_a_cloud_runs_on_moto(name, place, monkeypatch, moto_server):
    fresh_bucket(moto_server.url)
    monkeypatch.delenv("CREDSTORE_URL")
    for variable, value in ON_MOTO[name].items():
        monkeypatch.setenv(variable, value.format(url=moto_server.url))
    host = moto_server.url.removeprefix("http://")
    run_page(
        name,
        lambda code: code.replace(
            "minio://minio.example.com:9000/my-proofs", f"minio://{host}/{BUCKET}?http=true"
        ),
    )


def test_the_page_of_google_runs_on_an_emulator(place, monkeypatch):
    monkeypatch.delenv("CREDSTORE_URL")
    with running_emulator() as server:
        with server.client() as client:
            client.create_bucket(BUCKET)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        run_page("docs/clouds/gcs.md")


@pytest.mark.system
def test_the_page_of_azure_runs_on_azurite(place, monkeypatch):
    monkeypatch.delenv("CREDSTORE_URL")
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    with running_azurite() as server:
        url = f"az://{ACCOUNT}/{server.make_container()}?endpoint={server.url}"
        run_page("docs/clouds/azure.md", lambda code: code.replace("az://account/container", url))


def test_a_page_that_is_run_elsewhere_is():
    for name, test in ELSEWHERE.items():
        text = (ROOT / test).read_text()
        assert name in text or name.rpartition("/")[2] in text, name


def test_no_page_is_left_out():
    run = {*RUN, *ELSEWHERE, *ON_MOTO, *OTHERS}
    for name in pages():
        if any(block.language in {"python", "sh"} for block in blocks(name)):
            assert name in run


KNOWN = {"python", "sh", "console", "json", "toml", "yaml", "ini", "text", "html"}


@pytest.mark.parametrize("name", pages())
def test_other_blocks_are_of_a_known_kind_and_well_formed(name):
    text = (ROOT / name).read_text()
    assert text.count("\n```") % 2 == 0
    fences = re.findall(r"^```(.+)$", text, re.MULTILINE)
    assert len(fences) == len(blocks(name)), "a block without a language, or with another title"
    for block in blocks(name):
        assert block.language in KNOWN
        if block.language == "json":
            json.loads(block.code)
        elif block.language == "toml":
            tomllib.loads(block.code)


def commands_in(block: Block) -> list[list[str]]:
    """The words of each `credstore` command of a console block."""
    found = []
    for line in block.code.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words[:1] == ["credstore"]:
            found.append(words[1:])
    return found


def option_words(command: click.Command) -> dict[str, bool]:
    """The options of a command, each with whether a value follows it."""
    return {
        name: not (each.is_flag or each.count)
        for each in command.params
        if isinstance(each, click.Option)
        for name in (*each.opts, *each.secondary_opts)
    }


def check_command(words: list[str]) -> None:
    """The command and its options are there.

    Raises:
        AssertionError: One is not.
    """
    program = application()
    known = option_words(program)
    rest = list(words)
    while rest and rest[0].startswith("-"):
        name, equals, _ = rest.pop(0).partition("=")
        assert name in known, name
        if known[name] and not equals:
            rest.pop(0)
    found: click.Command = program
    while isinstance(found, click.Group) and rest:
        inner = found.get_command(click.Context(found), rest.pop(0))
        assert inner is not None, words
        found = inner
    known |= option_words(found)
    for word in rest:
        if re.match(r"--?[a-z]", word):
            assert word.partition("=")[0] in known, (word, words)


@pytest.mark.parametrize("name", pages())
def test_the_commands_of_a_console_are_there(name):
    for block in blocks(name):
        if block.language == "console":
            for words in commands_in(block):
                check_command(words)


@pytest.mark.parametrize(
    "line", ["credstore lz", "credstore ls --nothing", "credstore --nothing ls", "credstore proof nothing x"]
)
def test_a_planted_command_is_found(line):
    (words,) = commands_in(Block("console", "", f"$ {line} # as a comment says\n"))
    with pytest.raises(AssertionError):
        check_command(words)


def test_links_between_documents_lead_somewhere():
    for name in pages():
        document = ROOT / name
        text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{name}: {target}"
