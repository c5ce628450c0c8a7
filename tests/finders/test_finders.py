"""Where faces are: the decoding of the two finders by hand-made outputs, and two photographs everybody has."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lc2fer import pictures
from lc2fer.errors import ArtifactError, UsageError
from lc2fer.finder import Face, open_finder
from lc2fer.finders import blazeface, boxes, yunet
from lc2fer.finders import engine as face_engine


class Fake:
    """An engine that answers what it was told to."""

    size: tuple[int, int] | None = None
    outputs: frozenset[str] = frozenset()

    def __init__(self, answer: Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.float32]]]) -> None:
        self.answer = answer
        self.seen: list[tuple[int, ...]] = []

    def run(self, pixels: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
        self.seen.append(pixels.shape)
        return self.answer(pixels)


def one_face(column: int, row: int, logit: float = 3.0) -> Callable[[NDArray[np.float32]], Any]:
    """BlazeFace's outputs with a face of 40x44 pixels at that place, its points on one line."""

    def answer(pixels: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        height, width = pixels.shape[2] // 4, pixels.shape[3] // 4
        boxes, scores = np.zeros((1, height * width, 16), np.float32), np.full((1, height * width, 1), -9, np.float32)
        place = row * width + column
        boxes[0, place] = [2, -2, 40, 44, -8, 0, 8, 0, 0, 6, 0, 12, -18, 2, 18, 2]
        scores[0, place] = logit
        return {"boxes": boxes, "scores": scores}

    return answer


def test_a_place_is_decoded_into_pixels_of_the_picture() -> None:
    engine = Fake(one_face(10, 20))
    (face,) = blazeface.BlazeFace(engine).find(np.zeros((288, 384, 3), np.uint8))  # twice the network's 192
    assert engine.seen == [(1, 3, 160, 192)]  # 144 rows, up to a multiple of 32
    # The place is 4 * 10.5 = 42 pixels from the left and 82 from the top; the middle 44, 80.
    assert (face.left, face.top, face.width, face.height) == (48, 116, 80, 88)
    assert face.eyes == ((68, 164), (100, 164))
    assert (face.nose, face.mouth, face.ears) == ((84, 176), (84, 188), ((48, 168), (120, 168)))
    assert face.score == pytest.approx(1 / (1 + np.exp(-3)))
    assert (face.eye_distance, face.roll_degrees) == (32, 0)


@pytest.mark.parametrize(("logit", "count"), [(-0.01, 0), (0.01, 1), (1000, 1)])
def test_less_than_even_is_no_face(logit: float, count: int) -> None:
    found = blazeface.BlazeFace(Fake(one_face(5, 5, logit))).find(np.zeros((192, 192, 3), np.uint8))
    assert len(found) == count


def test_a_face_of_few_pixels_is_left_out() -> None:
    assert blazeface.BlazeFace(Fake(one_face(5, 5))).find(np.zeros((90, 90, 3), np.uint8)) == ()  # 19 pixels wide


def test_pictures_are_searched_at_larger_sizes_where_they_have_the_pixels() -> None:
    engine = Fake(one_face(5, 5))
    finder = blazeface.BlazeFace(engine, (384, 768))
    found = finder.find(np.zeros((500, 500, 3), np.uint8))
    assert engine.seen == [(1, 3, 192, 192), (1, 3, 384, 384)]
    # At 384 pixels the same place is half as far from the corner, and more than half of that box lies in the first.
    assert [round(face.width) for face in found] == [104]


def test_where_nothing_is_found_a_photograph_is_searched_from_afar(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Fake(lambda pixels: one_face(20, 22, 3.0 if pixels[0, 0, 0, 0] == -1 else -3.0)(pixels))
    white = np.full((90, 90, 3), 255, np.uint8)
    (face,) = blazeface.BlazeFace(engine, (384,)).find(white)
    assert engine.seen == [(1, 3, 192, 192)] * 2
    # Place (82, 90), the middle (84, 88), lies (36, 40) within the picture of 96 pixels: all is 15/16 as large.
    assert (face.left, face.top, face.width) == (15, 16.875, 37.5)
    assert blazeface.BlazeFace(engine).find(white) == ()
    monkeypatch.setattr(blazeface, "_NEAR", 0.42)  # it fills 0.417 of the picture
    assert blazeface.BlazeFace(engine, (384,)).find(white) == ()


def test_boxes_that_overlap_become_their_mean_by_score() -> None:
    rows = np.array([[0, 0, 10, 10, 1], [0, 0, 10, 14, 4], [50, 50, 60, 60, 7]], np.float64)
    kept = boxes.suppress(rows, np.array([0.6, 0.9, 0.8]))
    assert [score for _, score in kept] == [0.9, 0.8]
    np.testing.assert_allclose(kept[0][0], [0, 0, 10, 12.4, 2.8])  # 0.6 and 0.9 of 1.5
    assert kept[1][0].tolist() == [50, 50, 60, 60, 7]
    np.testing.assert_allclose(boxes.overlaps(rows[0, :4], rows[:, :4]), [1, 100 / 140, 0])
    assert boxes.suppress(np.empty((0, 16)), np.empty(0)) == []


def test_a_rolled_face() -> None:
    face = Face(0, 0, 9, 9, 1.0, ((10, 10), (13, 14)), (0, 0), (0, 0))
    assert (face.eye_distance, round(face.roll_degrees, 2)) == (5, 53.13)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        blazeface.BlazeFace(Fake(one_face(0, 0))).find(np.zeros((10, 10), np.uint8))
    assert str(refused.value) == (
        "A face finder was given uint8 [10, 10]. Expected an RGB picture, uint8 [H, W, 3]. "
        "Read pictures with lc2fer.pictures."
    )
    with pytest.raises(UsageError, match=r"^A face finder was given a list\. Expected an RGB picture, a NumPy array "):
        blazeface.BlazeFace(Fake(one_face(0, 0))).find([[1]])  # type: ignore[arg-type]


def test_yunet_is_decoded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def answer(pixels: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        assert pixels[0, :, 0, 0].tolist() == [30, 20, 10]  # BGR, 0..255
        outputs = {}
        for stride in (8, 16, 32):
            count = (pixels.shape[2] // stride) * (pixels.shape[3] // stride)
            for name, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
                outputs[f"{name}_{stride}"] = np.zeros((1, count, width), np.float32)
        place = 3 * (pixels.shape[3] // 16) + 5  # row 3, column 5
        outputs["cls_16"][0, place] = 0.9
        outputs["obj_16"][0, place] = 0.9
        outputs["bbox_16"][0, place] = [0.5, 0.5, np.log(2), np.log(3)]
        outputs["kps_16"][0, place] = [0, 0, 1, 0, 0.5, 0.5, 0, 1, 1, 1]
        return outputs

    path = tmp_path / "yunet.onnx"
    path.touch()
    engine = Fake(answer)
    engine.outputs = yunet._OUTPUTS
    monkeypatch.setattr(yunet, "open_engine", lambda path, threads: engine)
    finder = open_finder(path)
    assert finder.name == "YuNet, of a file that nobody published"
    monkeypatch.setattr(yunet, "hash_file", lambda path: list(yunet.PUBLISHED)[1])
    assert open_finder(path).name == "YuNet 2026may"
    (face,) = finder.find(np.full((480, 640, 3), (10, 20, 30), np.uint8))
    assert engine.seen == [(1, 3, 256, 320)]
    assert face.score == pytest.approx(0.9)
    # (5.5, 3.5) * 16 is the middle, 32x48 the size, and the picture is twice as large.
    np.testing.assert_allclose((face.left, face.top, face.width, face.height), (144, 64, 64, 96), rtol=1e-6)
    assert (face.eyes, face.nose, face.mouth, face.ears) == (((160, 96), (192, 96)), (176, 112), (176, 128), None)


def test_another_file_than_yunets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as refused:
        open_finder(tmp_path / "none.onnx")
    assert str(refused.value) == (
        f"{tmp_path / 'none.onnx'} is missing. Expected YuNet's file, such as face_detection_yunet_2023mar.onnx. "
        "Get it from OpenCV's model zoo, or leave --face-model out."
    )
    with pytest.raises(ArtifactError, match=r"face_finder.onnx has the outputs boxes, scores. Expected those of YuNet"):
        open_finder(blazeface.FILE)
    page = tmp_path / "page.onnx"
    page.write_text("<!DOCTYPE html>")
    with pytest.raises(ArtifactError) as refused:
        open_finder(page)
    assert str(refused.value) == (
        f"{page} is a web page. Expected YuNet's file. Download it again; its address may want a login, or copy the "
        "file itself."
    )
    page.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:8f2383e4\nsize 232589\n")
    with pytest.raises(ArtifactError, match=r"page.onnx is a Git LFS pointer to 232,589 bytes. Expected YuNet's file."):
        open_finder(page)
    page.write_bytes(b"no model")
    with pytest.raises(ArtifactError, match=r"page.onnx cannot be loaded by onnxruntime .* Expected an ONNX file of a"):
        open_finder(page)


def test_without_an_engine_the_right_package_is_named(python: Any) -> None:
    program = (
        "from lc2fer.finder import open_finder\nfrom lc2fer.errors import TargetUnavailable\n"
        "try: open_finder()\nexcept TargetUnavailable as error: print(error)"
    )
    done = python(program, block=["onnxruntime", "openvino", "cv2", "torch"])
    assert done.stdout == (
        "Faces cannot be found here: neither onnxruntime nor openvino is installed. Expected one of them. "
        "Run: pip install onnxruntime.\n"
    ), done.stderr


# -- the file and real photographs -----------------------------------------------------------------------------------


def test_the_file_is_the_one_that_its_card_names() -> None:
    content = blazeface.FILE.read_bytes()
    card = blazeface.FILE.with_suffix(".md").read_text(encoding="utf-8")
    assert hashlib.sha256(content).hexdigest() in card
    assert f"{len(content):,} bytes" in card


@pytest.mark.parametrize(
    ("name", "box", "eyes"),
    [
        ("grace_hopper", (159, 118, 211, 211), ((222, 193), (308, 189))),
        ("astronaut", (174, 70, 105, 105), ((205, 102), (247, 105))),
    ],
)
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_one_face_is_found_in_a_photograph(
    name: str,
    box: Any,
    eyes: Any,
    engine: str,
    photograph: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip(engine)
    load = importlib.import_module
    other = {"onnxruntime": "openvino", "openvino": "onnxruntime"}[engine]

    def without(module: str) -> Any:
        if module == other:
            raise ModuleNotFoundError(name=module)
        return load(module)

    monkeypatch.setattr(face_engine.importlib, "import_module", without)
    image = np.asarray(pictures.read(photograph(name)).image)
    for finder in (open_finder(), open_finder(thorough=True)):
        (face,) = finder.find(image)
        np.testing.assert_allclose((face.left, face.top, face.width, face.height), box, atol=0.05 * face.width)
        np.testing.assert_allclose(face.eyes, eyes, atol=0.02 * face.width)
        assert face.score > 0.6
