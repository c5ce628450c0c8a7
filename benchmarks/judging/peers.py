"""Our rows against stock routes from the same weights, and against what the machine could do at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lc2fer.targets import FILES, PEERS, TARGETS, is_stock
from lc2fer.variants import variant

from ..report.document import Rate, Report, Row
from . import ratios, spread
from .spread import Spread

_IN_FLOAT = ("onnx-int8", "onnx-int8-fp16")  # as ONNX Runtime's CPU provider computes them, and so no peers of INT8


@dataclass(frozen=True)
class Pair:
    """One of our rows and the stock row that it stands against."""

    model: str
    ours: str  # targets
    stock: str
    ratio: Spread  # of round trips, ours over stock; below 1 ours is faster


def pairs(report: Report) -> list[Pair]:
    """For each engine: the same precision against the same, and the fastest of ours against the fastest stock.

    Engines of the edge, which none of ours runs on: our fastest of that precision against each.
    """
    found = []
    for model in dict.fromkeys(row.variant for row in report.rows):
        rows = {row.target: row for row in report.rows if row.variant == model}
        chosen = [
            (ours, stock)
            for stock in TARGETS
            if stock in rows and is_stock(stock)
            for ours in _counterparts(stock, rows)
        ]
        for kind in ("checkpoint", "onnx", "openvino"):
            fastest = [_fastest(_of(rows, stock=stock, kind=kind), rows) for stock in (False, True)]
            if None not in fastest and tuple(fastest) not in chosen:
                chosen.append((str(fastest[0]), str(fastest[1])))
        for ours, stock in chosen:
            found.append(Pair(model, ours, stock, ratios.ratio(report, rows[ours], rows[stock])))
    return found


def fraction_of_rate(row: Row, rate: Rate) -> float:
    """Share of the machine's 8-bit matrix rate that a row's multiply-accumulates reach over its whole round trip."""
    macs = variant(row.variant).mac_count(row.input_size)
    return macs / spread.latency_ms(row.launches).value / macs_per_ms(rate)


def macs_per_ms(rate: Rate) -> float:
    """The machine's own rate."""
    return rate.macs / spread.latency_ms(rate.launches).value


def _counterparts(stock: str, rows: dict[str, Row]) -> list[str]:
    """Of the rows, ours of the same engine and precision; of engines that we have nothing for, our fastest."""
    theirs = TARGETS[stock]
    if theirs.kind in PEERS:
        fastest = _fastest(_of(rows, stock=False, precision=theirs.precision), rows)
        return [] if fastest is None else [fastest]
    if theirs.kind == "checkpoint":
        return ["torch"] if "torch" in rows else []
    ours = _of(rows, stock=False, kind=theirs.kind, precision=theirs.precision)
    return [name for name in FILES if name in ours and name not in _IN_FLOAT]


def _of(rows: Iterable[str], *, stock: bool, **wanted: str) -> list[str]:
    """The rows' targets of that side whose fields are the wanted ones."""
    return [
        name
        for name in rows
        if name in TARGETS
        and is_stock(name) == stock
        and all(getattr(TARGETS[name], field) == value for field, value in wanted.items())
    ]


def _fastest(candidates: list[str], rows: dict[str, Row]) -> str | None:
    return min(candidates, key=lambda target: spread.latency_ms(rows[target].launches).value, default=None)
