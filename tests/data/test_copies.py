"""Test images among the training images: found however they were saved, and no faces that only look alike."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from lc2fer import cli
from lc2fer.data import copies, open_dataset, synthetic
from lc2fer.data.drawing import draw
from lc2fer.errors import DataError
from lc2fer.reading import Reading


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 20 training and 6 test faces, drawn; of the test faces three were copied, three ways."""
    root = tmp_path_factory.mktemp("copies") / "faces"
    rng = np.random.default_rng(3)
    for part, count in (("train", 20), ("test", 6)):
        for label, name in ((3, "happy"), (4, "sad")):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                draw(synthetic.sample(label, rng)).save(root / part / name / f"{part}{number:02d}.png")
    happy, to = root / "test" / "happy", root / "train" / "happy"
    shutil.copy(happy / "test00.png", to / "a.png")
    image = Image.open(happy / "test01.png")
    image.save(to / "b.jpg", quality=88)
    ImageOps.mirror(image).save(to / "c.jpg", quality=95)
    image.resize((64, 64)).save(to / "d.png")
    return root


def test_all_of_them_are_listed(root: Path) -> None:
    with pytest.raises(DataError) as refused:
        open_dataset(root)
    assert str(refused.value) == (
        f"4 training images of {root} are test images too:\n"
        "train/happy/a.png is the same picture as the test image test00.png\n"
        "train/happy/b.jpg is the same picture as the test image test01.png (saved anew)\n"
        "train/happy/c.jpg is the same picture as the test image test01.png (mirrored)\n"
        "train/happy/d.png is the same picture as the test image test01.png (saved anew). Calibration and policy may "
        "not see D^e. Remove the copy of each among the training images, or pass --leave-out-copies, which does "
        "without them."
    )


@pytest.mark.parametrize("command", ["train", "export", "bench", "explain"])
def test_each_command_lists_them_a_line_each(
    command: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--configs" if command == "bench" else "--config", "C8"]
    target = ["--target", "onnx-fp32"] if command == "export" else []
    code = cli.run(command, [*chosen, *target, "--data", str(root), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err.splitlines()
    assert code == 2
    assert f"DataError: 4 training images of {root} are test images too:" in said
    assert "train/happy/b.jpg is the same picture as the test image test01.png (saved anew)" in said
    assert said[-1].endswith("pass --leave-out-copies, which does without them.")


def test_those_that_were_saved_anew_are_listed_and_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "WORTH_KEEPING", 0)
    copy = Path(shutil.copytree(root, tmp_path / "faces"))
    (copy / "train" / "happy" / "a.png").unlink()
    for _ in range(2):  # found, and read from the cache
        found = open_dataset(copy)
        assert found.notes == (
            f"3 training images of {copy} are test images too:\n"
            "train/happy/b.jpg is the same picture as the test image test01.png (saved anew)\n"
            "train/happy/c.jpg is the same picture as the test image test01.png (mirrored)\n"
            "train/happy/d.png is the same picture as the test image test01.png (saved anew). Weights that are trained "
            "on them score better than they are. Pass --leave-out-copies to do without them; calibration and proof do "
            "so anyway.",
        )
        assert {path.name for path in found.copies} == {"b.jpg", "c.jpg", "d.png"}
    assert len(list((tmp_path / "cache" / "copies").iterdir())) == 1
    ImageOps.mirror(Image.open(copy / "test" / "sad" / "test00.png")).save(copy / "train" / "sad" / "more.png")
    assert len(open_dataset(copy).copies) == 4


def test_a_user_without_a_home_has_them_found_anew(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(copies, "WORTH_KEEPING", 0)
    monkeypatch.setattr(Path, "home", nobody_home)
    for name in ("LC2FER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    copy = Path(shutil.copytree(root, tmp_path / "faces"))
    (copy / "train" / "happy" / "a.png").unlink()
    assert {path.name for path in open_dataset(copy).copies} == {"b.jpg", "c.jpg", "d.png"}


def test_they_are_left_out_where_that_is_asked_for(root: Path) -> None:
    found = open_dataset(root, reading=Reading(leave_out_copies=True))
    assert found.notes == ("Left out: 4 training images that are test images too.",)
    assert (len(found.train), len(found.test)) == (40, 12)


def test_a_class_of_copies_only_has_none_left(root: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(root, tmp_path / "faces"))
    shutil.rmtree(copy / "train" / "sad")
    shutil.copytree(copy / "test" / "sad", copy / "train" / "sad")
    with pytest.raises(
        DataError, match=rf"^{copy} has no train image of class sadness\. Expected at least one of each "
    ):
        open_dataset(copy, reading=Reading(leave_out_copies=True))


def test_faces_that_only_look_alike_are_no_copies() -> None:
    """Of 60 drawn faces and of their slight changes, none is taken for another."""
    rng = np.random.default_rng(5)
    faces = np.stack([np.asarray(draw(synthetic.sample(label % 7, rng)).resize((32, 32))) for label in range(60)])
    grey = faces.mean(axis=3)
    distances = (240 - copies.dhash(grey) @ copies.dhash(grey).T) / 2
    levels = np.sqrt(((grey[:, None] - grey[None]) ** 2).mean(axis=(2, 3)))
    others = ~np.eye(60, dtype=bool)
    assert not ((distances <= copies.MOST_BITS) & (levels <= copies.MOST_LEVELS) & others).any()


def test_of_many_that_are_kept_the_first_are_named(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lc2fer.data._SHOWN", 2)
    copy = Path(shutil.copytree(root, tmp_path / "faces"))
    (copy / "train" / "happy" / "a.png").unlink()
    (note,) = (note for note in open_dataset(copy).notes if "test images too" in note)
    said = note.splitlines()
    assert [line.split()[0] for line in said] == ["3", "train/happy/b.jpg", "train/happy/c.jpg", "and"]
    assert said[-1].startswith("and 1 others. Weights that are trained on them score better than they are.")
