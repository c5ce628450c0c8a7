"""lc2fer-faces: a folder of photographs into a folder of aligned faces, as data sets of crops are."""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tabulate import tabulate  # type: ignore[import-untyped]

from lc2fer import pictures
from lc2fer.alignment import ALIGNMENTS, square
from lc2fer.arguments import a_path
from lc2fer.data import records
from lc2fer.errors import DataError, UsageError
from lc2fer.finder import find_in_crop, open_finder
from lc2fer.predicting import sources
from lc2fer.predicting.sources import Item
from lc2fer.storage import fitting
from lc2fer.text import printable, stderr_console

_MOST_NAMED = 100  # files without a face that the last line names


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = argparse.ArgumentParser(
        prog="lc2fer-faces",
        description="Find the faces of a folder's photographs and write them as aligned crops, in the same subfolders.",
    )
    parser.add_argument("folder", type=a_path, metavar="FOLDER", help="of photographs, also in its subfolders")
    parser.add_argument("--out", type=a_path, required=True, metavar="FOLDER", help="new or empty")
    parser.add_argument("--size", type=int, default=100, metavar="PIXELS", help="of a crop's side (default: 100)")
    parser.add_argument(
        "--alignment",
        choices=ALIGNMENTS,
        default="eyes",
        help="eyes: level and in place (default); level: level; none: the plain square",
    )
    parser.add_argument(
        "--crops",
        action="store_true",
        help="the pictures are faces that were cut out already: where none is found, the picture is kept as it is",
    )
    parser.add_argument("--all", action="store_true", help="every face of a photograph; default: the largest")
    parser.add_argument("--face-model", type=a_path, metavar="FILE", help="YuNet; default: BlazeFace, which is here")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of the finder of faces (default: 1)")
    return parser


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command; returns the last line's document."""
    given = parser().parse_args(arguments)
    _check(given)
    finder = open_finder(given.face_model, threads=given.threads, thorough=True)
    console = stderr_console()
    found = sources.Found()
    find = partial(find_in_crop, finder) if given.crops else finder.find
    counts = {"pictures": 0, "faces": 0, "without_face": 0, "several_faces": 0, "unreadable": 0, "films": 0}
    lonely: list[str] = []
    there = given.out.is_dir()  # it may be the one that somebody is in, a link's, or where a disk is mounted
    given.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        staged = Path(tempfile.mkdtemp(prefix=f".{given.out.name}.", dir=given.out if there else given.out.parent))
    except OSError as error:
        error.filename = str(given.out)  # what the user knows
        raise
    try:
        for item in sources.walk([str(given.folder)], io.BytesIO(), found, leave=staged):
            try:
                if isinstance(item, DataError):
                    raise item
                if item.is_film:
                    counts["films"] += 1
                    continue
                image = np.asarray(pictures.read(item.path).image, np.uint8)
            except DataError as error:
                counts["unreadable"] += 1
                console.print(f"DataError: {printable(error)}", markup=False, highlight=False, soft_wrap=True)
                continue
            faces = find(image)
            counts["pictures"] += 1
            counts["without_face"] += not faces
            counts["several_faces"] += len(faces) > 1
            if not faces and len(lonely) < _MOST_NAMED:
                lonely.append(str(item.path))
            squares = [square(image, face, given.size, given.alignment) for face in (faces if given.all else faces[:1])]
            counts["faces"] += len(squares)
            _write(staged, item, squares or [image] * given.crops, numbered=given.all)
        if counts["faces"]:  # else nothing stands in the way of the command when it is corrected
            records.write(staged, given.alignment, given.size, finder.name)
            if there:
                for path in sorted(staged.iterdir(), key=lambda path: path.name == records.FILE):  # which is last
                    path.replace(given.out / path.name)
            else:
                staged.chmod(0o755)
                staged.replace(given.out)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    if (remark := found.remark()) is not None:
        console.print(remark, markup=False, highlight=False, soft_wrap=True)
    print(tabulate([[name.replace("_", " "), count] for name, count in counts.items()], tablefmt="plain"))
    return {
        "out": str(given.out) if counts["faces"] else None,
        "size": given.size,
        "alignment": given.alignment,
        "finder": finder.name,
        **counts,
        "without_face_files": lonely,
        "left_out": found.left_out,
        "exit_code": 2 if counts["unreadable"] or not counts["faces"] else 0,
    }


def _check(given: argparse.Namespace) -> None:
    if not given.folder.is_dir():
        raise UsageError(f"{given.folder} is not a folder. Expected a folder of photographs. Check the path.")
    if not 16 <= given.size <= 4096:
        raise UsageError(f"--size is {given.size}. Expected 16 to 4096 pixels. Pass, say, 100.")
    sources.new_folder(given.out, "--out")


def _write(folder: Path, item: Item, squares: list[NDArray[np.uint8]], *, numbered: bool) -> None:
    """Write a picture's faces as PNG, which keeps them as they are."""
    for number, pixels in enumerate(squares, 1):
        ending = f"-{number}.png" if numbered else ".png"
        target, again = folder / item.name.with_name(fitting(item.name.stem, ending)), 1
        while target.exists():  # a.jpg and a.png lie side by side, and long names may differ in what was cut
            target = target.with_name(fitting(item.name.name, ending if again == 1 else f"-{again}{ending}"))
            again += 1
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(pictures.encoded(Image.fromarray(pixels), "PNG"))
