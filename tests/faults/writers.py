"""What writes to disk, each as: what lies there before, the writing, and what a reader finds.

`find` gives a word or a hash for each state that may be there, "nothing" among them, and raises for anything half.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lc2fer import artifact as artifacts
from lc2fer.errors import ArtifactError
from lc2fer.inputs import InputSpec


@dataclass(frozen=True)
class Writer:
    """One way in which this project writes."""

    before: Callable[[Path], object]  # fills an empty folder
    act: Callable[[Path], object]
    find: Callable[[Path], str]
    between: tuple[str, ...] = ()  # what may also be found after a fault, and is gone on from
    elsewhere: bool = False  # whether it may succeed without this folder


def _contents(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest() * 4096  # 128 KiB


def _artifact(folder: Path, text: str, *names: str) -> None:
    with artifacts.staged(folder) as staging:
        for name in names:
            (staging / name).write_bytes(_contents(text + name))
        made = artifacts.Artifact(
            path=staging / names[0],
            kind="openvino" if len(names) > 1 else "onnx",
            target="openvino-fp32",
            variant="C8",
            input_spec=InputSpec(),
            files=tuple(artifacts.record_of(staging / name) for name in names),
        )
        artifacts.publish(made, folder)


def _artifact_found(name: str) -> Callable[[Path], str]:
    return lambda folder: (
        artifacts.load(folder / name).sha256 if any(not each.name.startswith(".") for each in folder.iterdir()) else "0"
    )


_TWO = ("C8.xml", "C8.bin")


def _bundle(path: Path, text: str) -> None:
    from lc2fer.deploy.device import bundle

    members = path.parent / f"members-{text}"
    members.mkdir()
    for name in (bundle.IMAGES, bundle.LOGITS, "a.onnx", "a.json"):
        (members / name).write_bytes(_contents(text + name))
    files = sorted(members.iterdir())
    models = [bundle.Model("a.onnx", 10.0)]
    bundle.write(path, files, variant="C8", input_spec=InputSpec(), parent_sha256=text, models=models)
    shutil.rmtree(members)


def _bundle_found(folder: Path) -> str:
    from lc2fer.deploy.device import bundle

    with bundle.opened(folder / "C8.bundle") as found:
        return found.parent_sha256


def _unpacked_found(folder: Path) -> str:
    from lc2fer.deploy.device import bundle

    place = folder / "there"
    if not place.exists() or not any(place.iterdir()):
        return "nothing"
    try:
        return bundle.load(place).parent_sha256
    except ArtifactError as error:
        if "holds no bundle.json" in str(error):  # it was empty, and is refused as long as it is not whole
            return "nothing"
        raise


def _unpack(folder: Path) -> None:
    from lc2fer.deploy.device import bundle

    bundle.unpack(folder / "new.bundle", folder / "there")


def _unpacked_before(folder: Path, *, there: str) -> None:
    from lc2fer.deploy.device import bundle

    for text in ("old", "new"):
        _bundle(folder / f"{text}.bundle", text)
    if there == "old":
        bundle.unpack(folder / "old.bundle", folder / "there")
        (folder / "there" / "built.engine").write_bytes(_contents("engine"))
    elif there == "empty":
        (folder / "there").mkdir()


def _state(folder: Path, epoch: int) -> None:
    import torch

    from lc2fer.training import state

    artifacts.write(folder / "run.json", {"config": "C8"})
    state.keep(folder, {"a": torch.full((64, 256), float(epoch))}, state.Progress(epoch=epoch, best_epoch=1))


def _state_found(folder: Path) -> str:
    import torch

    from lc2fer.training import state

    found = state.read(folder, {"config": "C8"}, {"a": torch.zeros(64, 256)})
    if found is None:
        return "nothing"
    tensors, progress = found
    assert bool((tensors["a"] == progress.epoch).all())
    return str(progress.epoch)


def _checkpoint(folder: Path, seed: int) -> None:
    import torch

    from lc2fer.network import checkpoint
    from lc2fer.network.model import build
    from lc2fer.variants import VARIANTS

    torch.manual_seed(seed)
    checkpoint.save(build(VARIANTS["C8"]), folder, "C8", input_spec=InputSpec(), training={"seed": seed})


def _checkpoint_found(folder: Path) -> str:
    from lc2fer.network import checkpoint

    found = artifacts.load(folder / "C8.safetensors")
    checkpoint.load(found.path, "C8")
    return str((found.training or {})["seed"])


def _launch(number: int) -> Any:
    from lc2fer.benchmarks.report.document import Launch
    from lc2fer.benchmarks.report.machine import Conditions, Memory

    quiet = Conditions(**dict.fromkeys(Conditions.__dataclass_fields__))
    memory = Memory(None, {})
    given = dict.fromkeys(Launch.__dataclass_fields__, 0) | {
        "samples_ns": (number,) * 500,
        **dict.fromkeys(("compute_ns", "frame_ns", "warm_up_ns", "cores"), ()),
        "throughput": (1, 1),
        "memory": memory,
        "before": quiet,
        "after": quiet,
    }
    return Launch(**given)  # type: ignore[arg-type]


def _journal(folder: Path, count: int) -> None:
    from lc2fer.benchmarks.measuring.journal import Journal

    journal = Journal(folder, {"run": 1})
    for number in range(count):
        if journal.launch("torch", "a", number) is None:
            journal.add("torch", "a", number, _launch(number), None)


def _journal_before(folder: Path) -> None:
    """Two launches, and the half of a third one that a kill left."""
    from lc2fer.benchmarks.measuring.journal import NAME

    _journal(folder, 3)
    text = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(text[:-100])


def _journal_found(folder: Path) -> str:
    from lc2fer.benchmarks.measuring.journal import NAME, Journal

    copy = folder.with_name(f"{folder.name}-read")
    copy.mkdir()
    try:
        if (folder / NAME).exists():
            shutil.copyfile(folder / NAME, copy / NAME)
        journal = Journal(copy, {"run": 1})
        for number in range(len(journal)):
            found = journal.launch("torch", "a", number)
            assert found is not None
            assert found[0].samples_ns == (number,) * 500
        return f"{len(journal)} launches"
    finally:
        shutil.rmtree(copy)


def _kernels(folder: Path, text: str) -> None:
    from lc2fer.kernels import build

    os.environ["LC2FER_CACHE"] = str(folder)
    work = build.writable() / "work"
    work.mkdir(exist_ok=True)
    (work / "onnxruntime.so").write_bytes(_contents(text))
    build.keep(work / "onnxruntime.so")


def _kernels_found(folder: Path) -> str:
    from lc2fer.kernels import build

    found = build.find("onnxruntime.so", folder / "kernels")  # a damaged one is made again
    return "nothing" if found is None else hashlib.sha256(found.read_bytes()).hexdigest()


def _texts(folder: Path, text: str) -> None:
    for name in ("report.md", "report.html"):
        artifacts.write_text(folder / name, text * 20_000)


def _texts_found(folder: Path) -> str:
    found = [(folder / name).read_text() for name in ("report.md", "report.html")]
    assert {text[:3] * 20_000 for text in found} == set(found)
    return found[1][:3]  # what is written last


def _drawn(folder: Path) -> None:
    from lc2fer.data import synthetic

    synthetic.write(folder / "faces", train=7, test=7)


def _drawn_found(folder: Path) -> str:
    from lc2fer import pictures

    if not (folder / "faces").exists():
        return "nothing"
    found = sorted((folder / "faces" / "Image" / "aligned").iterdir())
    return hashlib.sha256(b"".join(pictures.read(path).image.tobytes() for path in found)).hexdigest()


def _faces(folder: Path) -> None:
    """The folder of pictures that fer2013.csv becomes."""
    from lc2fer.data import fer2013

    os.environ["LC2FER_CACHE"] = str(folder)
    fer2013._pictures(folder / "fer2013.csv")


def _faces_before(folder: Path) -> None:
    pixels = " ".join(["7"] * 48 * 48)
    rows = "".join(f"{number % 7},{pixels},Training\n" for number in range(6))
    (folder / "fer2013.csv").write_text(f"emotion,pixels,Usage\n{rows}")


def _faces_found(folder: Path) -> str:
    found = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if not found:
        return "nothing"
    assert len(list(found[0].glob("*.pgm"))) == 6
    assert len((found[0] / "index.csv").read_text().splitlines()) == 6
    assert {path.stat().st_size for path in found[0].glob("*.pgm")} == {48 * 48 + 13}
    return "whole"


def _table(folder: Path, text: str) -> None:
    import numpy as np

    from lc2fer.predicting.judging import Answer
    from lc2fer.predicting.output import Line, Output
    from lc2fer.predicting.sources import Item

    (folder / "copies").mkdir(exist_ok=True)
    shares = np.full(7, 1 / 7, np.float32)
    with Output(InputSpec().labels, 0.0, False, folder / "table.csv", folder / "copies") as output:
        for number in range(60):
            item = Item(Path(f"{text}{number}.jpg"), Path(f"{text}{number}.jpg"))
            answers = (Answer(None, shares),)
            if number < 3:
                output.add(Line(item, None, 9, 9, answers), np.zeros((9, 9, 3), np.uint8))


def _table_found(folder: Path) -> str:
    from lc2fer import pictures

    for path in (folder / "copies").glob("[!.]*"):
        pictures.read(path)
    if not (folder / "table.csv").exists():
        return "nothing"
    lines = (folder / "table.csv").read_text().splitlines()
    assert len(lines) == 4
    return lines[1][:3]


def _document(folder: Path, value: int) -> None:
    artifacts.write(folder / "report.json", {"numbers": [value] * 20_000})


def _document_found(folder: Path) -> str:
    found = json.loads((folder / "report.json").read_text())["numbers"]
    assert len(found) == 20_000
    return str(found[0])


WRITERS = {
    "an artifact": Writer(
        lambda folder: _artifact(folder, "old", "C8.onnx"),
        lambda folder: _artifact(folder, "new", "C8.onnx"),
        _artifact_found("C8.onnx"),
    ),
    "an artifact of two files": Writer(
        lambda folder: _artifact(folder, "old", *_TWO),
        lambda folder: _artifact(folder, "new", *_TWO),
        _artifact_found("C8.xml"),
    ),
    "the first artifact": Writer(
        lambda folder: None, lambda folder: _artifact(folder, "new", *_TWO), _artifact_found("C8.xml")
    ),
    "a checkpoint": Writer(
        lambda folder: _checkpoint(folder, 1), lambda folder: _checkpoint(folder, 2), _checkpoint_found
    ),
    "a training's state": Writer(lambda folder: _state(folder, 1), lambda folder: _state(folder, 2), _state_found),
    "a document": Writer(lambda folder: _document(folder, 1), lambda folder: _document(folder, 2), _document_found),
    "a report's pages": Writer(
        lambda folder: _texts(folder, "old"), lambda folder: _texts(folder, "new"), _texts_found
    ),
    "a journal": Writer(_journal_before, lambda folder: _journal(folder, 4), _journal_found, ("3 launches",)),
    "a bundle": Writer(
        lambda folder: _bundle(folder / "C8.bundle", "old"),
        lambda folder: _bundle_again(folder),
        _bundle_found,
    ),
    "an unpacked bundle": Writer(lambda folder: _unpacked_before(folder, there="none"), _unpack, _unpacked_found),
    "a bundle over another": Writer(lambda folder: _unpacked_before(folder, there="old"), _unpack, _unpacked_found),
    "a bundle in an empty folder": Writer(
        lambda folder: _unpacked_before(folder, there="empty"), _unpack, _unpacked_found
    ),
    "compiled kernels": Writer(
        lambda folder: _kernels(folder, "old"),
        lambda folder: _kernels(folder, "new"),
        _kernels_found,
        ("nothing",),
        True,
    ),
    "the pictures of fer2013.csv": Writer(_faces_before, _faces, _faces_found),
    "procedural faces": Writer(lambda folder: None, _drawn, _drawn_found),
    "answers and copies": Writer(
        lambda folder: _table(folder, "old"), lambda folder: _table(folder, "new"), _table_found
    ),
}


def _bundle_again(folder: Path) -> None:
    shutil.rmtree(folder / "members-new", ignore_errors=True)
    _bundle(folder / "C8.bundle", "new")


def refusal(error: BaseException) -> tuple[str, int]:
    """What a command would say of it, and its exit code."""
    from lc2fer import cli

    return cli._explain(error, "export")
