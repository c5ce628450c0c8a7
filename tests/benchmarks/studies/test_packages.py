"""lc2fer-bench packages: what others install, given the same faces: the table, and what failed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lc2fer.benchmarks.command import main
from lc2fer.benchmarks.report.document import Data
from lc2fer.benchmarks.studies import ask_python, packages, peers

from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError, UsageError
from lc2fer.inputs import LABELS

# A package with fer's names: it takes fear for sadness, and fails at anger.
FER = """
class FER:
    def __init__(self, offsets):
        assert offsets == (0, 0)

    def detect_emotions(self, img, face_rectangles):
        assert face_rectangles == [(0, 0, img.shape[1], img.shape[0])]
        red = int(img[0, 0, 2]) // 32
        name = ("surprise", "sad", "disgust", "happy", "sad", "angry", "neutral")[red]
        if name == "angry":
            raise ValueError("no mouth")
        return [{"box": face_rectangles[0], "emotions": {"neutral": 0.1, name: 0.9}}]
"""


@pytest.fixture
def environments(engine: None, tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two environments that are there: fer's, with the package above, and ours."""
    package = tmp_path / "engine" / "fer"  # where `engine` lets every process look
    package.mkdir()
    (package / "fer.py").write_text(FER)
    place = tmp_path / "environments"
    for name, wanted in (("fer", "fer==25.10.3"), ("lc2fer", f"{checkout}[cpu]")):
        (place / name / "bin").mkdir(parents=True)
        (place / name / ".installed").write_text(wanted)
    python = place / "fer" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (place / "fer" / "weights").write_bytes(bytes(3_000_000))
    monkeypatch.setattr(peers.shutil, "which", lambda name: None)
    return place


def test_packages_get_the_same_faces_and_what_fails_is_named(
    environments: Path,
    faces: Path,
    tiny: Callable[..., Artifact],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = tiny(tmp_path, "C6-onnx-fp32", b"fast")
    out = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    command = ["packages", "--data", str(faces), "--models", str(model.path), "--only", "fer", "face-api"]
    command += ["--environments", environments.name, "--out", str(out), "--times", "--launches", "2"]
    document = main(command)
    assert document["images"] == 70
    assert document["failed"] == ["@vladmandic/face-api 1.7.15"]
    (ours, fer, failed), labels = packages.read(out / packages.RECORD)
    assert labels == LABELS
    assert (ours.name, ours.right, ours.images, ours.worse, ours.better) == ("C6 onnx-fp32", 70, 70, 0, 0)
    assert failed.error == "npm is not installed here"
    assert fer.confusion[1] == (0, 0, 0, 0, 10, 0, 0, 0), "fear is taken for sadness"
    assert fer.confusion[5] == (0, 0, 0, 0, 0, 0, 0, 10), "where it fails it gives no answer"
    assert fer.errors == {"ValueError: no mouth": 10}
    assert [len(row.ms) for row in (ours, fer, failed)] == [2, 2, 0]
    assert (fer.right, fer.worse, fer.better, fer.megabytes) == (50, 20, 0, 3)
    text = capsys.readouterr().out
    assert "@vladmandic/face-api 1.7.15 has no row: npm is not installed here." in text
    assert "| 71.43 (" in text
    assert "| 20 / 0, p < 0.001 " in text

    def never(*given: Any) -> dict[str, Any]:
        raise AssertionError("asked again")

    monkeypatch.setattr(packages, "ask_python", never)
    monkeypatch.setattr(packages, "ask", never)
    main(command[:-3])
    main(["packages", "--out", str(out), "--report-only"])
    again = capsys.readouterr().out
    assert again.count(packages.table([ours, fer, failed], labels)) == 2


def test_names_of_all_packages_are_ours() -> None:
    said = ["angry", "Disgust", "fearful", "happy", "sadness", "surprised", "Neutral", "disgusted", None]
    assert packages.answered(said, LABELS).tolist() == [5, 2, 1, 3, 4, 0, 6, 2, 7]
    with pytest.raises(UsageError, match=r"A package answers 'bored'. One of surprise, fear, .* was expected. Add it"):
        packages.answered(["bored"], LABELS)


def test_a_row_is_counted_from_answers() -> None:
    labels = (0, 0, 1, 3, 3, 6)
    data = Data("faces", "f", 6, ("x",) * 6, labels, LABELS)
    kept = {"answers": ["surprise", "fear", "fear", "happy", None, "sad"], "errors": {"ValueError: x": 1}}
    reference = np.array([0, 0, 2, 3, 3, 6])
    row = packages.row_of("p", {**kept, "medians": [2.0, 4.5, 3.0], "megabytes": 1234}, data, reference)
    assert (row.right, row.images, row.worse, row.better) == (3, 6, 3, 1)
    assert np.allclose(row.recalls, [0.5, 1, np.nan, 0.5, np.nan, np.nan, 0], equal_nan=True)
    line = packages.table([row], LABELS).splitlines()[-1]
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        *("p", "50.00 (18.8 to 81.2)", "50.0", "50", "100", "nan", "50", "nan", "nan", "0"),
        *("3 / 1, p 0.625", "3 (2 to 4.5)", "1,234"),
    ]


def test_a_face_that_a_package_cannot_judge_is_told() -> None:
    def ask(face: np.ndarray) -> str:
        if face.max() == 0:
            raise ValueError("dark")
        return "happy"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ask_python, "WARM_UP", 0)
        found = ask_python.asked(ask, np.stack([np.full((4, 4, 3), level, np.uint8) for level in (9, 0, 0)]))
    assert found["answers"] == ["happy", None, None]
    assert found["errors"] == {"ValueError: dark": 2}
    assert len(found["ms"]) == 3


def test_what_cannot_be_installed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.shutil, "which", lambda name: "/bin/false")
    package = peers.BY_NAME["human"]
    with pytest.raises(peers.Failed, match=r"^false failed \(it said nothing\)$"):
        peers.installed(package, tmp_path / "human")
    assert not (tmp_path / "human" / ".installed").exists()
    true = "/bin/true"
    monkeypatch.setattr(peers.shutil, "which", lambda name: true)
    peers.installed(package, tmp_path / "human")
    assert (tmp_path / "human" / ".installed").read_text().startswith("@vladmandic/human@3.3.6 ")


def test_a_record_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "packages.json").write_text('{"format": 0}')
    with pytest.raises(ArtifactError, match=r"packages.json cannot be read \(format 0\). Expected what lc2fer-bench"):
        packages.main(["--out", str(tmp_path), "--report-only"])


def test_the_documents_table_is_the_recorded_one(checkout: Path) -> None:
    rows, labels = packages.read(checkout / "docs" / "recorded" / "accuracy" / packages.RECORD)
    assert packages.table(rows, labels) in (checkout / "docs" / "accuracy.md").read_text(encoding="utf-8")
    assert {row.name for row in rows} >= {package.name for package in peers.PACKAGES}


def test_every_package_has_an_adapter() -> None:
    node = Path(packages.__file__).with_name("ask_node.mjs").read_text(encoding="utf-8")
    for package in peers.PACKAGES:
        assert (
            package.asked in ask_python.ADAPTERS
            or f"{package.asked}': async" in node
            or f"{package.asked}: async" in node
        )
    assert json.dumps(sorted(peers.BY_NAME)) == json.dumps(sorted(package.asked for package in peers.PACKAGES))


@pytest.mark.parametrize(("option", "number"), [("--limit", "-5"), ("--limit", "0"), ("--launches", "0")])
def test_fewer_than_one_is_refused_before_anything_is_kept(option: str, number: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"^{option} is {number}\. Expected 1 or more\. "):
        main(["packages", "--times", option, number, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
