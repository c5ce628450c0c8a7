"""What a run ends with: how many pictures there were of each source, how old they were, and where their time went."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tabulate import tabulate  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from .feed import Feed  # which imports OpenCV


def of(feeds: Sequence[Feed], seconds: float) -> dict[str, Any]:
    """The last line's part: of all sources together, and of each under `sources`, for a run that took so long."""
    stages = list(dict.fromkeys(stage for feed in feeds for stage in feed.stages_ms))
    return {
        "source": ", ".join(str(feed.capture.source) for feed in feeds) or None,
        "seconds": round(seconds, 2),
        **_counts(feeds, seconds),
        "age_ms": _percentiles(age for feed in feeds for age in feed.ages_ms),
        "stages_ms": {name: _percentiles(value for feed in feeds for value in feed.stages_ms[name]) for name in stages},
        "sources": [
            {
                "name": feed.name,
                "source": str(feed.capture.source),
                **_counts([feed], seconds),
                "age_ms": _percentiles(feed.ages_ms),
                "state": feed.status().state,
            }
            for feed in feeds
        ],
    }


def table(document: dict[str, Any]) -> str:
    """The same for people; of several sources a line each."""
    rows: list[list[Any]] = [
        ["pictures", f"{document['captured']} captured, {document['judged']} judged, {document['dropped']} dropped"],
        ["pictures a second", document["fps"]],
        [
            "first picture after",
            "none came" if document["first_picture_s"] is None else f"{document['first_picture_s']} s",
        ],
    ]
    timed = {"age": document["age_ms"], **document["stages_ms"]}
    rows += [[name, f"p50 {found['p50']} ms, p95 {found['p95']} ms"] for name, found in timed.items() if found]
    rows += [["recorded", one["file"]] for one in document["recorded"]]
    shown = str(tabulate(rows, disable_numparse=True, tablefmt="plain"))
    if len(document["sources"]) < 2:
        return shown
    header = ["source", "captured", "judged", "dropped", "a second", "age p50 ms", "age p95 ms"]
    each = [
        [*(one[key] for key in ("name", "captured", "judged", "dropped", "fps")), *(one["age_ms"] or {}).values()]
        for one in document["sources"]
    ]
    return f"{shown}\n{tabulate(each, header, disable_numparse=True)}"


def _counts(feeds: Sequence[Feed], seconds: float) -> dict[str, Any]:
    judged = sum(feed.scenes for feed in feeds)
    return {
        "captured": sum(feed.capture.frames for feed in feeds),
        "judged": judged,
        "dropped": sum(feed.capture.mailbox.dropped for feed in feeds),
        "fps": round(judged / seconds, 2) if seconds else None,
    }


def _percentiles(values: Iterable[float]) -> dict[str, float] | None:
    """Median and 95th percentile, to a hundredth; None of nothing."""
    found = np.fromiter(values, float)
    if not found.size:
        return None
    p50, p95 = np.percentile(found, [50, 95])
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2)}
