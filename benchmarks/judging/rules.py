"""A gate's rules as data: read from TOML, refused where a key is unknown, a value out of range or a rule empty."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from lc2fer.errors import MALFORMED, UsageError

from ..report.document import Row

VERSION = 1
FLOORS = ("accuracy", "mean_class_accuracy", "worst_recall", "agreement", "sqnr_db")
EXACT = ("nodes", "quantizers", "size_bytes")
DEFAULT = Path(__file__).parents[1] / "gates.toml"

_Rule = TypeVar("_Rule")


@dataclass(frozen=True)
class Accuracy:
    """Non-inferiority on the same images: of each row to its parent and, where there is one, to the baseline's row."""

    margin: float  # largest tolerable drop
    confidence: float = 0.95
    inconclusive: str = "undecided"  # or "fail", or "warn"
    gain: float = 0.02  # a row that is better than its baseline by more, beyond doubt, is unexplained


@dataclass(frozen=True)
class Floor:
    """The least value of a figure as it was measured, for the rows that fit."""

    figure: str
    at_least: float
    models: tuple[str, ...] = ("*",)
    targets: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class Reference:
    """An accuracy that is known on certain images; a row may neither fall below it nor rise above it unexplained."""

    accuracy: float
    tolerance: float
    data: str  # the fingerprint of the images, or how it begins
    models: tuple[str, ...] = ("*",)
    targets: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class Ratio:
    """The most that a row's round trip may be of another's, launched in turn with it."""

    to: str  # a target of the same configuration
    at_most: float
    models: tuple[str, ...] = ("*",)
    targets: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class Exact:
    """[exact]: figures that have to be those of the baseline."""

    figures: tuple[str, ...]


@dataclass(frozen=True)
class Latency:
    """The most that a row may have slowed since the baseline, on an equal machine."""

    tripwire: float  # as a ratio: 1.5 is half as slow again
    relative_to: str = ""  # a target measured in both runs, which takes out what the machine did; "": none


@dataclass(frozen=True)
class Rules:
    """What a gate checks."""

    accuracy: Accuracy | None = None
    floors: tuple[Floor, ...] = ()
    references: tuple[Reference, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    latency: Latency | None = None
    exact: tuple[str, ...] = ()  # figures that must equal the baseline's


def fits(rule: Floor | Reference | Ratio, row: Row) -> bool:
    """Whether a rule is about that row; names are patterns as of a shell."""
    return any(fnmatchcase(row.variant, model) for model in rule.models) and any(
        fnmatchcase(row.target, target) for target in rule.targets
    )


def read(path: Path) -> Rules:
    """The rules in that file; raises UsageError, naming the file and the rule, for anything that is none."""
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} is missing. Expected rules in TOML. Write them, or leave --rules out.") from None
    except MALFORMED as error:  # TOMLDecodeError is a ValueError
        raise UsageError(f"{path} is not TOML ({error}). Expected rules like {DEFAULT.name}. Correct it.") from None
    try:
        return _rules(document)
    except MALFORMED as error:
        raise UsageError(
            f"{path} is no set of rules: {error}. Expected the tables that {DEFAULT.name} explains. Correct it."
        ) from None


def _rules(document: Mapping[str, Any]) -> Rules:
    unknown = sorted(document.keys() - {"version", "accuracy", "floor", "reference", "ratio", "latency", "exact"})
    if unknown:
        raise ValueError(f"it has the unknown table {unknown[0]}")
    if document.get("version") != VERSION:
        raise ValueError(f"its version is {document.get('version')!r}, and this lc2fer reads {VERSION}")
    for name in document.keys() - {"version"}:
        several = name in ("floor", "reference", "ratio")
        if not isinstance(document[name], list if several else Mapping):
            written = f"[[{name}]]" if several else f"[{name}]"
            raise ValueError(f"{name} is {document[name]!r}, and it is a table, {written}")
    exact = _one(Exact, document.get("exact"), "exact")
    rules = Rules(
        accuracy=_one(Accuracy, document.get("accuracy"), "accuracy"),
        floors=tuple(_floor(table) for table in document.get("floor", ())),
        references=tuple(_some(Reference, table, "reference") for table in document.get("reference", ())),
        ratios=tuple(_some(Ratio, table, "ratio") for table in document.get("ratio", ())),
        latency=_one(Latency, document.get("latency"), "latency"),
        exact=() if exact is None else exact.figures,
    )
    accuracy = rules.accuracy
    if accuracy is not None:
        if not 0 < accuracy.margin < 1 or not 0.5 < accuracy.confidence < 1 or accuracy.gain <= 0:
            raise ValueError(f"accuracy has {vars(accuracy)}, and a margin is a share between 0 and 1")
        if accuracy.inconclusive not in ("undecided", "fail", "warn"):
            raise ValueError(
                f'accuracy.inconclusive is {accuracy.inconclusive!r}, and it is "undecided", "fail" or "warn"'
            )
    if rules.latency is not None and rules.latency.tripwire <= 1:
        raise ValueError(f"latency.tripwire is {rules.latency.tripwire}, and it is a ratio above 1")
    if any(not reference.data for reference in rules.references):
        raise ValueError("reference.data is empty, and it is how the fingerprint of the images begins")
    for figure in rules.exact:
        if figure not in EXACT:
            raise ValueError(f"exact.figures has {figure!r}, and there are {', '.join(EXACT)}")
    return rules


def _floor(table: Mapping[str, Any]) -> Floor:
    floor = _some(Floor, table, "floor")
    if floor.figure not in FLOORS:
        raise ValueError(f"a floor has the figure {floor.figure!r}, and there are {', '.join(FLOORS)}")
    return floor


def _one(kind: type[_Rule], table: Mapping[str, Any] | None, name: str) -> _Rule | None:
    return None if table is None else _some(kind, table, name)


def _some(kind: type[_Rule], table: Mapping[str, Any], name: str) -> _Rule:
    known = {one.name: str(one.type) for one in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(table, Mapping):
        raise ValueError(f"{name} has {table!r} in the place of a table, [[{name}]]")
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"{name} has the unknown key {key}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        names = isinstance(value, list) and all(isinstance(one, str) for one in value)
        right = {"float": number, "str": isinstance(value, str)}.get(known[key], names)
        if not right:
            raise ValueError(f"{name}.{key} is {value!r}")
    for one in fields(kind):  # type: ignore[arg-type]
        if one.name not in table and one.default is MISSING and one.default_factory is MISSING:
            raise ValueError(f"{name} lacks {one.name}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})
