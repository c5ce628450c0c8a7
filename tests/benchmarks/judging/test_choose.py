from contextlib import nullcontext
from dataclasses import replace

import pytest
from lc2fer.benchmarks.command import main
from lc2fer.benchmarks.judging.choose import (
    Limits,
    NoChoice,
    _parse,
    choose,
    export_command,
    measured_file,
    quantity,
    table,
)
from lc2fer.benchmarks.measuring.memory import Memory
from lc2fer.benchmarks.report import document as reports

from lc2fer import cli
from lc2fer.errors import UsageError


@pytest.fixture
def report(planted, samples):
    big = tuple(
        samples.launch(1_000_000 + n, memory=Memory("pss", {"baseline": 0, "steady": 300_000_000})) for n in range(3)
    )
    return planted(
        1000,
        onnx_int8=(5, 0, 1_000_000),
        openvino_int8=(4, 0, 1_000_000, {"launches": big}),
        onnx_fp32=(0, 0, 2_500_000),
        openvino_fp32=(200, 0, 500_000),
        stock_onnx_fp32=(0, 0, 1_000),
    )


def names(candidates):
    return [one.row.target for one in candidates]


def test_the_fastest_of_those_that_are_as_accurate(report):
    found = choose(report, Limits())
    assert found.best.row.target == "onnx-int8"  # 4 or 5 flips of 1000 tell nothing, and it takes less memory
    assert names(found.ties) == ["openvino-int8"]
    assert names(found.front) == ["openvino-fp32", "openvino-int8", "onnx-int8", "torch"]


def test_of_rows_that_are_alike_in_memory_too_the_smallest_file(planted, samples):
    def launches(memory_bytes):
        memory = Memory("pss", {"baseline": 0, "steady": memory_bytes})
        return tuple(samples.launch(1_000_000 + n, memory=memory) for n in range(3))

    report = planted(
        1000,
        openvino_fp16=(0, 0, 1_000_000, {"launches": launches(78_400_000), "size_bytes": 1_980_000}),
        openvino_int8=(0, 0, 1_000_000, {"launches": launches(78_800_000), "size_bytes": 1_160_000}),
        onnx_int8=(0, 0, 1_000_000, {"launches": launches(99_000_000), "size_bytes": 430_000}),
    )
    found = choose(report, Limits())
    assert found.best.row.target == "openvino-int8"
    assert names(found.ties) == ["openvino-fp16", "onnx-int8"]


@pytest.mark.parametrize(
    ("limits", "best"),
    [
        (Limits(accuracy=0.999), "torch"),
        (Limits(latency_ms=0.9), "openvino-fp32"),
        (Limits(memory_bytes=200e6, latency_ms=1.9), "onnx-int8"),
    ],
)
def test_limits_are_kept(report, limits, best):
    assert choose(report, limits).best.row.target == best


def test_rows_that_are_invalid_are_not_shipped(report, samples):
    few = tuple(samples.launch(400_000, samples_ns=(400_000,) * 20) for _ in range(3))
    rows = tuple(replace(row, launches=few) if row.target == "onnx-int8" else row for row in report.rows)
    assert choose(replace(report, rows=rows), Limits()).best.row.target == "openvino-int8"
    assert choose(replace(report, rows=rows), Limits(), force=True).best.row.target == "onnx-int8"
    rows = tuple(replace(row, launches=few) for row in report.rows)
    with pytest.raises(NoChoice) as raised:
        choose(replace(report, rows=rows), Limits())
    assert str(raised.value).startswith("All 5 models of the report are INVALID: C6 torch, a launch has 20 samples, ")
    assert str(raised.value).endswith("were expected. Measure them again, or pass --force.")


def test_one_launch_is_no_tie(report):
    rows = tuple(replace(row, launches=row.launches[:1]) for row in report.rows)
    found = choose(replace(report, rows=rows), Limits())
    assert (found.best.row.target, found.ties) == ("onnx-int8", ())


def test_nothing_fits(report, tmp_path):
    with pytest.raises(NoChoice) as raised:
        choose(report, Limits(0.7, 0.95, 1e9))
    assert str(raised.value) == (
        "No model of the report keeps all limits. C6 openvino-fp32 is nearest: its accuracy is 0.8000, 0.95 at least. "
        "Relax a limit, or measure other variants and targets."
    )
    with pytest.raises(NoChoice, match=r"its memory is 45\.5 MB, 45\.0 MB at most\. Relax a limit"):
        choose(report, Limits(memory_bytes=45e6))
    reports.write(tmp_path / "report.json", report)
    assert cli.run("bench", ["choose", "--max-latency", "1us", "--report", str(tmp_path / "report.json")]) == 1


def test_the_command_says_what_to_run_next(report, tmp_path, capsys):
    reports.write(tmp_path / "report.json", report)
    document = main(
        ["choose", "--max-latency", "5ms", "--min-accuracy", "0.8", "--report", str(tmp_path / "report.json")]
    )
    assert document["command"] == f"lc2fer-export --config C6 --target onnx-int8 --out {tmp_path}"
    assert document["ties"] == ["C6 openvino-int8"]
    printed = capsys.readouterr().out
    assert "->  C6       onnx-int8" in printed
    assert "Ship C6 onnx-int8. Its command: lc2fer-export" in printed


def test_the_next_command_is_of_the_weights_and_the_data_that_were_measured(report, tmp_path):
    row = report.rows[0]
    measured = replace(report, command=("--weights=runs/my c6.safetensors", "--data", "FACES", "--limit", "9"))
    assert export_command(measured, row, tmp_path) == (
        f"lc2fer-export --config C6 --target onnx-fp32 --weights 'runs/my c6.safetensors' --data FACES --out {tmp_path}"
    )
    assert export_command(report, row, tmp_path) == f"lc2fer-export --config C6 --target onnx-fp32 --out {tmp_path}"
    read = ("--labels-from", "0", "--synonyms", "tired=sad", "calm=", "--leave-out-copies")
    measured = replace(
        report, command=("--data", "OLD", "--images", "original", "--limit", "9", *read, "--data", "NEW")
    )
    assert export_command(measured, row, tmp_path) == (
        f"lc2fer-export --config C6 --target onnx-fp32 --data NEW --images original {' '.join(read)} --out {tmp_path}"
    )


def test_a_model_that_was_there_is_named_by_its_file(report, tmp_path, capsys):
    row = report.rows[1]
    file = f"made before/{row.name}.onnx"
    measured = replace(report, command=("--models", "own/C6.safetensors", file, "--data", "FACES"))
    assert measured_file(measured, row) == file
    assert measured_file(replace(report, command=(f"--models={file}",)), row) == file
    assert measured_file(replace(report, command=("--configs", "C6", "--data", file)), row) is None
    named_alike = ("--mode", "latency", "--out", f"of/{row.name}", "--model", "own/C6.safetensors", "--models", file)
    assert measured_file(replace(report, command=named_alike), row) == file
    reports.write(tmp_path / "report.json", replace(measured, rows=(row,)))
    document = main(["choose", "--force", "--report", str(tmp_path / "report.json")])
    assert (document["file"], document["command"]) == (file, None)
    assert f"Ship {row.variant} {row.target}. Its file: {file}\n" in capsys.readouterr().out


def test_of_models_that_are_called_alike_the_one_that_was_measured_is_named(report, tiny, tmp_path):
    files = [tiny(tmp_path / name, "model", name.encode()) for name in ("a", "b")]
    measured = replace(report, command=("--models", *(str(file.path) for file in files)))
    for file in files:
        row = replace(report.rows[1], name="model", sha256=file.sha256)
        assert measured_file(measured, row) == str(file.path)


@pytest.mark.parametrize(("text", "value"), [("5ms", 5), ("0.5 s", 500), ("20us", 0.02), (".5ms", 0.5)])
def test_quantities(text, value):
    assert quantity(text, {"us": 1e-3, "ms": 1, "s": 1e3}, "max-latency") == pytest.approx(value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--max-latency", "5"], r"^--max-latency is '5'\. Expected a number with a unit of us, ms, s\. Correct it\.$"),
        (["--max-memory", "-1MB"], r"^--max-memory is '-1MB'\."),
        (["--max-memory", "5 parsecs"], r"^--max-memory is '5 parsecs'\."),
        (["--min-accuracy", "80"], r"^--min-accuracy is 80\.0\. Expected a share, 0 to 1\. Pass 0\.8 for 80 %\.$"),
    ],
)
def test_limits_that_are_none(arguments, text):
    name, value = arguments
    with pytest.raises(UsageError, match=text):
        main(["choose", f"{name}={value}"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("3b", 3), ("1 KB", 1e3), ("1MB", 1e6), ("1gb", 1e9), ("1KiB", 2**10), ("1MiB", 2**20), ("1GiB", 2**30)),
    ],
)
def test_units_of_memory(text, value):
    assert _parse([f"--max-memory={text}"]).max_memory == value


@pytest.mark.parametrize(("text", "value"), [("20us", 0.02), ("3 ms", 3), ("1s", 1000)])
def test_units_of_time_are_milliseconds(text, value):
    assert _parse([f"--max-latency={text}"]).max_latency == pytest.approx(value)


@pytest.mark.parametrize(("share", "right"), [("0", True), ("1", True), ("-0.01", False), ("1.01", False)])
def test_an_accuracy_is_a_share(share, right):
    with nullcontext() if right else pytest.raises(UsageError, match="Expected a share, 0 to 1"):
        assert _parse([f"--min-accuracy={share}"]).min_accuracy == float(share)


def test_a_limit_itself_is_kept(report):
    alone = replace(report, rows=report.rows[:1])
    found = choose(alone, Limits()).best.figures
    limits = Limits(found.p50_ms.high, found.accuracy, found.memory_bytes)
    assert choose(alone, limits).best.row.target == "torch"
    for tighter in (
        replace(limits, latency_ms=found.p50_ms.high * 0.999),
        replace(limits, accuracy=found.accuracy + 1e-9),
        replace(limits, memory_bytes=found.memory_bytes - 1),
    ):
        with pytest.raises(NoChoice):
            choose(alone, tighter)


def test_a_memory_that_is_not_known_keeps_no_limit(report, samples):
    unknown = tuple(samples.launch(memory=Memory(None, {})) for _ in range(3))
    alone = replace(report, rows=(replace(report.rows[0], launches=unknown),))
    assert choose(alone, Limits()).best.row.target == "torch"
    with pytest.raises(NoChoice, match=r"its memory is not known, 45\.0 MB at most\. Relax a limit"):
        choose(alone, Limits(memory_bytes=45e6))


def test_a_report_without_rows_of_ours(report):
    with pytest.raises(
        UsageError, match=r"^The report has no row\. Expected measured models\. Run lc2fer-bench first\.$"
    ):
        choose(replace(report, rows=report.rows[-1:]), Limits())


def test_the_table_marks_the_choice_its_ties_and_what_proves_nothing(report):
    rows = tuple(replace(row, weights="random") if row.target == "openvino-fp32" else row for row in report.rows)
    text = table(choose(replace(report, rows=rows), Limits()))
    lines = {line[4:].split()[1]: line for line in text.splitlines()[2:6]}
    assert [target for target, line in lines.items() if line.startswith("->")] == ["onnx-int8"]
    assert [target for target, line in lines.items() if line.startswith("=")] == ["openvino-int8"]
    assert " 300.0 " in lines["openvino-int8"]  # megabytes
    assert "80.00*" in lines["openvino-fp32"]
    assert "99.50 " in lines["onnx-int8"]
    assert "= cannot be told from it in accuracy nor in latency: C6 openvino-int8. " in text
    assert "* weights that are random or of unknown origin: the accuracy proves nothing." in text
    assert "*" not in table(choose(report, Limits())).partition("=")[0]
