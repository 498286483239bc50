"""`.env.example` has exactly the variables that are read, each with an example that parses."""

import re
from pathlib import Path

import click
import pytest

from credstore.cli.main import application
from credstore.config.environ import from_env
from credstore.config.field_types import held_by
from credstore.config.named import VARIABLE as STORES
from credstore.config.precedence import parse_setting
from credstore.config.registry import Registry
from credstore.config.variables import PROVIDER, URL, variables_of
from credstore.proofs.variables import PASSPHRASE

EXAMPLE = Path(__file__).parents[2] / ".env.example"
FOUND = dict(re.findall(r"^# ([A-Z][A-Z0-9_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))


def fields():
    """Every (variable, kind, field) that the table has."""
    registry = Registry()
    for row in registry.rows():
        for field in held_by(row.config_class):
            for variable in variables_of(row.name, field):
                yield variable, row, field


def options(command):
    """The variable of every option of a command, and of those below it."""
    yield from (option.envvar for option in command.params)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from options(command.get_command(context, name))


def test_the_variables_are_those_that_are_read():
    known = {variable for variable, _, _ in fields()} | {URL, STORES}
    known |= {switch for row in Registry().rows() for switch in row.silencers}
    known |= {name for level in PROVIDER for name in level}
    known |= {variable for variable in options(application()) if variable} | {PASSPHRASE}
    assert set(FOUND) == known


@pytest.mark.parametrize("variable", sorted(FOUND))
def test_an_example_parses(variable):
    if variable == URL or variable in {name for level in PROVIDER for name in level}:
        path = {"CREDSTORE_PATH": "/srv", "CREDSTORE_PROVIDER": "local"}
        given = {URL: "file:///srv"} if variable == URL else path
        assert from_env(given).provider == "local"
        return
    uses = [(kind, field) for name, kind, field in fields() if name == variable]
    for kind, field in uses:
        if FOUND[variable]:
            parse_setting(kind, field, FOUND[variable], variable)
