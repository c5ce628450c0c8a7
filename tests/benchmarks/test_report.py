import json
from dataclasses import replace

import numpy as np
import pytest
from lc2fer.benchmarks import report as reports
from lc2fer.benchmarks.machine import Machine
from lc2fer.benchmarks.memory import Memory
from lc2fer.benchmarks.report import Data, Failure, Measurement, Outputs, Parent, Report, Row
from lc2fer.benchmarks.table import figures, table

from lc2fer.errors import ArtifactError
from lc2fer.inputs import LABELS

MACHINE = Machine(
    "Some CPU", ("avx2",), 2, 4, 2, 8 << 30, "Linux x86_64", "6.1", "3.12.0", {"torch": "2.9"}, None, 0.25
)
LABEL_IDS = (0, 1, 2, 3, 4, 5, 6, 0, 1, 2)


def _outputs(predictions, scale=1.0):
    logits = np.full((len(predictions), 7), np.float32(-0.1))
    logits[np.arange(len(predictions)), predictions] = scale / 3
    return Outputs.of(logits)


def _row(target, outputs, p50_ns=2_000_000, **changes):
    measurement = Measurement(
        samples_ns=tuple([p50_ns] * 300 + [3_000_000] * 100),
        warm_up_ns=(9_000_000,) * 50,
        import_s=0.5,
        load_s=0.25,
        first_s=0.01,
        memory=Memory("pss", {"baseline": 30_000_000, "import": 40_000_000, "steady": 75_500_000}),
        threads=2,
        inputs=64,
        executed={"bf16": 12, "f32": 3},
        load_average=0.5,
        degraded=(),
    )
    return replace(
        Row(f"C6-{target}", target, "C6", "a" * 64, None, 1_234_567, "fp32", "trained", measurement, outputs), **changes
    )


@pytest.fixture
def report():
    parent = _outputs((0, 1, 2, 3, 4, 5, 6, 0, 1, 3))  # 9 of 10
    child = _outputs((0, 1, 2, 3, 4, 5, 0, 1, 1, 2), 1.1)  # 8 of 10: two became wrong, one right
    data = Data("faces", "f" * 64, 20, tuple(f"{place}.png" for place in range(10)), LABEL_IDS, LABELS)
    failures = (
        Failure("C6", "openvino-fp32", "TargetUnavailable", "No OpenVINO."),
        Failure("C6", "openvino-int8", "TargetUnavailable", "No OpenVINO."),
        Failure("C6", "onnx-fp16", "WorkerError", "It died."),
    )
    rows = (_row("torch", parent), _row("onnx-int8", child, 1_000_000))
    return Report(MACHINE, data, rows, (Parent("C6", "a" * 64, parent),), failures)


def test_the_figures_by_hand(report):
    found = figures(report, report.rows[1])
    assert found.accuracy == 0.8
    assert found.agreement == 0.7
    assert found.flips == (2, 1)
    assert (found.p50_ms.value, found.p90_ms.value) == (1.0, 3.0)
    assert (found.p50_ms.low, found.p50_ms.high) == (1.0, 1.0)
    assert found.memory_bytes == 45_500_000
    assert found.size_bytes == 1_234_567
    assert found.mean_class_accuracy == pytest.approx((0.5 + 1 + 1 + 1 + 1 + 1 + 0) / 7)
    assert figures(report, report.rows[0]).agreement == 1


def test_the_table(report):
    lines = table(report).splitlines()
    assert lines[0] == ("Some CPU, 2 of 4 cores, Linux x86_64; 2 threads, batch 1; 10 of 20 test images of faces")
    heading = "model target accuracy % agreement % flips -/+ SQNR dB p50 ms p90 ms size MB memory MB state"
    assert lines[2].split() == heading.split()
    assert lines[4].split() == ["C6", "torch", "90.00", "±19.31", "parent", "2.000", "3.000", "1.23", "45.5", "VALID"]
    child = lines[5].split()
    assert child[:6] == ["C6", "onnx-int8", "80.00", "±22.66", "70.00", "2/1"]
    assert child[7:] == ["1.000", "3.000", "1.23", "45.5", "VALID"]
    assert lines[7:] == [
        "C6 openvino-fp32, openvino-int8 not available here: No OpenVINO.",
        "C6 onnx-fp16 failed: WorkerError: It died.",
    ]


def test_the_table_says_what_must_be_known(report):
    first, second = report.rows
    doubtful = replace(second.measurement, degraded=("it was late", "it drifted"), memory=Memory(None, {}))
    rows = (replace(first, weights="random"), replace(second, weights="random", measurement=doubtful))
    text = table(replace(report, rows=rows, parents=(), failures=()))
    assert "C6*" in text
    assert "* random weights: times, sizes and memory hold;" in text
    assert "C6 onnx-int8 is DEGRADED: it was late; it drifted." in text
    assert "Memory could not be read on this system." in text
    line = next(line for line in text.splitlines() if "onnx-int8" in line)
    assert line.split()[4:7] == ["-", "-", "-"]
    assert line.split()[-2:] == ["-", "DEGRADED"]


def test_an_agreement_is_not_rounded_to_all(report):
    many = 30_000
    same = _outputs((0,) * many)
    other = _outputs((1,) + (0,) * (many - 1))
    data = replace(report.data, images=("x",) * many, labels=(0,) * many)
    text = table(Report(MACHINE, data, (_row("onnx-int8", other),), (Parent("C6", "a" * 64, same),)))
    assert "<100.00" in text


def test_a_report_survives_its_file(report, tmp_path):
    path = tmp_path / "out" / "report.json"
    reports.write(path, report)
    again = reports.read(path)
    assert again.to_json() == report.to_json()
    assert table(again) == table(report)
    assert again.rows[1].outputs.logits.dtype == np.float32
    assert np.array_equal(again.rows[1].outputs.logits, report.rows[1].outputs.logits)  # bit by bit: 1/3 is not exact
    assert [file.name for file in path.parent.iterdir()] == ["report.json"]


def test_a_report_stores_raw_data_and_no_percentages(report):
    document = json.loads(json.dumps(report.to_json()))
    row = document["rows"][1]
    assert row["measurement"]["samples_ns"] == [1_000_000] * 300 + [3_000_000] * 100
    assert row["outputs"]["predictions"] == [0, 1, 2, 3, 4, 5, 0, 1, 1, 2]
    assert document["data"]["labels"] == list(LABEL_IDS)
    assert document["machine"]["identity"] == MACHINE.identity
    assert "accuracy" not in json.dumps(document)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda d: d.update(version=2), r"The report has version 2\. This version of lc2fer reads 1\."),
        (lambda d: d.pop("rows"), r"The report is damaged \(KeyError: 'rows'\)\."),
        (lambda d: d["rows"][0]["outputs"].update(predictions=[0] * 10), "predictions that are not the largest logits"),
        (lambda d: d["data"].update(labels=[0], images=["x"]), r"answers to \[10\] images for 1 labels"),
        (lambda d: d["rows"][0]["outputs"]["logits"].update(base64="!"), "The report is damaged"),
        (lambda d: d["machine"].pop("cpu"), "The report's machine is damaged"),
        (lambda d: d.update(rows=None), "The report is damaged"),
    ],
)
def test_a_damaged_report_is_refused(report, damage, text):
    document = json.loads(json.dumps(report.to_json()))
    damage(document)
    with pytest.raises(ArtifactError, match=text):
        Report.from_json(document)


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, "report.json is missing. Expected a report."), ("{", "is not JSON"), ("[]", "holds no object")],
)
def test_a_file_that_is_no_report_is_refused(tmp_path, content, text):
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ArtifactError, match=text):
        reports.read(path)


def test_logits_must_be_finite():
    with pytest.raises(ValueError, match="logits of float32"):
        Outputs.of(np.array([[np.nan, 1]], np.float32))
