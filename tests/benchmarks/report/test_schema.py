import json

import pytest
from lc2fer.benchmarks.report.document import Report

from lc2fer.errors import ArtifactError


def _launch(document):
    return document["rows"][1]["launches"][0]


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (
            lambda d: _launch(d)["samples_ns"].__setitem__(3, "x"),
            r"rows\[1\].launches\[0\].samples_ns\[3\] is 'x', a str",
        ),
        (lambda d: _launch(d).update(throughput=[1]), r"launches\[0\].throughput has 1 items, 2 expected"),
        (lambda d: d["rows"][0].update(size_bytes=True), r"rows\[0\].size_bytes is 'True', a bool"),
        (lambda d: d["rows"][0].update(graph=[1]), r"rows\[0\].graph is '\[1\]', a list"),
        (lambda d: _launch(d)["memory"]["phases"].update(first=1.5), r"memory.phases.first is '1.5', a float"),
        (lambda d: d["machine"].update(cpu=None), r"machine.cpu is 'None', a NoneType"),
        (lambda d: d["data"].update(available="many"), r"data.available is 'many', a str"),
        (lambda d: d["rows"][0].update(more=1), "more"),
    ],
)
def test_a_wrong_value_is_told_by_its_place(planted, damage, text):
    document = json.loads(json.dumps(planted(20, onnx_int8=(1, 0)).to_json()))
    assert Report.from_json(document).rows
    damage(document)
    with pytest.raises(ArtifactError, match=rf"^The report is damaged \(\w+: .*{text}"):
        Report.from_json(document)


def test_the_documentation_names_every_field(planted, checkout):
    text = (checkout / "docs" / "report-schema.md").read_text(encoding="utf-8")
    document = planted(20, onnx_int8=(1, 0)).to_json()
    row = document["rows"][0]
    launch = row["launches"][0]
    for part in (document, document["machine"], document["data"], row, launch, launch["memory"], launch["before"]):
        assert [name for name in part if f"`{name}`" not in text] == []
