"""The commands of README, CONTRIBUTING and docs/, by what each is run, and a folder with what they read."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import layouts
from PIL import Image, ImageEnhance

from lc2fer import artifact

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELL, PYTHON = "sh", "python"
NO_COMMANDS = ("text", "yaml", "csv", "ini")  # languages of blocks that nobody runs
GATE, LONG, NEVER = "gate", "long", "never"


@dataclass(frozen=True)
class Line:
    """A command as a page shows it, continued lines joined; a fenced block is one."""

    page: Path
    number: int  # of its first line, from 1
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.number}"


@dataclass(frozen=True)
class Rule:
    """What is done with the lines that begin so."""

    begins: str = ""
    how: str = GATE  # in the gate, by tests/every_command.py alone, or never
    why: str = ""
    more: str = ""
    instead: tuple[str, str] = ("", "")
    before: str = ""
    exit_codes: tuple[int, ...] = (0,)

    def command(self, line: str) -> str:
        """The line as it is run."""
        line = line.replace(*self.instead) if self.instead[0] else line
        # More flags go before what follows the command in a pipe, a loop or a redirection.
        end = re.search(r"; done| \| | && | > |$", line)
        assert end is not None
        more = f" {self.more}" if self.more else ""
        return f"{line[: end.start()]}{more}{line[end.start() :]}"


def rules() -> list[Rule]:
    """Those of tests/documents.toml."""
    tables = tomllib.loads((ROOT / "tests" / "documents.toml").read_text(encoding="utf-8"))
    made = []
    for how in (GATE, LONG, NEVER):
        for one in tables.get(how, []):
            rest = {name: tuple(value) if isinstance(value, list) else value for name, value in one.items()}
            made += [Rule(begins, how, **rest) for begins in rest.pop("lines")]
    return made


def rule_of(line: Line, among: list[Rule]) -> Rule:
    """The one with the longest beginning; without any a line is run in the gate as it stands."""
    found = [rule for rule in among if line.text.startswith(rule.begins)]
    return max(found, key=lambda rule: len(rule.begins), default=Rule())


def lines_of(page: Path) -> Iterator[Line]:
    """The commands of a page's indented and fenced blocks, comments left out."""
    language, fenced, began, joined, before = "", [], 0, "", ""
    for number, text in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if text.startswith("```"):
            if not language:
                language, fenced, began = text[3:].strip() or SHELL, [], number
            else:
                if language not in NO_COMMANDS:
                    yield Line(page, began, language, "\n".join(fenced))
                language = ""
        elif language:
            fenced.append(text)
        elif text.startswith("    ") and (joined or not before.strip() or before.startswith("    ")):
            began = began if joined else number
            joined += text.strip()
            if joined.endswith("\\"):
                joined = joined[:-1]
            else:
                command = re.split(r"\s+#|^#", joined)[0].rstrip()
                if command:
                    yield Line(page, began, SHELL, command)
                joined = ""
        before = text


def prepare(folder: Path, photographs: Sequence[Path], faces: int) -> None:
    """What the pages' commands read, under the names that they use: photographs with one face each, a film, data sets.

    `faces` is the number of training images a class; a fifth as many are for the test.
    """
    for name in ("photos", "more", "archive", *(f"photographs/{one}" for one in ("happiness", "neutral"))):
        (folder / name).mkdir(parents=True)
    first, second = (Image.open(path).convert("RGB") for path in photographs)
    for name in ("photo.jpg", "face.jpg", "more/a.jpg", "archive/a.jpg"):
        first.save(folder / name)
    for name, picture in (("a", first), ("b", second)):
        picture.save(folder / "photos" / f"{name}.jpg")
    for name, picture in (("happiness", first), ("neutral", second)):
        for number in range(6):
            changed = ImageEnhance.Brightness(picture).enhance(0.75 + 0.1 * number)
            changed.save(folder / "photographs" / name / f"{number}.jpg")
    layouts.folders(folder / "FACES", layouts.EXPRESSIONS, {"train": faces, "test": max(1, faces // 5)})
    for name in ("RAFDB", "RAF-DB"):
        (folder / name).symlink_to("FACES")
    (folder / "run").mkdir()
    for suffix in (".safetensors", ".json"):
        for name, place in (("C6", "run/C6"), ("C8", "C8")):
            shutil.copy(artifact.bundled(name).with_suffix(suffix), folder / f"{place}{suffix}")
    _film(folder / "film.mp4", first)


def _film(path: Path, picture: Image.Image) -> None:
    """Two pictures of a film, by OpenCV."""
    import cv2
    import numpy as np

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 5, picture.size)
    for _ in range(2):
        writer.write(np.asarray(picture)[:, :, ::-1])
    writer.release()
