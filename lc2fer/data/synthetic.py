"""Procedural faces of the seven basic expressions, in the folder layout of RAF-DB.

The faces are drawn from parameters; no photograph is involved. Each expression is a set of facial action units after
P. Ekman and W. V. Friesen, *Facial Action Coding System* (1978), and W. V. Friesen and P. Ekman, *EMFACS-7: Emotional
Facial Action Coding System* (1983): happiness 6+12, sadness 1+4+15, surprise 1+2+5+26, fear 1+2+4+5+7+20+26, anger
4+5+7+23, disgust 9+15 (with 10 or 16), neutral none. Intensity, identity, pose, light, occlusion and camera vary from
face to face; a second expression is sometimes mixed in, and the label names the stronger one.

Picture i of a split is drawn from (seed, split, i) alone, so the same numpy and Pillow always write the same bytes.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread

import numpy as np

from lc2fer.artifact import staged
from lc2fer.data.drawing import draw
from lc2fer.data.face import (
    ACTIONS,
    BEARDS,
    HAIR_STYLES,
    OCCLUSIONS,
    Camera,
    Color,
    Face,
    Identity,
    Light,
    Occlusion,
    Pose,
    landmarks,
    regions,
)
from lc2fer.errors import DataError
from lc2fer.inputs import LABELS
from lc2fer.pictures import encoded
from lc2fer.storage import unwritable

__all__ = [
    "ACTIONS",
    "GENERATOR",
    "PROTOTYPES",
    "TEST_IMAGES",
    "TRAIN_IMAGES",
    "Face",
    "draw",
    "face_of",
    "landmarks",
    "regions",
    "sample",
    "seed_of",
    "write",
]

GENERATOR = 1
TRAIN_IMAGES, TEST_IMAGES = 4200, 1400
SIZE = 100
QUALITY = 95
MARKER = "synthetic.json"

_NEUTRAL = LABELS.index("neutral")

# Expression -> action unit -> (chance that it takes part, its contraction at full intensity).
PROTOTYPES: dict[str, dict[int, tuple[float, float]]] = {
    "surprise": {1: (1.0, 0.9), 2: (1.0, 0.9), 5: (1.0, 0.8), 26: (1.0, 0.9)},
    "fear": {
        1: (1.0, 0.9),
        2: (0.9, 0.5),
        4: (1.0, 0.7),
        5: (1.0, 0.9),
        7: (0.8, 0.5),
        20: (1.0, 0.9),
        25: (0.8, 0.7),
        26: (0.7, 0.4),
    },
    "disgust": {9: (1.0, 0.9), 15: (0.8, 0.5), 10: (0.7, 0.8), 16: (0.4, 0.7), 17: (0.3, 0.6)},
    "happiness": {6: (1.0, 0.8), 12: (1.0, 0.95), 25: (0.6, 0.8), 26: (0.2, 0.4)},
    "sadness": {1: (1.0, 0.9), 4: (0.9, 0.6), 15: (1.0, 0.9), 17: (0.5, 0.6)},
    "anger": {4: (1.0, 0.95), 5: (0.7, 0.6), 7: (0.9, 0.7), 23: (1.0, 0.9), 17: (0.3, 0.5)},
    "neutral": {},
}

_SKINS: tuple[Color, ...] = (
    (250, 220, 196),
    (236, 194, 160),
    (216, 166, 124),
    (178, 122, 84),
    (136, 92, 64),
    (104, 72, 54),
)
_HAIRS: tuple[Color, ...] = ((24, 20, 20), (58, 38, 26), (110, 72, 40), (190, 146, 84), (146, 66, 34), (150, 148, 146))
_IRISES: tuple[Color, ...] = ((58, 36, 22), (84, 56, 30), (70, 96, 120), (84, 110, 76), (40, 30, 26))

_POOL_FROM = 200  # pictures: fewer are drawn sooner than processes start
_CHUNK = 100
_Chunk = tuple[Path, int, str, int, int]  # folder, seed, split, first and last + 1


def sample(label: int, rng: np.random.Generator) -> Face:
    """A random face of one expression: 0 surprise, 1 fear, 2 disgust, 3 happiness, 4 sadness, 5 anger, 6 neutral.

    Raises DataError for another label.
    """
    if not 0 <= label < len(LABELS):
        raise DataError(f"The expression {label} does not exist. A number from 0 to 6 was expected. Give one of these.")
    intensity = float(0.60 + 0.40 * rng.beta(1.6, 1.2))
    return Face(
        expression=label,
        intensity=intensity,
        action_units=_action_units(label, intensity, rng),
        asymmetry=float(np.clip(rng.normal(0.0, 0.12), -0.35, 0.35)),
        gaze=(float(rng.normal(0.0, 0.025)), float(rng.normal(0.0, 0.012))),
        identity=_identity(rng),
        pose=_pose(rng),
        light=_light(rng),
        occlusion=_occlusion(rng),
        camera=_camera(rng),
    )


def _action_units(label: int, intensity: float, rng: np.random.Generator) -> dict[int, float]:
    """Contractions 0..1: the prototype at this intensity, jittered, with a weaker second expression and stray units."""
    levels: dict[int, float] = {}
    strengths = [(label, intensity)]
    if rng.random() < 0.25:
        other = int(rng.integers(len(LABELS)))
        strengths.append((other, float(rng.uniform(0.10, 0.28)) * (intensity if label != _NEUTRAL else 0.6)))
    for expression, strength in strengths:
        for unit, (chance, level) in PROTOTYPES[LABELS[expression]].items():
            part = strength * level * float(rng.normal(1.0, 0.13))
            if rng.random() < chance:
                levels[unit] = levels.get(unit, 0.0) + max(0.0, part)
    for unit in rng.choice(sorted(ACTIONS), size=2, replace=False).tolist():
        levels[unit] = levels.get(unit, 0.0) + float(rng.uniform(0.0, 0.14))
    return {unit: min(1.0, level) for unit, level in sorted(levels.items())}


def _identity(rng: np.random.Generator) -> Identity:
    def about(mean: float, spread: float) -> float:
        return float(mean + spread * min(2.2, max(-2.2, rng.standard_normal())))

    age = float(rng.beta(1.2, 2.2))
    skin = _between(_SKINS, rng)
    hair = _between(_HAIRS[-1:], rng) if rng.random() < age * 0.5 else _between(_HAIRS[:5], rng)
    lips = _mix(skin, (164, 58, 66) if rng.random() < 0.75 else (184, 24, 48), float(rng.uniform(0.30, 0.70)))
    return Identity(
        width=about(0.90, 0.045),
        chin=about(1.14, 0.05),
        jaw=float(rng.uniform(0.0, 1.0)),
        skin=skin,
        hair=hair,
        hair_style=str(rng.choice(HAIR_STYLES, p=(0.07, 0.24, 0.15, 0.16, 0.18, 0.10, 0.05, 0.05))),
        hairline=about(-0.88, 0.06),
        beard=str(rng.choice(BEARDS, p=(0.72, 0.10, 0.05, 0.08, 0.05))),
        glasses=bool(rng.random() < 0.12),
        cloth=_any_color(rng),
        iris=_IRISES[int(rng.integers(len(_IRISES)))],
        lips=lips,
        eye_size=about(1.0, 0.08),
        eye_openness=about(0.95, 0.13),
        eye_spacing=about(1.0, 0.05),
        eye_tilt=about(0.01, 0.02),
        brow_height=about(0.0, 0.028),
        brow_arch=about(0.03, 0.03),
        brow_thickness=about(1.0, 0.25),
        nose_width=about(1.0, 0.16),
        nose_length=about(1.0, 0.14),
        mouth_width=about(1.0, 0.09),
        mouth_height=about(0.0, 0.03),
        mouth_rest=about(0.0, 0.014),
        lip_fullness=about(0.95, 0.24),
        age=age,
    )


def _pose(rng: np.random.Generator) -> Pose:
    return Pose(
        yaw=float(np.clip(rng.normal(0.0, 0.18), -0.5, 0.5)),
        pitch=float(np.clip(rng.normal(0.0, 0.10), -0.3, 0.3)),
        roll=float(np.clip(rng.normal(0.0, 0.06), -0.2, 0.2)),
        scale=float(rng.uniform(0.37, 0.42)),
        x=float(rng.normal(0.0, 0.015)),
        y=float(rng.normal(0.02, 0.015)),
    )


def _light(rng: np.random.Generator) -> Light:
    azimuth, height = float(rng.normal(0.0, 0.7)), float(rng.normal(-0.35, 0.35))
    direction = np.array([azimuth, height, 1.0]) / np.sqrt(azimuth**2 + height**2 + 1.0)
    base = np.array(_mix(_any_color(rng), (120, 120, 120), 0.5))
    tiles = np.clip(base + rng.normal(0.0, 28.0, (9, 1)) + rng.normal(0.0, 12.0, (9, 3)), 0, 255).astype(int).tolist()
    return Light(
        direction=(float(direction[0]), float(direction[1]), float(direction[2])),
        strength=float(rng.uniform(0.20, 0.70)),
        gamma=float(2.0 ** np.clip(rng.normal(-0.05, 0.24), -0.6, 0.5)),
        warmth=float(np.clip(rng.normal(0.0, 0.6), -1.5, 1.5)),
        contrast=float(rng.uniform(0.75, 1.10)),
        background=tuple((tile[0], tile[1], tile[2]) for tile in tiles),
    )


def _occlusion(rng: np.random.Generator) -> Occlusion:
    kind = str(rng.choice(OCCLUSIONS, p=(0.84, 0.03, 0.02, 0.03, 0.04, 0.04)))
    side = float(rng.choice((-1.0, 1.0)))
    x, y = {
        "scarf": (0.0, float(rng.uniform(0.45, 0.85))),
        "hand": (side * float(rng.uniform(0.35, 0.75)), float(rng.uniform(0.25, 0.70))),
        "patch": (float(rng.uniform(-0.8, 0.8)), float(rng.uniform(-0.8, 0.9))),
    }.get(kind, (side, 0.0))
    return Occlusion(kind=kind, color=_any_color(rng), x=x, y=y, extent=float(rng.uniform(0.15, 0.32)))


def _camera(rng: np.random.Generator) -> Camera:
    return Camera(
        blur=float(rng.uniform(0.2, 1.1)) if rng.random() < 0.5 else 0.0,
        noise=float(rng.uniform(0.0, 7.0)),
        quality=int(rng.integers(35, 90)) if rng.random() < 0.5 else 0,
        seed=int(rng.integers(2**32)),
    )


def _mix(a: Color, b: Color, part: float) -> Color:
    red, green, blue = (round(x + (y - x) * part) for x, y in zip(a, b, strict=True))
    return (red, green, blue)


def _between(palette: tuple[Color, ...], rng: np.random.Generator) -> Color:
    """A colour between two neighbours of a palette."""
    place = float(rng.uniform(0.0, len(palette) - 1.0))
    first = int(place)
    return _mix(palette[first], palette[min(first + 1, len(palette) - 1)], place - first)


def _any_color(rng: np.random.Generator) -> Color:
    red, green, blue = rng.integers(30, 226, 3).tolist()
    return (red, green, blue)


def write(
    root: Path,
    *,
    train: int = TRAIN_IMAGES,
    test: int = TEST_IMAGES,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write the data set into `root` unless it is there already, and return `root`.

    `train` and `test` count pictures, `seed` is 0 or more, and `progress` is told how many pictures are done. The
    pictures appear all together: `root` holds the whole set or is not there. Raises DataError when `root` holds
    something else, when a number is negative or when the folder cannot be written.
    """
    root = Path(root)
    if min(train, test, seed) < 0 or train + test == 0:
        raise DataError(
            f"{train} training and {test} test pictures with seed {seed} cannot be drawn. "
            "Numbers of 0 or more and at least one picture were expected. Give other numbers."
        )
    marker = {"generator": GENERATOR, "seed": seed, "train": train, "test": test, "size": SIZE}
    try:
        if _is_written(root, marker):
            return root
        with staged(root.parent) as staging:
            _fill(staging / root.name, marker, progress or (lambda done: None))
            _publish(staging / root.name, root, marker)
    except OSError as error:
        raise DataError(
            unwritable(root)
            or f"{root} could not be written ({error}). "
            f"A folder with room for {train + test} small pictures was expected. Choose another --data folder."
        ) from error
    return root


def _is_written(root: Path, marker: dict[str, int]) -> bool:
    """Whether `root` holds this data set; False when it is free. Raises DataError when it holds something else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    found: object = None
    with suppress(OSError, ValueError):
        found = json.loads((root / MARKER).read_text(encoding="utf-8"))
    if found == marker:
        return True
    held = json.dumps(found) if found else "none"
    raise DataError(
        f"{root} already holds something else than these procedural faces (marker: {held}). "
        "An empty or new folder was expected. Choose another --data folder or delete this one."
    )


def _fill(folder: Path, marker: dict[str, int], progress: Callable[[int], None]) -> None:
    pictures = folder / "Image" / "aligned"
    pictures.mkdir(parents=True)
    (folder / "EmoLabel").mkdir()
    chunks = [
        (pictures, marker["seed"], split, start, min(start + _CHUNK, marker[split]))
        for split in ("train", "test")
        for start in range(0, marker[split], _CHUNK)
    ]
    done = 0
    # Closed before the folder can be removed, so that no process still writes into it.
    with closing(_drawn(chunks, marker["train"] + marker["test"])) as counts:
        for count in counts:
            done += count
            progress(done)
    lines = [f"{split}_{i + 1:05d}.jpg {_label(i) + 1}\n" for split in ("train", "test") for i in range(marker[split])]
    (folder / "EmoLabel" / "list_patition_label.txt").write_text("".join(lines), encoding="utf-8", newline="\n")
    (folder / MARKER).write_text(json.dumps(marker) + "\n", encoding="utf-8")


def _drawn(chunks: list[_Chunk], total: int) -> Generator[int, None, None]:
    """Draw all chunks, in several processes when there are many pictures; yields the size of each finished chunk."""
    workers = min(os.cpu_count() or 1, len(chunks))
    waiting = dict.fromkeys(chunks)
    if total >= _POOL_FROM and workers > 1:
        # Processes that cannot start (a script without a main guard, no memory) cost time, not the data set.
        with suppress(BrokenProcessPool):
            pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_ignore_interrupt)
            try:
                futures = {pool.submit(_draw_chunk, chunk): chunk for chunk in chunks}
                for future in as_completed(futures):
                    count = future.result()
                    del waiting[futures[future]]
                    yield count
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
    for chunk in waiting:
        yield _draw_chunk(chunk)


def _ignore_interrupt() -> None:
    """Leave Ctrl-C to the parent, which stops the pool; end with it where it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent_process().join()  # type: ignore[union-attr]  # a child has one
    os._exit(1)


def seed_of(root: Path) -> int | None:
    """The seed of the procedural faces that `root` holds; None where it holds none of this generator's."""
    with suppress(OSError, ValueError):
        found = json.loads((Path(root) / MARKER).read_text(encoding="utf-8"))
        if isinstance(found, dict) and found.get("generator") == GENERATOR and isinstance(found.get("seed"), int):
            return int(found["seed"])
    return None


def face_of(path: Path, seed: int = 0) -> Face:
    """The face that a picture of this data set shows, by the picture's name; raises DataError for another name."""
    name = re.fullmatch(r"(train|test)_(\d{5,})_aligned\.jpg", Path(path).name)
    if name is None or int(name[2]) == 0:
        raise DataError(
            f"{path} is no picture of the procedural faces. A name such as test_00001_aligned.jpg was expected. "
            "Leave the folder as it was written, or delete it, so that it is drawn again."
        )
    return _face(seed, name[1], int(name[2]) - 1)


def _face(seed: int, split: str, index: int) -> Face:
    rng = np.random.Generator(np.random.PCG64([seed, int(split == "test"), index]))
    return sample(_label(index), rng)


def _draw_chunk(chunk: _Chunk) -> int:
    folder, seed, split, start, stop = chunk
    for index in range(start, stop):
        picture = draw(_face(seed, split, index), SIZE)
        (folder / f"{split}_{index + 1:05d}_aligned.jpg").write_bytes(encoded(picture, "JPEG", quality=QUALITY))
    return stop - start


def _label(index: int) -> int:
    return index % len(LABELS)


def _publish(part: Path, root: Path, marker: dict[str, int]) -> None:
    """Move the finished folder into place; another process may have been first."""
    try:
        if root.is_dir():
            root.rmdir()
        part.rename(root)
    except OSError:
        if not _is_written(root, marker):
            raise
