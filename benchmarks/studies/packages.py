"""lc2fer-bench packages: what others install today for the same task, given the same faces.

Each package gets an environment of its own and, in a process of its own, the very pixels of D^e that our models get:
a crop that is all face, so no finder of anybody's has a part in it. What cannot be installed or run is a row with the
reason. Who was asked is not asked again; `--times` measures times, anew, and wants a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer import artifact as artifacts
from lc2fer import metrics
from lc2fer.arguments import Joined, a_path, check_counts
from lc2fer.artifact import Artifact
from lc2fer.data import SYNTHETIC, open_dataset
from lc2fer.data.names import Names
from lc2fer.errors import MALFORMED, ArtifactError, Lc2ferError, UsageError
from lc2fer.storage import cache_folder
from lc2fer.text import remark

from ..judging import paired
from ..measuring.images import Images, preparer, test_set
from ..measuring.models import make
from ..report.document import Data
from ..views.markdown import tabulated
from .peers import BY_NAME, Failed, Package, ask, ask_python, installed, megabytes

RECORD = "packages.json"
FORMAT = 1
OURS = "lc2fer"
DEFAULT_MODEL = ("C6", "ort-int8-fused")
_TIMED = 100  # faces of a launch for times alone


@dataclass(frozen=True)
class Row:
    """What a package, or a model of ours, answered; with `error`, why it did not."""

    name: str
    error: str | None = None
    confusion: tuple[tuple[int, ...], ...] = ()  # [classes][classes + 1]: the last column is of no answer
    worse: int = 0  # faces that the first model of ours judges rightly and this one wrongly
    better: int = 0
    ms: tuple[float, ...] = ()  # of each launch of --times the median of a face
    megabytes: int | None = None  # of all that was installed, without Python or Node
    errors: Mapping[str, int] | None = None  # faces that it could not judge, by reason

    @property
    def images(self) -> int:
        return sum(map(sum, self.confusion))

    @property
    def right(self) -> int:
        return sum(row[place] for place, row in enumerate(self.confusion))

    @property
    def recalls(self) -> list[float]:
        """Of each class; NaN where there is none of it."""
        return [row[place] / sum(row) if sum(row) else float("nan") for place, row in enumerate(self.confusion)]


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command: the table goes to standard output and, with the rows, to --out."""
    chosen = parser().parse_args(arguments)
    check_counts(chosen, "launches", "limit")
    path = chosen.out / RECORD
    if chosen.report_only:
        print(table(*read(path)))
        return {"record": str(path)}
    chosen.environments = chosen.environments or cache_folder() / "packages"
    chosen.out.mkdir(parents=True, exist_ok=True)
    models = _named([artifacts.load(each) for each in chosen.models] or [_default(chosen.out)])
    spec = next(iter(models.values())).input_spec
    samples, data = test_set(open_dataset(chosen.data), chosen.data, chosen.limit, spec.labels)
    packages = [BY_NAME[name] for name in chosen.only]
    with tempfile.TemporaryDirectory(prefix="lc2fer-packages-") as folder:
        images = preparer(samples, 0, Path(folder), data.label_names)(spec)
        study = _Study(chosen, images, data, Path(folder))
        kept = {name: study.ours(model) for name, model in models.items()}
        kept |= {package.name: study.theirs(package) for package in packages}
        if chosen.times:
            study.time(models.values(), packages, chosen.launches)
        rows = study.rows(kept)
    artifacts.write(path, document(rows, data))
    print(f"{len(data.labels):,} test images of {data.name}")
    print(table(rows, data.label_names))
    return {"record": str(path), "images": len(data.labels), "failed": [row.name for row in rows if row.error]}


class _Study:
    """Answers, kept in --out by what was asked, and the rows that they make."""

    def __init__(self, chosen: argparse.Namespace, images: Images, data: Data, work: Path) -> None:
        self._chosen, self._images, self._data, self._work = chosen, images, data, work
        self._pixels = artifacts.hash_file(images.path)  # what answers depend on; labels may be others

    def ours(self, model: Artifact) -> Path:
        """A model's answers, by this interpreter; its megabytes are those of an environment that only runs models."""
        return self._kept(model.sha256, partial(self._ask_ours, model, 0))

    def theirs(self, package: Package) -> Path:
        """A package's answers; with `error` where it could not be installed or asked."""
        return self._kept(package.name, partial(self._ask, package, 0))

    def time(self, models: Iterable[Artifact], packages: Sequence[Package], launches: int) -> None:
        """Ask all of them, in turns, for times alone, in so many launches."""
        asks = {self._path(model.sha256): partial(self._ask_ours, model, _TIMED) for model in models}
        asks |= {self._path(package.name): partial(self._ask, package, _TIMED) for package in packages}
        asks = {path: ask_again for path, ask_again in asks.items() if "error" not in _read(path)}
        found: dict[Path, list[float]] = {path: [] for path in asks}
        for number in range(launches):
            for path, ask_again in asks.items():
                try:
                    found[path].append(float(np.median(ask_again()["ms"])))
                except Failed as failure:  # its answers stay
                    remark(str(failure))
            remark(f"launch {number + 1} of {launches}")
        for path, times in found.items():
            artifacts.write(path, {**_read(path), "medians": times})

    def rows(self, kept: Mapping[str, Path]) -> list[Row]:
        """Of what is kept, by name; the first is the reference."""
        answers = {name: _read(path) for name, path in kept.items()}
        first, own = next(iter(answers.items()))
        if "error" in own:
            raise UsageError(
                f"{first} was not asked: {own['error']}. It is what the others are compared with. Mend it."
            )
        reference = answered(own["answers"], self._data.label_names)
        return [row_of(name, each, self._data, reference) for name, each in answers.items()]

    def _path(self, of: str) -> Path:
        safe = "".join(letter if letter.isalnum() else "-" for letter in of)[:40]
        return Path(self._chosen.out) / f"answers-{safe}.json"

    def _kept(self, of: str, answers: Callable[[], dict[str, Any]]) -> Path:
        path, same = self._path(of), {"of": of, "pixels": self._pixels}
        there = _read(path)
        if {field: there.get(field) for field in same} == same and "error" not in there:
            return path
        try:
            found = answers()
        except Failed as failure:
            found = {"error": str(failure)}
            remark(f"{of}: {failure}")
        found.pop("ms", None)  # other work may have run meanwhile: see `time`
        artifacts.write(path, {**same, **found})
        return path

    def _ask(self, package: Package, timed: int) -> dict[str, Any]:
        place = self._chosen.environments.absolute() / package.asked  # commands run in other folders
        installed(package, place)
        return {**ask(package, place, self._job(timed), self._work), "megabytes": megabytes(place)}

    def _ask_ours(self, model: Artifact, timed: int) -> dict[str, Any]:
        job = {**self._job(timed), "package": OURS, "model": str(model.path.absolute())}
        return {**ask_python(sys.executable, job, self._work), "megabytes": self._own_megabytes()}

    def _job(self, timed: int) -> dict[str, Any]:
        images = self._images
        return {"pixels": str(images.path), "count": images.count, "size": images.size, "timed": timed}

    def _own_megabytes(self) -> int | None:
        """Of an environment with what runs a model; None where this is no checkout, of which that is installed."""
        checkout = Path(__file__).resolve().parents[2]
        if not (checkout / "pyproject.toml").is_file():
            return None
        own = Package(OURS, OURS, python=(f"{checkout}[cpu]",))
        place = self._chosen.environments.absolute() / own.asked
        installed(own, place)
        return megabytes(place)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def answered(answers: Sequence[str | None], labels: Sequence[str]) -> NDArray[np.int64]:
    """Class ids int64 [N] of names as packages have them ("happy", "surprised"); the number of labels: no answer.

    Raises UsageError for a name that stands for none of the labels.
    """
    names = Names()
    found = []
    for answer in answers:
        label = None if answer is None else names.label(answer)
        if label is not None and label not in labels:
            raise UsageError(
                f"A package answers {answer!r}. One of {', '.join(labels)} was expected. Add it to SYNONYMS of "
                "lc2fer/data/names.py."
            )
        found.append(len(labels) if label is None else list(labels).index(label))
    return np.array(found, np.int64)


def row_of(name: str, kept: Mapping[str, Any], data: Data, reference: NDArray[np.int64]) -> Row:
    """The row of what was kept of a package."""
    if "error" in kept:
        return Row(name, error=kept["error"])
    targets = np.array(data.labels)
    found = answered(kept["answers"], data.label_names)
    classes = len(data.label_names)
    table = np.zeros((classes, classes + 1), np.int64)
    np.add.at(table, (targets, found), 1)
    flips = metrics.flips(targets, reference, found)
    return Row(
        name,
        confusion=tuple(tuple(int(count) for count in row) for row in table),
        worse=flips.worse,
        better=flips.better,
        ms=tuple(kept.get("medians", ())),
        megabytes=kept.get("megabytes"),
        errors=kept["errors"],
    )


def table(rows: Sequence[Row], labels: Sequence[str]) -> str:
    """The rows as Markdown, in the order given, and below it what failed."""
    headings = ["", "accuracy % (95 %)", "mean recall", *labels, "only ours right / only it", "ms a face", "MB"]
    cells = [_cells(row) for row in rows if row.error is None]
    lines = [tabulated(headings, cells)]
    lines += [f"{row.name} has no row: {row.error}." for row in rows if row.error is not None]
    return "\n\n".join(lines)


def _cells(row: Row) -> list[str]:
    low, high = metrics.wilson_interval(row.right, row.images)
    p_value = paired.mcnemar(row.worse, row.better)
    flips = "" if row.worse + row.better == 0 else f"{row.worse} / {row.better}, p {_p(p_value)}"
    time = f"{np.median(row.ms):.3g} ({min(row.ms):.3g} to {max(row.ms):.3g})" if row.ms else ""
    return [
        row.name,
        f"{100 * row.right / row.images:.2f} ({100 * low:.1f} to {100 * high:.1f})",
        f"{100 * float(np.nanmean(row.recalls)):.1f}",
        *(f"{100 * recall:.0f}" for recall in row.recalls),
        flips,
        time,
        "" if row.megabytes is None else f"{row.megabytes:,}",
    ]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def document(rows: Sequence[Row], data: Data) -> dict[str, Any]:
    """The record: counts alone, no picture and no answer to one."""
    told = {"format": FORMAT, "labels": list(data.label_names), "fingerprint": data.fingerprint}
    return {**told, "rows": [asdict(row) for row in rows]}


def read(path: Path) -> tuple[list[Row], tuple[str, ...]]:
    """The rows and labels of a record; raises ArtifactError for a file that is none."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields["format"] != FORMAT:
            raise ValueError(f"format {fields['format']!r}")
        rows = [Row(**row) for row in fields["rows"]]
        rows = [replace(row, confusion=tuple(map(tuple, row.confusion)), ms=tuple(row.ms)) for row in rows]
        return rows, tuple(map(str, fields["labels"]))
    except (OSError, *MALFORMED) as error:
        raise ArtifactError(
            f"{path} cannot be read ({error}). Expected what lc2fer-bench packages wrote. Run it without --report-only."
        ) from None


def _default(out: Path) -> Artifact:
    config, target = DEFAULT_MODEL
    found = make(config, [target], weights=None, data=SYNTHETIC, images="aligned", out=out)[target]
    if isinstance(found, Lc2ferError):
        raise found
    return found


def _named(models: Sequence[Artifact]) -> dict[str, Artifact]:
    """The models by name: variant and target, and their folder where two would be called the same."""
    names = [f"{model.variant} {model.target}" for model in models]
    folders = [
        f", {model.path.absolute().parent.name}" if names.count(name) > 1 else "" for name, model in zip(names, models)
    ]
    return {name + folder: model for name, folder, model in zip(names, folders, models)}


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(
        prog="lc2fer-bench packages",
        description="Give the test faces to packages that others install for the same task, beside models of ours.",
    )
    parser.add_argument("--data", required=False, default=SYNTHETIC, metavar="DIR", help="a folder of faces")
    parser.add_argument(
        "--models",
        type=a_path,
        nargs="+",
        action=Joined,
        default=[],
        metavar="FILE",
        help="ours, the first is what the others are compared with (default: C6's ort-int8-fused, which is made)",
    )
    parser.add_argument(
        "--only", nargs="+", action=Joined, choices=tuple(BY_NAME), default=list(BY_NAME), help="default: all"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="test images; default: all")
    parser.add_argument("--times", action="store_true", help="measure times, anew and in turns")
    parser.add_argument("--launches", type=int, default=3, metavar="N", help="of --times; default: 3")
    parser.add_argument("--report-only", action="store_true", help="the table anew, of what --out holds")
    parser.add_argument(
        "--environments",
        type=a_path,
        metavar="DIR",
        help="where the packages are installed, some gigabytes (default: packages, in the cache)",
    )
    parser.add_argument("--out", type=a_path, default=Path("out/packages"), metavar="DIR", help="default: out/packages")
    return parser
