"""No argument of a wrong type, whichever public name it is given to, ends in anything but a `StorageError`.

Constructors and functions are found by their modules' `__all__`, arguments by their signatures: a new name
without a line in `tests/arguments.py` fails here.
"""

import inspect
from enum import Enum
from typing import get_args, get_origin, get_type_hints, is_typeddict

import pytest

from credstore.errors import (
    ErrorCode,
    ErrorFacts,
    StorageConfigurationError,
    StorageError,
    StorageInvalidRequestError,
)
from credstore.proofs import ProofAlgorithmError
from tests.arguments import CALLS, MODULES, Call, given, nothing, use_error

ERRORS = Call(given(message="words"), use_error)
REFUSED = {
    "KmsKey",
    "CustomerKey",
    "CommonConfig",
    "S3FamilyConfig",
    "invalid_range",
    "S3PutOptions",
    "ScriptedTransport",
}
WRONG = [None, "text", b"bytes", 7, -1, 1.5, True, object(), [], [1], {}, {"a": 1}, (), ("text",), Call]
REFUSALS = (StorageInvalidRequestError, StorageConfigurationError, ProofAlgorithmError)
FUNCTIONS = {
    "fetch",
    "steps",
    "approve",
    "clock",
    "close",
    "explain",
    "function",
    "on_event",
    "progress",
    "random",
    "randomness",
    "unwrap",
    "wrap",
}
"""Parameters that take any function: what one of the user's raises is the user's."""
ANYTHING = {
    ("ObjectReader", "info"),
    ("S3Config", "environ_endpoint"),
    ("S3Config", "environ_region"),
    ("S3Config", "environ_settings"),
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """What takes "text" for a path makes it where it is in no one's way."""
    monkeypatch.chdir(tmp_path)


def public_names():
    """Everything that is exported and can be called: classes and functions, no protocols and types."""
    found = {}
    for module in MODULES:
        names = getattr(module, "__all__", None) or [
            name
            for name, each in vars(module).items()
            if getattr(each, "__module__", "") == module.__name__ and not name.startswith("_")
        ]
        for name in names:
            each = getattr(module, name)
            if not callable(each) or is_typeddict(each) or get_origin(each) is not None:
                continue
            if getattr(each, "_is_protocol", False) or (isinstance(each, type) and issubclass(each, Enum)):
                continue
            found[name] = each
    return found


NAMES = public_names()


def signed(name):
    """What takes the arguments, and its parameters but for the instance."""
    made = NAMES[name]
    if isinstance(made, type) and made.__init__ is not object.__init__:
        return made.__init__, list(inspect.signature(made.__init__).parameters.values())[1:]
    return made, list(inspect.signature(made).parameters.values())


def parameters(name):
    """Names of all parameters, those of a mapping of options included."""
    if (
        call_of(name) is ERRORS
    ):  # Their constructor is watched by tests/canaries.py, which hides its signature.
        return ["message", *get_type_hints(ErrorFacts)]
    function, all_of_them = signed(name)
    found = []
    for each in all_of_them:
        if each.kind is each.VAR_KEYWORD:
            found += get_type_hints(get_args(get_type_hints(function)[each.name])[0])
        else:
            found.append(each.name)
    return found


def call_of(name):
    made = NAMES[name]
    return ERRORS if isinstance(made, type) and issubclass(made, StorageError) else CALLS[name]


def called(name, arguments):
    """Call it by names where that is possible."""
    positional = [
        arguments.pop(each.name)
        for each in signed(name)[1]
        if each.kind in {each.POSITIONAL_ONLY, each.VAR_POSITIONAL} and each.name in arguments
    ]
    return NAMES[name](*positional, **arguments)


def outcome(name, changes):
    """What a call ends with: None, or the error of it or of the use of what it made."""
    call = call_of(name)
    try:
        call.use(called(name, call.arguments() | changes))
    except StorageError as error:
        return error
    return None


@pytest.mark.parametrize("name", sorted(NAMES))
def test_what_is_right_is_taken(name):
    error = outcome(name, {})
    assert error is None or call_of(name) is ERRORS or name in REFUSED, error


@pytest.mark.parametrize("name", sorted(NAMES))
def test_an_argument_of_a_wrong_type_ends_in_an_error_of_ours(name):
    for parameter in parameters(name):
        for value in WRONG[:-1] if parameter in FUNCTIONS else WRONG:
            try:
                error = outcome(name, {parameter: value})
            except Exception as error:
                raise AssertionError(f"{parameter}={value!r}: {error!r}") from error
            assert error is None or error.code != ErrorCode.UNFORESEEN, f"{parameter}={value!r}: {error!r}"


@pytest.mark.parametrize("name", sorted(name for name in NAMES if call_of(name) is not ERRORS))
def test_the_refusal_names_the_argument_and_what_was_given(name):
    for parameter in parameters(name):
        error = outcome(name, {parameter: object()})
        if error is None:  # Only where nothing of credstore reads it again.
            assert call_of(name).use is nothing or (name, parameter) in ANYTHING, parameter
        else:
            assert isinstance(error, REFUSALS), error
            assert parameter in str(error) or name == "invalid_range", error
            assert "object" in str(error), error
            assert error.applied == "no", error
