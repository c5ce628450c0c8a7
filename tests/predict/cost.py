"""What a picture costs alone and in a batch: `python tests/predict/cost.py PICTURES MODEL ... [--batch 32]`.

The loop of lc2fer-predict over the first 96 pictures, faces as they are cropped, with --batch 1 and with --batch N in
turns. Prints medians and the median of the ratios; exit code 1 where a picture in a batch costs more than 0.7.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from lc2fer import open_session
from lc2fer.pictures import SUFFIXES
from lc2fer.predicting import batches
from lc2fer.predicting.sources import Item
from lc2fer.session import Session
from lc2fer.threads import usual

COUNT, TURNS, MOST = 96, 7, 0.7


def cost_ms(session: Session, items: list[Item], batch: int) -> float:
    """Milliseconds a picture."""
    options = {"batch": batch, "workers": min(batch, usual()), "keep": False}
    start = time.perf_counter()
    told = list(batches.judged(batches.units(items, 1.0), session, None, "crop", **options))
    seconds = time.perf_counter() - start
    assert all(each.line is not None for each in told)
    return 1000 * seconds / len(told)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--batch", type=int, default=32)
    given = parser.parse_args(arguments)
    files = sorted(path for path in given.pictures.rglob("*") if path.suffix.lower() in SUFFIXES)[:COUNT]
    items = [Item(path, Path(path.name)) for path in files]
    worst = 0.0
    for model in given.models:
        with open_session(model) as session:
            for batch in (1, given.batch):
                cost_ms(session, items, batch)
            turns = [[cost_ms(session, items, batch) for batch in (1, given.batch)] for _ in range(TURNS)]
        alone, many = np.median(turns, axis=0)
        ratio = float(np.median([each / one for one, each in turns]))
        worst = max(worst, ratio)
        print(f"{model.name}: {alone:.3f} ms alone, {many:.3f} ms in {given.batch}; {ratio:.2f} of it", flush=True)
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
