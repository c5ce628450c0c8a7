"""The report's schema, checked on reading: its dataclasses and their annotations are the schema.

A file that was edited by hand or written by something else is told by the place of its first wrong value.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any


def check(value: Any, path: str) -> None:
    """Raise ValueError, naming the place, where a dataclass holds a value that its annotations do not allow."""
    kind: Any = type(value)
    for name, wanted in _hints(kind).items():
        _check(getattr(value, name), wanted, f"{path}.{name}")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _check(value: Any, kind: Any, path: str) -> None:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            if type(None) not in inner:
                raise ValueError(f"{path} is null")
        else:
            _check(value, next(one for one in inner if one is not type(None)), path)
    elif origin is tuple:
        _is(value, tuple, path)
        kinds = (inner[0],) * len(value) if inner[-1] is Ellipsis else inner
        if len(kinds) != len(value):
            raise ValueError(f"{path} has {len(value)} items, {len(kinds)} expected")
        for place, (one, wanted) in enumerate(zip(value, kinds)):
            _check(one, wanted, f"{path}[{place}]")
    elif origin is Mapping:
        _is(value, Mapping, path)
        for key, one in value.items():
            _check(one, inner[1], f"{path}.{key}")
    elif is_dataclass(kind):
        check(value, path)
    elif kind is float:
        _is(value, (int, float), path)
    elif kind in (int, str, bool):
        _is(value, kind, path)
    # What is left are arrays, which their own classes check.


def _is(value: Any, kind: Any, path: str) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{path} is {str(value)[:40]!r}, a {type(value).__name__}")
