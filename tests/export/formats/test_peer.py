"""Peers: what is handed over is the network, and the road to an engine in a process of its own and back.

The engine is a small one with ncnn's names: real ones are installed and measured by `lc2fer-bench --peers edge`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from lc2fer.export.formats import peer
from lc2fer.export.peers.program import Program
from lc2fer.export.pipeline import Pipeline

from lc2fer import environments
from lc2fer.errors import TargetUnavailable
from lc2fer.recipe import Recipe
from lc2fer.session import open_session

SHAPE = (3, 32, 32)
ENGINE = """
import numpy as np

class Mat(np.ndarray):
    def __new__(cls, array):
        return np.asarray(array).view(cls)

    clone = np.copy

class _Extractor(dict):
    def __enter__(self):
        return self

    def __exit__(self, *rest):
        pass

    input = dict.__setitem__

    def extract(self, name):
        return 0, np.asarray(self["in0"]).mean(axis=(1, 2)) @ self.weights

class Net:
    class opt:
        pass

    def load_param(self, path):
        return int(open(path).read() != "network")

    def load_model(self, path):
        self.weights = np.load(path, allow_pickle=False)
        return 0

    def create_extractor(self):
        found = _Extractor()
        found.weights = self.weights
        return found
"""
CONVERTER = """#!{python}
import sys
import numpy as np
assert sys.argv[2:] == ["inputshape=[1,3,32,32]f32", "fp16=0"], sys.argv
open("network.ncnn.param", "w").write("network")
np.save(open("network.ncnn.bin", "wb"), np.arange(21, dtype=np.float32).reshape(3, 7))
print("7767517")
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """ncnn, "installed" in this environment; the network is not handed over, which another test does."""
    folder = tmp_path / "engine"
    folder.mkdir()
    converter = folder / "converter"
    converter.write_text(CONVERTER.format(python=sys.executable))
    converter.chmod(0o755)
    (folder / "ncnn.py").write_text(ENGINE)
    (folder / "pnnx.py").write_text(f"EXEC_PATH = {str(converter)!r}\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(environments, "make", lambda kind, say: None)
    monkeypatch.setattr(environments, "interpreter", lambda kind: Path(sys.executable))
    monkeypatch.setattr(peer, "hand_over", lambda network, program: None)
    return folder


def test_what_is_handed_over_answers_as_the_network(weights: Path, tmp_path: Path) -> None:
    onnxruntime, torch = pytest.importorskip("onnxruntime"), pytest.importorskip("torch")
    from lc2fer.network import checkpoint
    from lc2fer.network.model import normalize

    network = checkpoint.load(weights, "C8").eval()
    image = np.random.default_rng(0).integers(0, 256, (1, *SHAPE)).astype(np.float32)
    with torch.inference_mode():
        wanted = network(normalize(torch.from_numpy(image))).numpy()
    program = Program(tmp_path, "plain", "fp32", SHAPE)
    peer.hand_over(network, program)
    with torch.inference_mode():
        traced = torch.jit.load(program.traced)(torch.from_numpy(image)).numpy()
        exported = torch.export.load(program.exported).module()(torch.from_numpy(image)).numpy()
    (graph,) = onnxruntime.InferenceSession(program.graph).run(None, {"pixels": image})
    for found in (traced, exported, graph):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_peer_is_converted_proven_and_opened(small: Path, pipeline: Pipeline) -> None:
    made = pipeline.export("stock-ncnn-fp32")
    assert [file.name for file in made.files] == ["C8-stock-ncnn-fp32.param", "C8-stock-ncnn-fp32.bin"]
    assert {"ncnn": "1.0.20261020", "pnnx": "20261020"}.items() <= made.tools.items()
    assert made.proof is not None
    assert made.proof["images"] == 84
    assert pipeline.export("stock-ncnn-fp32").proof == made.proof  # reused
    with pytest.raises(TargetUnavailable) as refused:
        open_session(made)
    assert str(refused.value) == (
        "C8-stock-ncnn-fp32.param cannot be opened here: it is for ncnn, which the bench has in an environment of its "
        "own. A model that runs here was expected. To measure it: lc2fer-bench --peers ncnn."
    )
    sys.path.insert(0, str(small))
    try:
        with open_session(made, threads=1) as session:
            found = session.run(np.stack([np.zeros(SHAPE, np.float32), np.full(SHAPE, 2, np.float32)]))
    finally:
        sys.path.remove(str(small))
        for name in ("ncnn", "pnnx", "lc2fer.export.peers.ncnn"):
            sys.modules.pop(name, None)
    np.testing.assert_allclose(found, [[0] * 7, 2 * np.arange(21).reshape(3, 7).sum(axis=0)])


def test_what_does_not_convert_is_told(
    small: Path, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(TargetUnavailable) as refused:
        pipeline.export("stock-ncnn-int8")
    assert str(refused.value) == (
        "ncnn (ncnn==1.0.20261020 pnnx==20261020) cannot make or run C8-stock-ncnn-int8.param: ncnn2table "
        "and ncnn2int8 are not on the PATH; its wheel has none, and its sources build them with "
        "-DNCNN_BUILD_TOOLS=ON. A network that it converts was expected. Leave it out of --peers, or report it to its "
        "makers."
    )
    assert not list(pipeline.out.glob("*ncnn-int8*"))
    (small / "pnnx.py").write_text("import os; os.write(2, b'no such instruction\\n'); os.abort()")
    with pytest.raises(TargetUnavailable, match=r"its process ended with -6 \(no such instruction\)\. A network"):
        peer.make(pipeline.checkpoint, Recipe("fp32", form="plain"), None, tmp_path / "C8.param")
