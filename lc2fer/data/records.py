"""How a folder's faces were cut out: what lc2fer-faces leaves beside them, for who trains on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lc2fer.alignment import ALIGNMENTS
from lc2fer.arguments import at_home
from lc2fer.errors import DataError, UsageError

FILE = "lc2fer-faces.json"
_LIMIT = 100_000  # bytes


def write(folder: Path, alignment: str, size: int, finder: str) -> None:
    """Leave the record in a folder of crops."""
    text = json.dumps({"alignment": alignment, "size": size, "finder": finder}, indent=2)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> str | None:
    """How the faces in a folder were cut out; None where nothing says it. Raises DataError for a damaged record."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _LIMIT:
            raise ValueError
        found = json.loads(path.read_text(encoding="utf-8"))["alignment"]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    if found not in ALIGNMENTS:
        raise DataError(
            f"{path} does not say how the faces were cut out. Expected lc2fer-faces's record, with an alignment of "
            f"{', '.join(ALIGNMENTS)}. Make the folder again, or remove that file."
        )
    return str(found)


def agree(data: str | Path, alignment: str) -> None:
    """Raise DataError where a folder's faces were cut out otherwise than those that weights were trained on."""
    found = read(at_home(data))
    if found not in (None, alignment):
        raise DataError(
            f"The faces of {data} were cut out with --alignment {found}, and those that the weights were trained on "
            f"with {alignment}. The same was expected. Make them with lc2fer-faces --alignment {alignment}."
        )


def alignment_of(data: Sequence[str], given: str | None) -> str:
    """What --alignment is for these --data: as their records say; `given`, where there are none.

    Raises UsageError where records differ from each other or from what was given.
    """
    recorded = {name: found for name in data if (found := read(at_home(name))) is not None}
    wanted = given or next(iter(recorded.values()), "none")
    for name, found in recorded.items():
        if found != wanted:
            what = f"--alignment {given}" if given else f"{wanted}, as {next(iter(recorded))}"
            raise UsageError(
                f"The faces of {name} were cut out with --alignment {found}. {what} was expected. "
                f"Make them with lc2fer-faces --alignment {wanted}, or pass --alignment {found}."
            )
    return wanted
