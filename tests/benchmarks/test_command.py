import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from lc2fer.benchmarks import command, run
from lc2fer.benchmarks.measuring import launch
from lc2fer.benchmarks.measuring.launch import Settings
from lc2fer.benchmarks.measuring.worker import WorkerError
from lc2fer.benchmarks.report import document as reports
from lc2fer.benchmarks.views import table

from lc2fer import cli
from lc2fer.errors import ArtifactError, DataError, TargetUnavailable, UsageError
from lc2fer.kernels import build
from lc2fer.targets import FILES, STOCK

QUICK = ["--seconds", "0", "--runs", "60", "--threads", "1", "--launches", "1"]


@pytest.fixture
def models(tiny, tmp_path, monkeypatch):
    """Behaviour by target -> what the command finds; an exception is what making it raised."""

    def prepare(**behaviours):
        def make(config, targets, *, weights, data, images, reading, out, said):
            results = {}
            for target in targets:
                content = behaviours[target.replace("-", "_")]
                results[target] = (
                    content if isinstance(content, Exception) else tiny(out, f"C6-{target}", content, target=target)
                )
            return results

        monkeypatch.setattr(run, "make", make)
        monkeypatch.setattr(reports, "operators", lambda path: {"Conv": len(path.read_bytes())})
        monkeypatch.setattr(run, "Settings", partial(Settings, warm_up_limit_s=0.3))

    return prepare


def test_a_run(engine, models, faces, tmp_path, capsys):
    models(
        torch=b"",
        onnx_int8=b"off",
        onnx_fp16=b"crash",
        trt_fp16=TargetUnavailable("No driver. One was expected. Build it there."),
    )
    targets = ["onnx-int8", "onnx-fp16", "trt-fp16", "torch"]
    out = tmp_path / "out"
    document = command.main(["--data", str(faces), "--out", str(out), "--targets", *targets, *QUICK])

    assert document["report"] == str(out / "report.json")
    first, second = document["rows"]
    assert (first["model"], first["target"], first["accuracy"], first["agreement"]) == ("C6", "torch", 1.0, 1.0)
    assert (second["target"], second["accuracy"]) == ("onnx-int8", pytest.approx(6 / 7))
    assert second["agreement"] == pytest.approx(6 / 7)
    assert 0 < second["p50_ms"] <= second["p90_ms"]
    assert second["size_bytes"] == 3
    assert second["state"] in ("DEGRADED", "INVALID")  # 60 samples
    assert second["ran_in"] == "int8 2, float 1"
    assert json.loads(json.dumps(document, allow_nan=False)) == document

    printed = capsys.readouterr()
    assert "70 test images of" in printed.out
    assert "C6 trt-fp16 not available here: No driver. One was expected. Build it there." in printed.out
    assert (
        "C6 onnx-fp16 failed: WorkerError: The process that measures C6 onnx-fp16 was killed by SIGSEGV" in printed.out
    )
    progress = printed.err.splitlines()
    assert progress[0] == "C6 trt-fp16: TargetUnavailable"
    assert progress[1].startswith("C6 torch: launch 1 of 1, p50 ")
    assert progress[2].startswith("C6 onnx-int8: launch 1 of 1, p50 ")
    assert progress[3] == "C6 onnx-fp16: WorkerError"
    assert progress[4].startswith("C6: torch DEGRADED, onnx-int8 ") or "INVALID" in progress[4]

    report = reports.read(out / "report.json")
    assert [row.target for row in report.rows] == ["torch", "onnx-int8"]
    assert report.rows[1].graph == {"Conv": 3}
    assert report.rows[1].outputs.predictions.count(1) == 20  # class 0 went to class 1
    assert report.data.available == 70
    assert report.data.thumbnails == {}
    assert report.command[:2] == ("--data", str(faces))
    assert not (out / ".lc2fer-bench.jsonl").exists()
    assert all(f"test/{label + 1}/" in image for label, image in zip(report.data.labels, report.data.images))


def test_the_parent_is_scored_even_where_it_has_no_row(engine, models, faces, tmp_path, capsys):
    models(torch=b"", onnx_fp32=b"off")
    arguments = ["--data", str(faces), "--out", str(tmp_path / "out"), "--targets", "onnx-fp32", "--limit", "35"]
    (row,) = command.main([*arguments, *QUICK])["rows"]
    assert row["target"] == "onnx-fp32"
    assert row["agreement"] == row["accuracy"] < 1
    report = reports.read(tmp_path / "out" / "report.json")
    assert (len(report.data.labels), report.data.available) == (35, 70)
    assert set(report.data.labels) == set(range(7))  # a part of the set is a sample of it
    assert "35 of 70 test images" in capsys.readouterr().out


def test_rows_without_a_parent_have_no_agreement(engine, models, faces, tmp_path, capsys):
    models(torch=TargetUnavailable("No torch."), onnx_fp32=b"")
    arguments = ["--data", str(faces), "--out", str(tmp_path / "out"), "--targets", "onnx-fp32", "--wide", *QUICK]
    (row,) = command.main(arguments)["rows"]
    assert row["agreement"] is None
    printed = capsys.readouterr().out
    assert "C6 torch not available here: No torch." in printed
    assert "* weights of unknown origin" in printed


def test_without_any_row_the_first_error_is_raised(models, faces, tmp_path):
    models(torch=TargetUnavailable("No torch."), onnx_fp32=WorkerError("It died."))
    arguments = ["--data", str(faces), "--out", str(tmp_path / "out"), "--targets", "onnx-fp32", "torch"]
    with pytest.raises(TargetUnavailable, match=r"^No torch\.$"):
        command.main(arguments)
    assert list((tmp_path / "out").iterdir()) == []
    assert cli.run("bench", arguments) == 3


def test_the_fingerprint_is_of_images_and_labels_not_of_their_order(faces):
    from lc2fer.data import open_dataset

    dataset = open_dataset(faces)
    samples, data = run.test_set(dataset, "x", None)
    turned = type(dataset)(dataset.root, dataset.layout, dataset.train, dataset.test[::-1])
    assert run.test_set(turned, "x", None)[1] == data
    assert run.test_set(dataset, "x", 10)[1].fingerprint != data.fingerprint
    assert run.test_set(dataset, "x", 10)[0] == samples[:10]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--threads", "0"],
            r"^0 threads were asked for\. Expected 1( to [0-9]+)?, as many as this process has cores\.",
        ),
        (["--runs", "-1"], r"^--runs is -1\."),
        (["--runs", "1000001"], r"^--runs is 1000001\. At most 1,000,000 are kept of a launch\. Pass fewer, and more"),
        (["--limit", "0"], r"^--limit is 0\."),
        (["--launches", "0"], r"^--launches is 0\."),
        (["--robustness", "-1"], r"^--robustness is -1\. Expected 0 or more\. Pass a number of images\.$"),
        (["--seconds", "-1"], r"^--seconds is -1\.0\. Expected 0 or more\."),
        (["--seconds", "nan"], r"^--seconds is nan\."),
        (
            ["--weights", "w.safetensors", "--configs", "C1", "C2"],
            r"^--weights w\.safetensors was given for 2 configurations\. A checkpoint holds one\.",
        ),
    ],
)
def test_arguments_that_cannot_be_used(arguments, text):
    with pytest.raises(UsageError, match=text):
        command.main(arguments)


@pytest.mark.parametrize(("strict", "code"), [([], 0), (["--strict"], 1)])
def test_a_row_that_cannot_be_made_is_a_failure_where_that_is_asked_for(
    engine, models, faces, tmp_path, capsys, strict, code
):
    models(torch=b"", trt_fp16=TargetUnavailable("No driver. One was expected. Build it there."))
    arguments = ["--data", str(faces), "--out", str(tmp_path), "--targets", "torch", "trt-fp16", *QUICK, *strict]
    assert cli.run("bench", arguments) == code
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["failures"][0]["target"] == "trt-fp16"
    assert (tmp_path / "report.json").is_file()
    assert cli.run("bench", ["--data", str(faces), "--out", str(tmp_path), "--targets", "torch", *QUICK, *strict]) == 0


@pytest.mark.parametrize(
    ("blocked", "given", "text"),
    [
        (
            ["torch", "safetensors", "scipy", "psutil"],
            [],
            "scipy and psutil and torch and safetensors are not installed. Making and measuring models needs the "
            "extras [export,openvino,bench]. Run: pip install 'lc2fer[export,openvino,bench]', or measure models that "
            "are there: --models.",
        ),
        (
            ["torch", "scipy"],
            ["--models", "x.onnx"],
            "scipy is not installed. Measuring needs the extras [bench]. Run: pip install 'lc2fer[bench]'.",
        ),
    ],
)
def test_a_bare_installation_is_told_in_one_sentence(blocked, given, text, python, tmp_path):
    program = "import sys; from lc2fer import cli; sys.exit(cli.run('bench', sys.argv[1:]))"
    done = python(program, "--out", str(tmp_path / "out"), *given, block=blocked)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"TargetUnavailable: {text}\n"
    assert not (tmp_path / "out").exists()


def test_a_wrong_folder_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        command.main(["--data", str(tmp_path / "none"), "--out", str(tmp_path / "out")])


def test_whatever_can_be_exported_for_this_computer_can_be_measured():
    assert set(FILES) - set(command.TARGETS) == set()
    fused = {name for name in FILES if name.endswith("-fused")}
    assert set(command.DEFAULT_TARGETS) == {"torch", "onnx-fp32", *fused}


def test_where_a_fused_target_cannot_run_its_stand_in_is_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path))
    monkeypatch.setattr(build, "PREBUILT", tmp_path)
    assert command._parse([]).targets == [
        "torch",
        "ort-fp32",
        "onnx-fp16",
        "ort-int8",
        "openvino-fp32",
        "openvino-fp16",
        "openvino-int8",
        "onnx-fp32",
    ]


def test_names_may_be_small_and_come_twice():
    chosen = command._parse(["--configs", "c6", "C6", "c1", "--targets", "torch", "torch"])
    assert (chosen.configs, chosen.targets) == (["C6", "C1"], ["torch"])
    chosen = command._parse(["--configs", "all", "--targets", "all"])
    assert chosen.configs == [f"C{number}" for number in range(1, 9)]
    assert chosen.targets == list(command.TARGETS)


@pytest.mark.parametrize("arguments", [["--targets", "tflite"], ["--configs", "C9"]])
def test_unknown_names_are_a_usage_error(arguments, capsys):
    assert cli.run("bench", arguments) == 2
    assert "invalid choice" in capsys.readouterr().err


INTERRUPTED = """
import sys
from lc2fer.artifact import load
from pathlib import Path
from lc2fer.benchmarks import run as running
from lc2fer import cli

running.make = lambda config, targets, *, out, **rest: {target: load(out / "C6-torch.onnx") for target in targets}
sys.exit(cli.run("bench", sys.argv[1:]))
"""


def test_ctrl_c_leaves_no_process_and_no_report(engine, tiny, faces, tmp_path):
    out, temporary = tmp_path / "out", tmp_path / "tmp"
    temporary.mkdir()
    tiny(out, "C6-torch", b"", target="torch")
    command_line = [sys.executable, "-c", INTERRUPTED, "--data", str(faces), "--out", str(out), "--targets", "torch"]
    process = subprocess.Popen(
        [*command_line, "--seconds", "60"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        # A shell's background job, as a CI run may be, ignores Ctrl-C and leaves that to its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    log = "lc2fer-bench-*/C6-torch.log"
    deadline = time.monotonic() + 20
    while not any(path.stat().st_size for path in temporary.glob(log)) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=20)
    assert process.returncode == 130
    assert error == "Interrupted. Finished files are kept; nothing half-written is left.\n"
    assert list(temporary.iterdir()) == []
    assert sorted(path.name for path in out.iterdir()) == ["C6-torch.json", "C6-torch.onnx"]


def test_a_run_that_was_stopped_goes_on_where_it_was(engine, models, faces, tmp_path, capsys, monkeypatch):
    models(torch=b"", onnx_int8=b"off")
    out = tmp_path / "out"
    arguments = ["--data", str(faces), "--out", str(out), "--targets", "torch", "onnx-int8", *QUICK]
    measured = []

    def killed(artifact, *rest):
        measured.append(artifact.target)
        if artifact.target == "onnx-int8":
            raise KeyboardInterrupt
        return launch.measure_and_score(artifact, *rest)

    monkeypatch.setattr(run, "measure_and_score", killed)
    with pytest.raises(KeyboardInterrupt):
        command.main(arguments)
    assert not (out / "report.json").exists()

    def counted(artifact, *rest):
        measured.append(artifact.target)
        return launch.measure_and_score(artifact, *rest)

    monkeypatch.setattr(run, "measure_and_score", counted)
    document = command.main(arguments)
    assert measured == ["torch", "onnx-int8", "onnx-int8"]
    assert [row["target"] for row in document["rows"]] == ["torch", "onnx-int8"]
    assert "1 launches of a run that was stopped are taken over" in capsys.readouterr().err
    command.main(arguments)
    assert measured[3:] == ["torch", "onnx-int8"]  # a run that ended is not taken over
    monkeypatch.setattr(run, "measure_and_score", killed)
    with pytest.raises(KeyboardInterrupt):
        command.main(arguments)
    monkeypatch.setenv("LC2FER_CPU", "avx2")  # other kernels: the launches of one row are of the same
    monkeypatch.setattr(run, "measure_and_score", counted)
    command.main(arguments)
    assert measured[5:] == ["torch", "onnx-int8"] * 2


def test_disturbed_images_and_thumbnails(engine, models, faces, tmp_path, capsys):
    models(torch=b"", onnx_fp32=b"off")
    arguments = ["--data", str(faces), "--out", str(tmp_path / "out"), "--targets", "torch", "onnx-fp32"]
    command.main([*arguments, "--robustness", "30", "--thumbnails", *QUICK])
    report = reports.read(tmp_path / "out" / "report.json")
    assert [found.logits.shape for found in report.rows[1].perturbed.values()] == [(30, 7)] * 4
    assert list(report.parents[0].perturbed) == ["occlusion", "blur", "brightness", "rotation"]
    flipped = [place for place, label in enumerate(report.data.labels) if label == 0]
    assert list(report.data.thumbnails) == [str(place) for place in flipped]
    assert all(picture.startswith("/9j/") for picture in report.data.thumbnails.values())  # JPEG


def test_the_machines_rate_is_timed_and_not_scored(engine, tiny, models, faces, tmp_path, capsys):
    names = {name.replace("-", "_"): TargetUnavailable("No.") for name in STOCK}
    models(torch=b"", onnx_fp32=b"", **{**names, "stock_onnx_fp32": b"", "matrix_rate": b""})
    arguments = ["--data", str(faces), "--out", str(tmp_path / "out"), "--targets", "onnx-fp32", "--peers", *QUICK]
    assert "says None for device.macs. Expected the multiply-accumulates of a run." in str(
        command.main(arguments)["failures"][-1]["error"]
    )


def test_ours_against_stock_is_said(engine, models, faces, tmp_path, capsys, monkeypatch):
    names = {name.replace("-", "_"): TargetUnavailable("No.") for name in STOCK}
    models(torch=b"", onnx_fp32=b"", **{**names, "stock_onnx_fp32": b"", "matrix_rate": b""})
    monkeypatch.setattr(run, "_macs", lambda artifact: 1000)
    monkeypatch.setattr(table, "fraction_of_rate", lambda row, rate: 0.25)  # no network takes 8x8 images
    arguments = [
        "--data",
        str(faces),
        "--out",
        str(tmp_path / "out"),
        "--targets",
        "onnx-fp32",
        "--peers",
        "--wide",
        *QUICK,
    ]
    document = command.main(arguments)
    assert [row["target"] for row in document["rows"]] == ["onnx-fp32", "stock-onnx-fp32"]
    ((pair,), rate) = document["against_stock"], document["rate_gmacs"]
    assert (pair["ours"], pair["stock"]) == ("onnx-fp32", "stock-onnx-fp32")
    assert pair["ratio"] > 0
    assert rate > 0
    (turns,) = reports.read(tmp_path / "out" / "report.json").turns
    assert (turns.variant, turns.targets) == ("C6", ("onnx-fp32", "stock-onnx-fp32"))
    assert [len(rounds) for rounds in turns.launches] == [30] * len(turns.launches)
    printed = capsys.readouterr().out
    assert "of rate %" in printed
    assert " 25.0 " in printed
    assert "Machine rate: " in printed


def test_models_that_are_there_are_measured_as_they_are(engine, tiny, monkeypatch, faces, tmp_path, capsys):
    monkeypatch.setattr(reports, "operators", lambda path: None)
    folder = tmp_path / "models"
    first, second = (tiny(folder, f"C6-{name}", b"", target=name) for name in ("onnx-fp32", "onnx-int8"))
    arguments = ["--data", str(faces), "--out", str(tmp_path / "out"), "--wide", *QUICK]
    document = command.main(["--models", str(first.path), str(second.path), *arguments])
    assert [(row["target"], row["agreement"]) for row in document["rows"]] == [("onnx-fp32", None), ("onnx-int8", None)]
    report = reports.read(tmp_path / "out" / "report.json")
    assert [row.sha256 for row in report.rows] == [first.sha256, second.sha256]
    assert (report.parents, report.failures) == ((), ())
    assert "weights of unknown origin" in capsys.readouterr().out
    assert sorted(path.name for path in folder.glob("*.onnx")) == ["C6-onnx-fp32.onnx", "C6-onnx-int8.onnx"]


def test_models_that_do_not_belong_together_are_refused(engine, tiny, faces, tmp_path):
    one, two = (tiny(tmp_path / name, "C6-onnx-fp32", b"") for name in ("a", "b"))
    arguments = ["--data", str(faces), "--out", str(tmp_path / "out"), *QUICK]
    with pytest.raises(UsageError) as raised:
        command.main(["--models", str(one.path), str(two.path), *arguments])
    assert str(raised.value) == (
        f"{one.path} and {two.path} are both C6 onnx-fp32. A report has one row of each. Measure them apart and put "
        "the reports beside each other with lc2fer-bench compare."
    )
    parent = tiny(tmp_path, "C6-torch", b"other", target="torch")
    with pytest.raises(ArtifactError, match=r"C6-onnx-fp32\.onnx was not made from .*C6-torch\.onnx\. Models of"):
        command.main(["--models", str(parent.path), str(one.path), *arguments])
    with pytest.raises(UsageError, match=r"--models and --peers were given\. --models measures what is there and"):
        command.main(["--models", str(one.path), "--peers", *arguments])
