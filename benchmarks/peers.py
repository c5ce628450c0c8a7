"""Our rows against stock routes from the same weights, and against what the machine could do at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lc2fer.exporting import PEERS
from lc2fer.variants import variant

from . import spread, turns
from .report import Rate, Report, Row
from .spread import Spread

_STOCK = "stock-"
_OURS = {"onnx": ("onnx", "ort")}  # targets that run on an engine, where they are not named after it alone


@dataclass(frozen=True)
class Pair:
    """One of our rows and the stock row that it stands against."""

    model: str
    ours: str  # targets
    stock: str
    ratio: Spread  # of round trips, ours over stock; below 1 ours is faster


def pairs(report: Report) -> list[Pair]:
    """For each engine: the same precision against the same, and the fastest of ours against the fastest stock."""
    found = []
    for model in dict.fromkeys(row.variant for row in report.rows):
        rows = {row.target: row for row in report.rows if row.variant == model}
        chosen = [(ours, stock) for stock in PEERS if stock in rows for ours in _counterparts(stock) if ours in rows]
        for engine in ("torch", "onnx", "openvino"):
            fastest = [_fastest(rows, prefix) for prefix in (_OURS.get(engine, engine), _STOCK + engine)]
            if None not in fastest and tuple(fastest) not in chosen:
                chosen.append((str(fastest[0]), str(fastest[1])))
        for ours, stock in chosen:
            found.append(Pair(model, ours, stock, turns.ratio(report, rows[ours], rows[stock])))
    return found


def fraction_of_rate(row: Row, rate: Rate) -> float:
    """Share of the machine's 8-bit matrix rate that a row's multiply-accumulates reach over its whole round trip."""
    macs = variant(row.variant).mac_count(row.input_size)
    return macs / spread.latency_ms(row.launches).value / macs_per_ms(rate)


def macs_per_ms(rate: Rate) -> float:
    """The machine's own rate."""
    return rate.macs / spread.latency_ms(rate.launches).value


def _counterparts(stock: str) -> tuple[str, ...]:
    name = stock.removeprefix(_STOCK)
    if name.startswith("torch"):
        return ("torch",)
    if name == "onnx-int8":
        return ("ort-int8", "ort-int8-fused")
    return (name, "ort-fp32", "ort-fp32-fused") if name == "onnx-fp32" else (name, f"{name}-fused")


def _fastest(rows: dict[str, Row], prefix: str | tuple[str, ...]) -> str | None:
    candidates: Sequence[str] = [target for target in rows if target.startswith(prefix)]
    return min(candidates, key=lambda target: spread.latency_ms(rows[target].launches).value, default=None)
