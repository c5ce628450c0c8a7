import json
from dataclasses import replace

import numpy as np
import pytest
from lc2fer.benchmarks.judging.figures import figures
from lc2fer.benchmarks.judging.peers import pairs
from lc2fer.benchmarks.measuring.memory import Memory
from lc2fer.benchmarks.report import document as reports
from lc2fer.benchmarks.report.document import Data, Failure, Outputs, Parent, Rate, Report, Turns
from lc2fer.benchmarks.views.page import page
from lc2fer.benchmarks.views.table import table

from lc2fer.errors import ArtifactError
from lc2fer.inputs import LABELS

TURNS = {"variant": "C6", "targets": ["torch", "onnx-int8"], "launches": [[[[1], [2]]]]}


@pytest.fixture
def report(samples):
    parent = samples.outputs((0, 1, 2, 3, 4, 5, 6, 0, 1, 3))  # 9 of 10
    child = samples.outputs((0, 1, 2, 3, 4, 5, 0, 1, 1, 2), 1.1)  # 8 of 10: two became wrong, one right
    data = Data("faces", "f" * 64, 20, tuple(f"{place}.png" for place in range(10)), samples.LABEL_IDS, LABELS)
    failures = (
        Failure("C6", "openvino-fp32", "TargetUnavailable", "No OpenVINO."),
        Failure("C6", "openvino-int8", "TargetUnavailable", "No OpenVINO."),
        Failure("C6", "onnx-fp16", "WorkerError", "It died."),
    )
    rows = (samples.row("torch", parent), samples.row("onnx-int8", child, 1_000_000))
    return Report(samples.MACHINE, data, rows, (Parent("C6", "a" * 64, parent, {}),), failures)


def test_the_figures_by_hand(report):
    found = figures(report, report.rows[1])
    assert found.accuracy == 0.8
    assert found.agreement == 0.7
    assert found.flips == (2, 1)
    assert found.p50_ms.launches == (1.0, 1.001, 1.002)
    assert found.p50_ms.value == pytest.approx(1.001, abs=1e-6)
    assert (found.p50_ms.low, found.p50_ms.high) == pytest.approx((1.001 - 0.002482, 1.001 + 0.002482), abs=2e-5)
    assert (found.p90_ms.value, found.p99_ms.value) == (3.0, 3.0)
    assert (found.compute_ms, found.frame_ms) == (0.5005, 4.0)
    assert found.throughput_hz == pytest.approx(1000 / 1.001)
    assert found.validity.state == "VALID"
    assert found.memory_bytes == 45_500_000
    assert found.size_bytes == 1_234_567
    assert found.mean_class_accuracy == pytest.approx((0.5 + 1 + 1 + 1 + 1 + 1 + 0) / 7)
    assert figures(report, report.rows[0]).agreement == 1


def test_the_table(report):
    lines = table(report).splitlines()
    assert lines[0] == (
        "Some CPU, 2 of 4 cores, Linux x86_64; 2 threads, batch 1, 3 launches; 10 of 20 test images of faces"
    )
    heading = (
        "model target ran in accuracy % agreement % flips -/+ SQNR dB p50 ms p90 ms p99 ms compute ms frame ms images/s"
    )
    assert lines[2].split() == [*heading.split(), *["size", "MB", "memory", "MB", "state"]]
    parent = (
        "C6 torch bf16 12, f32 3, i32 1 90.00 ±19.31 parent 2.001 ±0.002 3.000 3.000 1.000 4.000 500 1.23 45.5 VALID"
    )
    assert lines[4].split() == parent.split()
    child = lines[5].split()
    assert child[8:12] == ["80.00", "±22.66", "70.00", "2/1"]
    assert child[13:] == ["1.001", "±0.002", "3.000", "3.000", "0.500", "4.000", "999", "1.23", "45.5", "VALID"]
    assert [line.split() for line in lines[6:9]] == [
        ["C6", target, *["-"] * 13, *state.split()]
        for target, state in (
            ("openvino-fp32", "not available here"),
            ("openvino-int8", "not available here"),
            ("onnx-fp16", "failed"),
        )
    ]
    assert lines[10:] == [
        "C6 openvino-fp32, openvino-int8 not available here: No OpenVINO.",
        "C6 onnx-fp16 failed: WorkerError: It died.",
    ]


def test_table_and_page_name_the_kernels(report, samples):
    first, second = report.rows
    launches = [samples.launch(1_000_000, executed={"int8": 6, "float": 3}, kernels="avx2") for _ in range(3)]
    shown = replace(report, rows=(first, replace(second, launches=tuple(launches))))
    assert "int8 6, float 3: avx2" in table(shown)
    assert "int8 6, float 3: avx2" in page(shown)
    assert Report.from_json(json.loads(json.dumps(shown.to_json()))).rows[1].launches[0].kernels == "avx2"


def test_the_table_says_what_must_be_known(report, samples):
    first, second = report.rows
    doubtful = (
        samples.launch(1_000_000, settled=False, memory=Memory(None, {})),
        samples.launch(1_200_000, executed=None),
    )
    rows = (replace(first, weights="random"), replace(second, weights="random", launches=doubtful))
    text = table(replace(report, rows=rows, parents=(), failures=()))
    assert "C6*" in text
    assert "* random weights: times, sizes and memory hold;" in text
    assert (
        "C6 onnx-int8 is DEGRADED: it has 2 launches, fewer than 3; a warm-up did not become steady; the medians of "
        "its launches differ by 20%. Raise --launches. Stop other work and run it again."
    ) in text
    assert "Memory could not be read on this system." in text
    line = next(line for line in text.splitlines() if "onnx-int8" in line)
    assert line.split()[10:13] == ["-", "-", "-"]
    assert line.split()[-2:] == ["45.5", "DEGRADED"]


def test_ours_against_stock_and_against_the_machine(report, samples):
    rows = (
        *report.rows,
        samples.row("stock-torch", report.rows[0].outputs, 4_000_000),
        samples.row("stock-onnx-fp32", report.rows[0].outputs, 2_000_000),
    )
    rate = Rate(380_000_000, tuple(samples.launch(1_000_000) for _ in range(3)))
    text = table(replace(report, rows=rows, rate=rate))
    found = pairs(replace(report, rows=rows))
    assert [(pair.ours, pair.stock) for pair in found] == [("torch", "stock-torch"), ("onnx-int8", "stock-onnx-fp32")]
    assert found[0].ratio.launches == pytest.approx((0.5, 2.001 / 4.001, 2.002 / 4.002))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "C6 torch stock-torch 0.500 0.500 to 0.500 0.500 to 0.500" in lines
    assert "Machine rate: 380 GMAC/s, an 8-bit matrix product." in lines
    child = next(line for line in lines if line.startswith("C6 onnx-int8 "))
    assert child.split()[-2] == "50.0"  # 190,363,456 MACs in 1.001 ms


def test_ratios_are_of_the_turns_where_models_took_them(report, samples):
    rows = (*report.rows, samples.row("stock-torch", report.rows[0].outputs, 4_000_000))
    turns = (
        Turns("C5", ("torch", "stock-torch"), ((((9,), (1,)),),)),
        Turns("C6", ("torch", "onnx-int8", "stock-torch"), ((((3,), (1,), (4,)),),) * 2),
    )
    again = Report.from_json(json.loads(json.dumps(replace(report, rows=rows, turns=turns).to_json())))
    assert again.turns == turns
    assert [(pair.ours, pair.ratio.launches) for pair in pairs(again)] == [("torch", (0.75, 0.75))]


def test_engines_that_none_of_ours_runs_on_stand_against_the_fastest_of_ours(report, samples):
    outputs = report.rows[0].outputs
    ours = [samples.row(name, outputs, ns) for name, ns in (("ort-int8", 2_000_000), ("ort-int8-fused", 1_000_000))]
    theirs = [samples.row(f"stock-{name}", outputs, 4_000_000) for name in ("litert-int8-conv", "mnn-int8")]
    lone = samples.row("stock-ncnn-fp32", outputs, 1_000_000)  # none of ours is in float
    found = pairs(replace(report, rows=(*ours, *theirs, lone)))
    assert [(pair.ours, pair.stock) for pair in found] == [
        ("ort-int8-fused", "stock-litert-int8-conv"),
        ("ort-int8-fused", "stock-mnn-int8"),
    ]
    assert found[0].ratio.launches[0] == pytest.approx(0.25)


def test_older_versions_are_read_where_they_held_what_this_one_needs(report):
    document = json.loads(json.dumps(report.to_json())) | {"version": 3}
    assert Report.from_json(document).to_json() == report.to_json()
    document["rows"][1]["perturbed"] = {"blur": [0, 1]}
    text = (
        r"^The report has version 3 and disturbed images, which had no logits then\. This version of lc2fer reads 2 "
        r"to 5\. Read it with the version that wrote it, or run lc2fer-bench again\.$"
    )
    with pytest.raises(ArtifactError, match=text):
        Report.from_json(document)
    document["rows"][1]["perturbed"] = {}
    del document["turns"]  # came with version 3
    assert Report.from_json(document | {"version": 2}).to_json() == report.to_json()


def test_energy_above_idle(report, samples):
    row = report.rows[0]
    metered = samples.launch(energy_mj=12.0, idle_watts=4.0, throughput=(100, 200_000_000))  # 2 ms an inference
    found = figures(report, replace(row, launches=(metered, samples.launch(energy_mj=9.0))))
    assert found.energy_mj == pytest.approx(10.5)
    assert found.energy_above_idle_mj == pytest.approx(12.0 - 4.0 * 2)
    assert figures(report, row).energy_above_idle_mj is None
    less = replace(metered, energy_mj=10.0)
    assert figures(report, replace(row, launches=(metered, less))).energy_above_idle_mj == pytest.approx(3.0)


def test_an_agreement_is_not_rounded_to_all(report, samples):
    many = 30_000
    same = samples.outputs((0,) * many)
    other = samples.outputs((1,) + (0,) * (many - 1))
    data = replace(report.data, images=("x",) * many, labels=(0,) * many)
    text = table(Report(samples.MACHINE, data, (samples.row("onnx-int8", other),), (Parent("C6", "a" * 64, same, {}),)))
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


def test_a_report_stores_raw_data_and_no_percentages(report, samples):
    document = json.loads(json.dumps(report.to_json()))
    row = document["rows"][1]
    assert len(row["launches"]) == 3
    assert sorted(row["launches"][0]["samples_ns"]) == [1_000_000] * 300 + [3_000_000] * 100
    assert row["outputs"]["predictions"] == [0, 1, 2, 3, 4, 5, 0, 1, 1, 2]
    assert document["data"]["labels"] == list(samples.LABEL_IDS)
    assert document["machine"]["identity"] == samples.MACHINE.identity
    assert "accuracy" not in json.dumps(document)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda d: d.update(version=1), r"The report has version 1\. This version of lc2fer reads 2 to 5\."),
        (lambda d: d.pop("turns"), r"The report is damaged \(KeyError: 'turns'\)\."),
        (lambda d: d.update(turns=[TURNS | {"launches": [[[[1], []]]]}]), r"the turns of C6 lack samples"),
        (lambda d: d.update(turns=[TURNS | {"launches": [[]]}]), r"the turns of C6 lack samples"),
        (lambda d: d.update(turns=[TURNS | {"launches": [[[["1"], [2]]]]}]), r"turns\[0\]\.launches.* is '1', a str"),
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
    [
        (None, "report.json is missing. Expected a report."),
        ("{", "is not JSON"),
        ("[]", "is no report"),
        ('{"models": []}', "is no report"),
        ('{"version": 1}', r"^.*report\.json: The report has version 1\."),
        (f'{{"version": {reports.VERSION}}}', r"^.*report\.json: The report is damaged \(KeyError: "),
    ],
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


def test_a_narrow_table_says_in_one_line_whether_to_worry(report, samples):
    first, second = report.rows
    doubtful = replace(second, launches=(samples.launch(1_000_000), samples.launch(1_000_000)))
    text = table(replace(report, rows=(first, doubtful)), wide=False)
    (line,) = [line for line in text.splitlines() if "rough here" in line]
    assert line.startswith("The times of 1 of 2 rows are rough here: mostly, other work was running. Accuracy, ")
    assert "SQNR" not in text
    assert "is DEGRADED:" not in text
    assert "rough here" not in table(report, wide=False)
    assert all(len(one) <= 120 for one in text.splitlines() if "onnx-int8" in one)
