"""What callers without type checking hand in, compared with the annotations where it comes in. Pure.

Rules of this file: a refusal names the argument, what it may be, and the type of what was given instead,
never the value, which may be a secret; no frame in its traceback has the arguments. One-shot iterables are
not consumed: of them only the kind is checked.
"""

from __future__ import annotations

import types
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import fields
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import cache, partial, wraps
from inspect import Parameter, signature
from itertools import compress
from operator import attrgetter, is_not
from os import PathLike
from typing import (
    IO,
    Any,
    Literal,
    NamedTuple,
    ParamSpec,
    SupportsFloat,
    TypeVar,
    Union,
    Unpack,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from credstore.errors import StorageConfigurationError, StorageError, StorageInvalidRequestError

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

_MANY: frozenset[object] = frozenset({Iterable, Collection, Sequence})
"""What stands for many things."""
_TEXTS = (str, bytes, bytearray, memoryview)
"""They are iterable, yet whoever hands one in for many things has forgotten the brackets."""
_UNIONS: frozenset[object] = frozenset({Union, types.UnionType})
_ANYTHING: frozenset[object] = frozenset({Any, object, Parameter.empty})
_WORDS: Mapping[object, str] = {
    type(None): "None",
    bool: "True or False",
    str: "text (str)",
    bytes: "bytes",
    int: "a whole number (int)",
    float: "a number",
    datetime: "a datetime",
    timedelta: "a timedelta",
    Callable: "a function",
    IO: "a binary file",
    PathLike: "a path",
    SupportsFloat: "a number",
    Mapping: "a mapping",
    dict: "a dict",
    tuple: "a tuple",
    frozenset: "a frozenset",
    Iterable: "an iterable",
    Collection: "a collection",
    Sequence: "a sequence",
}


def fits(hint: Any, value: object) -> bool:
    """Whether a value is what an annotation says; a whole number counts as a fraction, a bool as no number.

    Args:
        hint: Evaluated: a class, a protocol, a literal, a union or a container of such.
        value: Anything.
    """
    origin, of, kind = _shape(hint)
    if origin in _UNIONS:
        return any(fits(each, value) for each in of)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in of)
    if origin is Unpack or isinstance(hint, TypeVar) or hint in _ANYTHING:
        return True
    if hint is None or hint is type(None):
        return value is None
    if kind is Callable:
        return callable(value)
    if kind is IO:
        return hasattr(value, "read")
    if kind in {int, float}:
        return isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    if _is_own_protocol(kind):
        return not isinstance(value, type) and all(_has(value, each) for each in _members(kind))
    if is_typeddict(kind):
        return isinstance(value, Mapping)  # Whoever reads it knows its names.
    if not isinstance(value, kind) or (kind in _MANY and isinstance(value, _TEXTS)):
        return False
    if not of:
        return True
    if kind is tuple and of[-1] is Ellipsis:  # The most frequent container; mostly of one class.
        return all(type(each) is of[0] or fits(of[0], each) for each in cast("tuple[object, ...]", value))
    if kind is Mapping and of[-1] in _ANYTHING and isinstance(value, dict):
        names = cast("dict[object, object]", value)
        if {*map(type, names)} <= {of[0]}:  # As nearly all mappings: texts to anything.
            return True
    return all(fits(each, element) for each, element in _elements(kind, of, cast("object", value)))


@cache
def _shape(hint: Any) -> tuple[Any, tuple[Any, ...], Any]:
    """Origin and arguments of an annotation, and the class that decides."""
    origin = get_origin(hint)
    return origin, get_args(hint), origin or hint


@cache
def _is_own_protocol(kind: Any) -> bool:
    return bool(getattr(kind, "_is_protocol", False)) and not kind.__module__.startswith(
        ("collections", "typing")
    )


def _at_once(hint: Any) -> frozenset[type]:
    """Types whose values fit whatever is in them, so that usual calls need no closer look."""
    origin = get_origin(hint)
    if origin in {Union, types.UnionType}:
        return frozenset[type]().union(*(_at_once(each) for each in get_args(hint)))
    kind: Any = type(None) if hint is None else origin or hint
    if kind is float:
        return frozenset({float, int})
    if kind in {AsyncIterator, AsyncIterable}:
        return frozenset({types.AsyncGeneratorType})
    if kind is Callable:
        return frozenset({types.FunctionType, types.MethodType, types.BuiltinFunctionType, partial})
    is_class = isinstance(kind, type) and not getattr(kind, "_is_protocol", False)
    return frozenset({kind}) if is_class and not get_args(hint) else frozenset()


def _has(value: object, name: str) -> bool:
    return hasattr(type(value), name) or hasattr(value, name)  # The class first: its properties are not run.


@cache
def _members(protocol: type) -> tuple[str, ...]:
    kinds = [each for each in protocol.__mro__ if getattr(each, "_is_protocol", False)]
    names = {name for each in kinds for name in (*vars(each), *getattr(each, "__annotations__", {}))}
    return tuple(sorted(name for name in names if not name.startswith("_") or name == "__call__"))


def _elements(kind: type, of: tuple[Any, ...], value: object) -> Iterator[tuple[Any, object]]:
    """The elements of a container that may be looked at more than once, each with what it has to be."""
    if not of or not isinstance(value, Collection):
        return
    if isinstance(value, Mapping):
        members = cast("Mapping[object, object]", value)
        yield from ((of[0], each) for each in members)
        if of[-1] not in _ANYTHING:
            yield from ((of[-1], each) for each in members.values())
    elif kind is not tuple or of[-1] is Ellipsis:
        yield from ((of[0], each) for each in cast("Collection[object]", value))


def describe(hint: Any) -> str:
    """What an annotation permits, in words."""
    origin = get_origin(hint)
    if origin in {Union, types.UnionType}:
        words = list(dict.fromkeys(describe(each) for each in get_args(hint)))
        return " or ".join(([", ".join(words[:-1])] if words[:-1] else []) + words[-1:])
    if origin is Literal:
        return " or ".join(repr(each) for each in get_args(hint))
    kind: Any = type(None) if hint is None else Mapping if is_typeddict(hint) else origin or hint
    word = _WORDS.get(kind)
    if word is None:
        word = f"{'an' if kind.__name__[0] in 'AEIO' else 'a'} {kind.__name__}"
    of = [] if kind is Callable else [each for each in get_args(hint) if each is not Ellipsis]
    named = [each for each in of if each not in {Any, object} and not isinstance(each, TypeVar)]
    return f"{word} of {describe(named[0])}" if named else word


def given(value: object) -> str:
    """What somebody handed in, in words without its value."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    kind = type(value).__name__
    if isinstance(value, Collection) and not isinstance(value, _TEXTS) and value:
        parts = list(cast("Collection[object]", value))
        if isinstance(value, Mapping):
            parts += cast("Mapping[object, object]", value).values()
        kinds = dict.fromkeys(type(each).__name__ for each in parts)
        return f"{kind} with {' and '.join(list(kinds)[:3])} in it"
    return kind


class _Signature:
    """The parameters of a function, with what each of them may be, evaluated when it is first called."""

    __slots__ = ("_at_once", "_evaluate", "_hints", "_many", "_options", "_places")

    def __init__(self, function: Callable[..., object], owner: type | None = None) -> None:
        """Look at nothing yet, since names in annotations may be defined later in their module.

        Args:
            function: Its parameters count.
            owner: The dataclass that it makes, whose fields may be annotated in several modules.
        """
        self._evaluate = function, owner
        self._places: tuple[str, ...] = ()
        self._many: str | None = None
        self._options: tuple[str, ...] = ()
        self._hints: dict[str, Any] | None = None
        self._at_once: dict[str, frozenset[type]] = {}

    def _evaluated(self) -> dict[str, Any]:
        function, owner = self._evaluate
        hints = get_type_hints(function if owner is None else owner)
        found: dict[str, Any] = {}
        places: list[str] = []
        for name, each in signature(function).parameters.items():
            if each.kind is each.VAR_KEYWORD:
                options = get_type_hints(get_args(hints[name])[0])
                self._options = tuple(options)
                found |= options
                continue
            found[name] = hints.get(name, object)
            if each.kind is each.VAR_POSITIONAL:
                self._many = name
            elif each.kind is not each.KEYWORD_ONLY:
                places.append(name)
        self._places = tuple(places)
        self._at_once = {name: _at_once(hint) for name, hint in found.items()}
        return found

    def refusal(
        self, what: str, args: tuple[object, ...], kwargs: Mapping[str, object], error: type[StorageError]
    ) -> StorageError | None:
        """The error for the first argument that does not fit, or None.

        What is missing or unknown is not looked at, since the function itself refuses it, but for options of
        which it takes any.
        """
        if self._hints is None:
            self._hints = self._evaluated()
        hints = self._hints
        handed = [*zip(self._places, args, strict=False), *kwargs.items()]
        if self._many is not None:
            handed += [(self._many, each) for each in args[len(self._places) :]]
        for name, value in handed:
            if type(value) in self._at_once.get(name, ()):
                continue
            if self._options and name not in hints:
                near = get_close_matches(name, self._options, n=1)
                known = f"did you mean {near[0]!r}?" if near else f"options are {', '.join(self._options)}"
                return error(f"{what} has no option {name!r}; {known}")
            hint = hints.get(name, object)
            if hint is not object and not fits(hint, value):
                return error(_wrong(name, what, hint, value))
        return None


def _wrong(name: str, owner: str, hint: Any, value: object) -> str:
    return f"`{name}` of {owner} is {describe(hint)}, not {given(value)}"


def typed(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, refusing what its annotations do not permit.

    Raises:
        StorageInvalidRequestError: From the function: an argument has a wrong type.
    """
    told = _Signature(function)
    what = function.__qualname__.removesuffix(".__new__").rpartition(".")[2]

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        failure = told.refusal(what, args, kwargs, StorageInvalidRequestError)
        if failure is None:
            return function(*args, **kwargs)
        del args, kwargs
        raise failure

    return called


def typed_verbs(made: C) -> C:
    """The same class, whose own public methods are all `typed`.

    Raises:
        StorageInvalidRequestError: From a method: an argument has a wrong type.
    """
    for name, each in list(vars(made).items()):
        if isinstance(each, types.FunctionType) and not name.startswith("_"):
            setattr(made, name, typed(each))
    return made


def check_fields(value: object, error: type[StorageError] = StorageInvalidRequestError) -> None:
    """Refuse a dataclass of which a field is not what its annotation permits.

    Raises:
        StorageError: Of this class; a field has a wrong type.
    """
    kind = type(value)
    known = _fields(cast("Hashable", kind))
    found = known.values(value)
    others = map(is_not, found, known.defaults)  # Defaults fit, and most fields have theirs.
    for each, (name, hint, at_once) in compress(zip(found, known.named, strict=True), others):
        if type(each) not in at_once and not fits(hint, each):
            raise error(_wrong(name, kind.__name__, hint, each))


class _Fields(NamedTuple):
    """The fields of a dataclass that its constructor takes.

    Attributes:
        named: Of each its name, its annotation, and the types that fit at once.
        defaults: Of each.
        values: Returns those that an instance has.
    """

    named: tuple[tuple[str, Any, frozenset[type]], ...]
    defaults: tuple[Any, ...]
    values: Callable[[object], tuple[Any, ...]]


@cache
def _fields(kind: type) -> _Fields:
    hints = get_type_hints(kind)
    taken = [each for each in fields(cast("Any", kind)) if each.init]
    named = tuple((each.name, hints[each.name], _at_once(hints[each.name])) for each in taken)
    return _Fields(named, tuple(each.default for each in taken), _values([each.name for each in taken]))


def _values(names: Sequence[str]) -> Callable[[object], tuple[Any, ...]]:
    """What returns the attributes of these names."""
    if len(names) > 1:
        return cast("Callable[[object], tuple[Any, ...]]", attrgetter(*names))
    return lambda value: tuple(getattr(value, name) for name in names)


def unchecked(kind: Callable[P, R]) -> Callable[P, R]:
    """The constructor of a class whose arguments are checked, without the check.

    For readers that have just seen the type of every field: there the check costs more than the reading.

    Args:
        kind: A class made by `typed_class` or `typed_request`.
    """
    made = cast("type[R]", kind)
    construct = cast("Callable[..., None]", cast("Any", made).__init__.__wrapped__)
    new = made.__new__

    def make(*args: P.args, **kwargs: P.kwargs) -> R:
        value = new(made)
        construct(value, *args, **kwargs)
        return value

    return make


def typed_class(made: C) -> C:
    """The same class, whose instances are made only of what the annotations permit.

    No traceback of a failure has a frame that saw the arguments, of which one may be a secret in plain text.

    Raises:
        StorageConfigurationError: From the constructor: an argument has a wrong type.
    """
    return _made_typed(made, StorageConfigurationError)


def typed_request(made: C) -> C:
    """Like `typed_class`, for what is asked for in calls.

    Raises:
        StorageInvalidRequestError: From the constructor: an argument has a wrong type.
    """
    return _made_typed(made, StorageInvalidRequestError)


def traceless_class(made: C) -> C:
    """Like `typed_class`, for a class that checks types itself."""
    return _made_typed(made, None)


def _made_typed(made: C, kind: type[StorageError] | None) -> C:
    construct = cast("Callable[..., None]", vars(made).get("__init__", cast("Any", made).__init__))
    parameters = cast("Any", made.__dict__.get("__dataclass_params__"))
    told = _Signature(construct, made if parameters is not None and parameters.init else None)

    @wraps(construct)
    def __init__(self: object, *args: object, **kwargs: object) -> None:  # noqa: N807 - it becomes that
        failure = None if kind is None else told.refusal(type(self).__name__, (self, *args), kwargs, kind)
        try:
            if failure is None:
                construct(self, *args, **kwargs)
                return
        except StorageError as error:
            failure = error.with_traceback(None)
            failure.__context__ = failure.__cause__ = None
        finally:
            del self, args, kwargs
        raise failure

    type.__setattr__(made, "__init__", __init__)
    return made
