"""Keys of the config: one declaration gives default, type, choices, bounds and help."""

import ast
import contextlib
import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

from ageflax.errors import InputError, shown
from ageflax.runtime import files

# Both, since beartype does not take a whole number for a float.
Number = int | float

# Longest value on the command line; Python cannot print numbers of some thousand digits.
_LONGEST = 1000


@runtime_checkable
class _HasDict(Protocol):
    """A Config, one of its groups, or an ml_collections ConfigDict, which takes long to import."""

    def to_dict(self) -> dict[str, Any]: ...


Nested = Mapping[str, Any] | _HasDict


def flatten(values: Nested, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) pairs of all leaves."""
    for name, value in (values.to_dict() if isinstance(values, _HasDict) else values).items():
        if isinstance(value, Mapping | _HasDict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def nearest(name: str, names: Iterable[str]) -> str:
    """End of an error message: the most similar name, or all names."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.4)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(names))}"


def _fits(value: Any, hint: Any) -> bool:
    """True if a value has an annotated type; True and False are not numbers."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if typing.get_origin(hint) is not tuple:
        return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    if parts[-1] is not Ellipsis and isinstance(value, tuple):
        return len(value) == len(parts) and all(map(_fits, value, parts))
    return isinstance(value, tuple) and all(_fits(item, parts[0]) for item in value)


@dataclasses.dataclass(frozen=True)
class Key:
    """A key of the config.

    Attributes:
      name: dotted name, such as "data.resize".
      default: value if nothing sets it; None: unset.
      hint: annotated type; Literal gives the choices.
      help: meaning and unit.
      low: least number allowed, in a tuple for each item; None: no bounds.
      high: largest number allowed, if `low` is given.
      choices: values allowed; () for any.
      form: expected values in words, where the type alone says too little.
      continuable: True if a run may be resumed with another value: it changes neither the recipe
        nor the figures of finished folds.
      path: True if the value is a path, in which "~" is expanded.
    """

    name: str
    default: Any
    hint: Any
    help: str
    low: Number | None = None
    high: Number | None = None
    choices: tuple[str, ...] = ()
    form: str = ""
    continuable: bool = False
    path: bool = False

    @property
    def kind(self) -> type:
        """Type of a value that is not None: bool, int, float, str or tuple."""
        parts = [p for p in typing.get_args(self.hint) if isinstance(p, type)]
        hint = parts[0] if types.NoneType in parts else self.hint
        return str if self.choices else typing.get_origin(hint) or hint

    @property
    def expected(self) -> str:
        """Expected values in words, without bounds."""
        if self.kind is bool:
            return "true or false"
        return self.form or " | ".join(self.choices) or self.kind.__name__

    @property
    def unset(self) -> Any:
        """Value of a key that None unsets: None, "" or (); Ellipsis if it must have a value."""
        if _fits(None, self.hint):
            return None
        return self.default if self.default in ("", ()) else ...

    def parse(self, text: str) -> Any:
        """Value of a word on the command line.

        Raises:
          InputError: the word is not a value of the key's type.
        """
        if len(text) > _LONGEST:
            raise InputError(
                f"--config.{self.name}={text[:60]}...: {len(text)} characters, at most {_LONGEST}"
            )
        # "none" may be a choice: None is then too close to it to mean another thing.
        if text == "None" and self.unset is not ... and "none" not in self.expected:
            return self.unset
        if self.kind is str:
            return text
        with contextlib.suppress(
            ValueError, TypeError, SyntaxError, MemoryError, RecursionError, KeyError
        ):
            if self.kind is bool:
                return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
            return self.cast(ast.literal_eval(text))
        raise InputError(f"--config.{self.name}={text}: expected {self.expected}")

    def cast(self, value: Any) -> Any:
        """The value in the key's type: 1e4 to 10000, a number to float, lists and items to tuple.

        Raises:
          TypeError: the value is of another type.
        """
        if value is None and self.unset is not ...:
            return self.unset
        if self.kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):  # a whole number of four hundred digits
                value = float(value)
        if self.kind is tuple and isinstance(value, list):
            value = tuple(value)
        elif self.kind is tuple and not isinstance(value, tuple) and _fits((value,), self.hint):
            value = (value,)
        if not _fits(value, self.kind):
            raise TypeError(f"{self.name} = {shown(value)}: expected {self.expected}")
        return value

    def located(self, value: Any) -> Any:
        """The value, a path with "~" expanded.

        Raises:
          InputError: a path that is not on this machine.
        """
        if not self.path:
            return value
        try:
            return files.local(value)
        except InputError as error:
            raise InputError(f"{self.name} = {error}") from error

    def check(self, value: Any) -> None:
        """Raises InputError for a value outside the choices or bounds, or with unfit items."""
        if value is None:
            return
        if self.choices and value not in self.choices:
            near = nearest(value, self.choices)
            raise InputError(f"{self.name} = {shown(value)}: not a choice{near}")
        several = isinstance(value, tuple)
        for item in value if several else (value,):
            named = f"{self.name}: {shown(item)}" if several else f"{self.name} = {shown(item)}"
            if several and not _fits((item,), self.hint):
                raise InputError(f"{named}: expected {self.expected}")
            if self.low is not None and not self.low <= item <= self.high:
                raise InputError(f"{named}: must be between {self.low} and {self.high}")


def key(default: Any, help: str, *bounds: Number, **facts: Any) -> Any:
    """Declares a field of a group as a key.

    Args:
      default: value if nothing sets it; None: unset.
      help: meaning and unit.
      *bounds: least and largest number allowed, or nothing.
      **facts: choices, form, continuable and path of `Key`.
    """
    limits = dict(zip(("low", "high"), bounds, strict=False))
    return dataclasses.field(default=default, metadata={"help": help, **limits, **facts})


def declared(group: type, prefix: str = "") -> dict[str, Key]:
    """Keys of a group and of the groups in it, by dotted name, in order of declaration."""
    found: dict[str, Key] = {}
    hints = typing.get_type_hints(group)
    for field in dataclasses.fields(group):
        name, hint, facts = prefix + field.name, hints[field.name], dict(field.metadata)
        if typing.get_origin(hint) is Literal:
            facts["choices"] = typing.get_args(hint)
        if not facts:
            found |= declared(hint, f"{name}.")
        else:
            found[name] = Key(name, field.default, hint, **facts)
    return found


class Group:
    """Dataclass of keys and other groups."""

    def to_dict(self) -> dict[str, Any]:
        """Values by name, sorted; groups as dictionaries."""
        fields: Any = self
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(fields)}
        return {
            name: value.to_dict() if isinstance(value, Group) else value
            for name, value in sorted(values.items())
        }
