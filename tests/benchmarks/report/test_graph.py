import pytest
from lc2fer.benchmarks.report.graph import operators, quantizers

from lc2fer.errors import ArtifactError

IR = """<?xml version="1.0"?><net name="n" version="11"><layers>
<layer id="0" type="Parameter"/><layer id="1" type="FakeQuantize"/><layer id="2" type="FakeQuantize"/>
</layers><edges/></net>"""


def test_an_onnx_file_is_read_as_onnx_reads_it(real_model, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(real_model)
    assert operators(path) == {"MatMul": 1, "ReduceMean": 1}


def test_an_ir(tmp_path):
    path = tmp_path / "model.xml"
    path.write_text(IR)
    assert operators(path) == {"FakeQuantize": 2, "Parameter": 1}
    assert quantizers({"FakeQuantize": 2, "QuantizeLinear": 3, "DequantizeLinear": 4, "Conv": 5}) == 9


def test_other_files_hold_no_graph(tmp_path):
    assert operators(tmp_path / "C6.safetensors") is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.onnx", b"\x3a\x7f\x00"),  # a field longer than the file
        ("a.onnx", b"\x3a"),
        ("a.onnx", b"\xff" * 12),
        ("a.onnx", b"\x3b"),  # a group, which proto3 has not
        ("a.xml", b"<net>"),
        ("a.xml", b"<net/>"),
        ("a.xml", b"<net><layers><layer/></layers></net>"),
    ],
)
def test_a_damaged_graph_is_refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(
        ArtifactError, match=r"^The graph in .* cannot be read \(\w+: .*\)\. Expected an ONNX file or an"
    ):
        operators(path)
