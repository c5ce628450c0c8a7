"""Whether the harness can be believed here: `python -m lc2fer.benchmarks.studies.trial MODEL`.

One model as three rows that take turns, as in a run against stock routes. A/A: two of them have to differ by less than
the interval of their ratio, nearly always. A/B: the third is slowed artificially, and has to be found slower, nearly
always.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from lc2fer import artifact as artifacts
from lc2fer import threads
from lc2fer.arguments import a_path
from lc2fer.artifact import Artifact
from lc2fer.data import SYNTHETIC, open_dataset, read_pixels

from ..judging.ratios import between
from ..judging.spread import Spread
from ..measuring.conditions import pinned
from ..measuring.images import Images, test_set
from ..measuring.launch import Settings
from ..measuring.turns import ROUNDS, take_turns

FEWEST = 0.9  # share of the repeats that have to come out right


def alike(found: Spread) -> bool:
    """Whether a ratio is 1 as far as its interval tells."""
    return found.low is not None and found.high is not None and found.low <= 1 <= found.high


def slower(found: Spread) -> bool:
    """Whether a ratio is above 1 beyond its interval."""
    return found.low is not None and found.low > 1


def main(arguments: list[str]) -> int:
    """Run the repeats, say what each found, and return 0 where at least nine of ten of either kind came out right."""
    chosen = _parse(arguments)
    artifact = artifacts.load(chosen.model)
    plain = Settings(chosen.threads, cores=pinned(chosen.threads))
    contenders = [(artifact, plain), (artifact, plain), (artifact, replace(plain, slowdown=chosen.slowdown))]
    right = {"A/A": 0, "A/B": 0}
    with tempfile.TemporaryDirectory(prefix="lc2fer-trial-") as folder:
        work = Path(folder)
        images = _images(artifact, chosen.data, work)
        for number in range(chosen.repeats):
            launches = [take_turns(contenders, images, work, rounds=chosen.rounds) for _ in range(chosen.launches)]
            for kind, place, verdict in (("A/A", 1, alike), ("A/B", 2, slower)):
                found = between(launches, place, 0)
                right[kind] += verdict(found)
                state = "right" if verdict(found) else "wrong"
                interval = "one launch" if found.low is None else f"{found.low:.3f} to {found.high:.3f}"
                print(f"{kind} {number + 1}: {found.value:.3f} ({interval}), {state}", flush=True)
    for kind, count in right.items():
        print(f"{kind}: {count} of {chosen.repeats} right")
    return 0 if min(right.values()) >= FEWEST * chosen.repeats else 1


def _images(artifact: Artifact, data: str, work: Path) -> Images:
    samples, _ = test_set(open_dataset(data), data, 256)
    path = work / "images.bin"
    read_pixels(samples, artifact.input_spec).tofile(path)
    return Images(path, len(samples), artifact.input_spec.size)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lc2fer.benchmarks.studies.trial", description=__doc__)
    parser.add_argument("model", type=a_path, help="a model file with its manifest")
    parser.add_argument("--data", default=SYNTHETIC, metavar="DIR")
    parser.add_argument("--repeats", type=int, default=10, metavar="N")
    parser.add_argument("--launches", type=int, default=5, metavar="N", help="of each row in a repeat (default: 5)")
    parser.add_argument("--slowdown", type=float, default=1.1, metavar="X", help="of the slowed row (default: 1.1)")
    parser.add_argument("--threads", type=int, default=threads.usable_cores(), metavar="N")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"of a launch (default: {ROUNDS})")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
