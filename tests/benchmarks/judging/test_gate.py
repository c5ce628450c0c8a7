import json
from dataclasses import replace

import pytest
from lc2fer.benchmarks import gate_command
from lc2fer.benchmarks.judging import gate
from lc2fer.benchmarks.judging.gate import judge
from lc2fer.benchmarks.judging.rules import DEFAULT, Accuracy, Floor, Latency, Ratio, Reference, Rules, read
from lc2fer.benchmarks.judging.spread import Spread
from lc2fer.benchmarks.report import document as reports
from lc2fer.benchmarks.report.document import Failure

from lc2fer import cli
from lc2fer.errors import UsageError
from lc2fer.targets import OURS

ACCURACY = Rules(accuracy=Accuracy(margin=0.01))


def states(verdicts):
    return [(one.target, one.state) for one in verdicts]


def test_planted_losses(planted):
    report = planted(onnx_int8=(120, 28), onnx_fp16=(20, 14), onnx_fp32=(0, 0))
    verdicts = judge(report, ACCURACY)
    assert states(verdicts) == [("onnx-int8", "fail"), ("onnx-fp16", "pass"), ("onnx-fp32", "pass")]
    assert verdicts[0].counts
    assert verdicts[0].text == (
        "3.00 points lost against the parent (120 worse, 28 better of 3,068; at most 3.65 with 95%; margin 1.00)"
    )


def test_forty_images_decide_nothing(planted):
    (verdict,) = judge(planted(40, onnx_int8=(1, 0)), ACCURACY)  # 2.5 points as measured
    assert (verdict.state, verdict.counts, verdict.undecided) == ("inconclusive", True, True)
    assert verdict.text.endswith(". 1,004 images decide, if answers flip as often as here")
    (verdict,) = judge(planted(400, onnx_int8=(10, 8)), ACCURACY)  # 0.5 points
    assert (verdict.state, verdict.counts, verdict.undecided) == ("inconclusive", False, True)
    for what, counts in (("fail", True), ("warn", False)):
        for report in (planted(40, onnx_int8=(1, 0)), planted(400, onnx_int8=(10, 8))):
            (verdict,) = judge(report, Rules(accuracy=Accuracy(0.01, inconclusive=what)))
            assert (verdict.state, verdict.counts, verdict.undecided) == ("inconclusive", counts, False)


def test_a_gate_that_checks_nothing_is_an_error(planted):
    report = planted(1000, onnx_int8=(0, 0))
    with pytest.raises(UsageError) as refused:
        judge(report, Rules(floors=(Floor("accuracy", 0.5, targets=("tflite-*",)),)))
    assert str(refused.value) == (
        "No rule applied to the report's 2 rows. Expected at least one that could be checked, for a gate that checks "
        "nothing cannot pass. Measure other targets, or correct the rules."
    )


def test_stock_rows_are_not_judged(planted):
    report = planted(1000, onnx_int8=(0, 0), stock_onnx_int8=(300, 0))
    failure = Failure("C6", "stock-openvino-int8", "WorkerError", "killed")
    verdicts = judge(replace(report, failures=(failure,)), read(DEFAULT))
    assert {one.target for one in verdicts} == {"onnx-int8"}
    assert [one.state for one in verdicts] == ["pass", "pass"]


@pytest.mark.parametrize("target", [name for name in OURS if name != "torch"])
def test_the_default_floors_meet_every_target(planted, target):
    verdicts = judge(planted(1000, **{target.replace("-", "_"): (80, 0)}), read(DEFAULT))
    assert {(one.target, one.state) for one in verdicts if one.rule == "agreement"} == {(target, "fail")}


def test_floors_and_references_hold_both_ways(planted):
    report = planted(1000, onnx_int8=(100, 0))
    rules = Rules(
        floors=(Floor("accuracy", 0.95), Floor("agreement", 0.9, targets=("*-int8",)), Floor("worst_recall", 0.5)),
        references=(
            Reference(0.9, 0.005, "f1000"),
            Reference(0.85, 0.01, "f1", targets=("onnx-int8",)),
            Reference(0.5, 0.1, "else"),
        ),
    )
    found = {(one.target, one.rule, one.state): one.text for one in judge(report, rules)}
    assert found["onnx-int8", "accuracy", "fail"] == "0.9, at least 0.95 expected"
    assert found["torch", "accuracy", "pass"] == "1, at least 0.95 expected"
    assert ("onnx-int8", "agreement", "pass") in found
    assert ("torch", "agreement", "pass") not in found
    assert ("onnx-int8", "reference", "skipped") in found
    assert found["onnx-int8", "reference", "fail"] == (
        "accuracy 0.9000, 0.8500 ±0.0100 expected: an unexplained gain. Find its cause, then renew the reference"
    )


def test_a_row_that_was_not_made_fails_unless_it_cannot_be_here(planted):
    failures = (
        Failure("C6", "onnx-fp16", "WorkerError", "It died."),
        Failure("C6", "trt-fp16", "TargetUnavailable", "No."),
    )
    report = replace(planted(onnx_int8=(0, 0)), failures=failures)
    assert states(judge(report, Rules())) == [("onnx-fp16", "fail"), ("trt-fp16", "skipped")]


def test_a_ratio_is_judged_by_its_whole_interval(planted, samples):
    report = planted(onnx_int8=(0, 0, 1_000_000), onnx_fp32=(0, 0, 3_000_000))
    rules = Rules(ratios=(Ratio("torch", 1.0), Ratio("stock-torch", 1.0, targets=("onnx-int8",))))
    verdicts = judge(report, rules)
    assert states(verdicts) == [
        ("torch", "pass"),
        ("onnx-int8", "pass"),
        ("onnx-fp32", "fail"),
        ("onnx-int8", "skipped"),
    ]
    assert verdicts[2].text == "ratio 1.500 (1.500 to 1.500), at most 1 expected" or verdicts[2].text.startswith(
        "ratio 1."
    )
    wild = replace(report.rows[1], launches=tuple(samples.launch(value) for value in (1_000_000, 2_500_000, 2_900_000)))
    assert judge(replace(report, rows=(report.rows[0], wild)), rules)[1].state == "inconclusive"


def test_against_a_baseline(planted, samples):
    before = planted(onnx_int8=(5, 60, 1_000_000), openvino_int8=(0, 0))
    graph = {"Conv": 12, "QuantizeLinear": 4}
    after = planted(onnx_int8=(65, 60, 2_000_000, {"graph": graph}), onnx_fp16=(0, 0))
    rules = replace(ACCURACY, latency=Latency(1.5, "torch"), exact=("nodes", "quantizers", "size_bytes"))
    found = {(one.target, one.rule): one for one in judge(after, rules, before)}
    assert found["onnx-fp16", "baseline"].state == "skipped"
    assert found["onnx-int8", "accuracy against baseline"].state == "fail"
    assert found["onnx-int8", "latency against baseline"].state == "fail"
    assert "relative to torch" in found["onnx-int8", "latency against baseline"].text
    assert found["torch", "latency against baseline"].state == "pass"
    assert found["onnx-int8", "quantizers"].text == "4, 3 expected"
    assert found["onnx-int8", "nodes"].state == "fail"
    assert found["torch", "size_bytes"].state == "pass"


@pytest.mark.parametrize("lacks", ["before", "after"])
def test_latencies_without_a_row_to_be_relative_to_are_compared_as_they_are(planted, lacks):
    reports_ = {name: planted(onnx_int8=(0, 0, value)) for name, value in (("before", 10**6), ("after", 2 * 10**6))}
    reports_[lacks] = replace(reports_[lacks], rows=reports_[lacks].rows[1:])
    rules = Rules(latency=Latency(1.5, "torch"))
    found = {(one.target, one.rule): one for one in judge(reports_["after"], rules, reports_["before"])}
    verdict = found["onnx-int8", "latency against baseline"]
    assert (verdict.state, verdict.text.partition(" (")[0]) == ("fail", "ratio 1.999")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, None, None),
        ({"Conv": 2}, None, ("fail", "None, 2 expected")),
        (None, {"Conv": 2}, ("fail", "2, None expected")),
        ({"Conv": 2}, {"Conv": 2}, ("pass", "2")),
    ],
)
def test_a_graph_that_nobody_counted_is_not_judged(planted, before, after, expected):
    reports_ = [planted(onnx_int8=(0, 0, 10**6, {"graph": graph})) for graph in (after, before)]
    verdicts = judge(reports_[0], Rules(exact=("nodes",)), reports_[1])
    found = {one.target: (one.state, one.text) for one in verdicts}
    assert found.get("onnx-int8") == expected


def test_an_interval_that_begins_at_what_is_allowed_decides_nothing(planted, monkeypatch):
    for ends, state in (((1.0, 1.2), "inconclusive"), ((1.01, 1.2), "fail"), ((0.9, 1.0), "pass")):
        monkeypatch.setattr(gate.ratios, "ratio", lambda *_, ends=ends: Spread(1.0, *ends, ()))
        rules = Rules(ratios=(Ratio("torch", 1.0, targets=("onnx-int8",)),))
        assert states(judge(planted(onnx_int8=(0, 0)), rules)) == [("onnx-int8", state)]


def test_a_gain_nobody_meant_fails(planted):
    before, after = planted(onnx_int8=(130, 200)), planted(onnx_int8=(0, 200))
    found = {(one.target, one.rule): one for one in judge(after, ACCURACY, before)}
    verdict = found["onnx-int8", "accuracy against baseline"]
    assert verdict.state == "fail"
    assert verdict.text.endswith(": an unexplained gain. Find its cause, then renew the baseline")


def test_what_cannot_be_compared_is_skipped_and_says_why(planted, samples):
    before = planted(1000, machine=replace(samples.MACHINE, cpu="Other", kernel="9"), onnx_int8=(0, 0))
    found = judge(planted(onnx_int8=(0, 0)), replace(ACCURACY, latency=Latency(1.5)), before)
    assert [(one.rule, one.state, one.text) for one in found[1:]] == [
        ("accuracy against baseline", "skipped", "the baseline was scored on other images"),
        ("latency against baseline", "skipped", "the baseline is of another machine (cpu, kernel)"),
    ]


@pytest.mark.parametrize(
    ("images", "int8", "code", "words"),
    [
        (40, (1, 0), 1, "The gate FAILED: 0 fail, 1 inconclusive"),
        (400, (10, 8), 4, "The gate is undecided: 0 fail, 1 in"),
    ],
)
def test_the_command_is_never_green_where_it_cannot_tell(planted, tmp_path, capsys, images, int8, code, words):
    reports.write(tmp_path / "report.json", planted(images, onnx_int8=int8))
    assert cli.run("bench", ["gate", str(tmp_path / "report.json")]) == code
    out, err = capsys.readouterr()
    assert words in err
    assert json.loads(out)["exit_code"] == code


def test_the_command_is_green_or_red(planted, tmp_path, capsys):
    good, bad = planted(onnx_int8=(20, 14)), planted(onnx_int8=(120, 28))
    for name, report in (("good", good), ("bad", bad)):
        reports.write(tmp_path / f"{name}.json", report)
    summary = tmp_path / "summary.md"
    assert cli.run("bench", ["gate", str(tmp_path / "good.json"), "--summary", str(summary)]) == 0
    out, err = capsys.readouterr()
    assert "The gate passed: 0 fail, 0 inconclusive, 0 skipped, 2 pass." in err
    assert json.loads(out)["exit_code"] == 0
    arguments = [
        "gate",
        str(tmp_path / "bad.json"),
        "--baseline",
        str(tmp_path / "good.json"),
        "--summary",
        str(summary),
    ]
    assert cli.run("bench", arguments) == 1
    printed = capsys.readouterr().err
    assert printed.splitlines()[2].split()[:3] == ["fail", "C6", "onnx-int8"]
    assert "The gate FAILED: 2 fail" in printed
    picture, report = tmp_path / "face.jpg", tmp_path / "good.json"
    picture.write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF")
    for other in (picture, report):
        before = other.read_bytes()
        assert cli.run("bench", ["gate", str(report), "--summary", str(other)]) == 2
        assert capsys.readouterr().err == (
            f"UsageError: --summary {other} is no page of Markdown. Expected a new file, or a text to append to. Name "
            "another one, as in --summary gate.md.\n"
        )
        assert other.read_bytes() == before
    text = summary.read_text()
    assert "### lc2fer-bench: The gate passed" in text
    assert "| **fail** | C6      | onnx-int8 | accuracy against parent" in text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, r"rules\.toml is missing\. Expected rules in TOML\. Write them, or leave --rules out\.$"),
        ("version = ", r"is not TOML \(.*\)\. Expected rules like gates\.toml\. Correct it\.$"),
        ("", r"its version is None, and this lc2fer reads 1\. Expected the tables that gates\.toml explains\."),
        ("version = 1\n[speed]", "it has the unknown table speed"),
        ("version = 1\n[accuracy]", r"no set of rules: accuracy lacks margin\. Expected"),
        ("version = 1\n[floor]\nat_least = 1", r"floor is {'at_least': 1}, and it is a table, \[\[floor\]\]"),
        ("version = 1\naccuracy = 0.9", r"accuracy is 0\.9, and it is a table, \[accuracy\]"),
        ("version = 1\nratio = [1]", r"ratio has 1 in the place of a table, \[\[ratio\]\]"),
        ("version = 1\n[[reference]]\naccuracy = 1\ntolerance = 1", "reference lacks data"),
        ("version = 1\n[accuracy]\nmargin = 1.5", "a margin is a share between 0 and 1"),
        ('version = 1\n[accuracy]\nmargin = 0.01\ninconclusive = "maybe"', 'it is "undecided", "fail" or "warn"'),
        ('version = 1\n[accuracy]\nmargin = "1"', "accuracy.margin is '1'"),
        ("version = 1\n[accuracy]\nmargin = true", "accuracy.margin is True"),
        ("version = 1\n[accuracy]\nmargin = 0", "a margin is a share between 0 and 1"),
        ("version = 1\n[accuracy]\nmargin = 1", "a margin is a share between 0 and 1"),
        ("version = 1\n[accuracy]\nmargin = 0.1\nconfidence = 0.5", "a margin is a share between 0 and 1"),
        ("version = 1\n[accuracy]\nmargin = 0.1\nconfidence = 1", "a margin is a share between 0 and 1"),
        ("version = 1\n[accuracy]\nmargin = 0.1\ngain = 0", "a margin is a share between 0 and 1"),
        ("version = 1\n[latency]\ntripwire = 1", "latency.tripwire is 1, and it is a ratio above 1"),
        ('version = 1\n[[ratio]]\nto = "a"\nat_most = 1\nmodels = ["C6", 1]', "ratio.models is "),
        ("version = 1\n[latency]\ntripwire = 0.9", "latency.tripwire is 0.9, and it is a ratio above 1"),
        ('version = 1\n[exact]\nfigures = ["luck"]', "exact.figures has 'luck', and there are nodes"),
        ('version = 1\n[exact]\nfigure = ["nodes"]', "exact has the unknown key figure"),
        ("version = 1\n[exact]", "exact lacks figures"),
        ('version = 1\n[exact]\nfigures = "nodes"', "exact.figures is 'nodes'"),
        ('version = 1\n[[reference]]\naccuracy = 1\ntolerance = 1\ndata = ""', "reference.data is empty"),
        ('version = 1\n[[floor]]\nfigure = "luck"\nat_least = 1', "a floor has the figure 'luck'"),
        ('version = 1\n[[floor]]\nfigure = "accuracy"\nat_least = 1\ntargets = "x"', "floor.targets is 'x'"),
        ("version = 1\n[[ratio]]\nfrom = 1", "ratio has the unknown key from"),
    ],
)
def test_rules_that_are_none(tmp_path, content, text):
    path = tmp_path / "rules.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=text):
        read(path)


def test_the_rules_that_come_with_it_are_read():
    rules = read(gate_command.rules.DEFAULT)
    assert rules.accuracy.margin == 0.01
    assert len(rules.floors) == 3
    assert rules.latency == Latency(1.5, "torch")


def test_what_is_asked_for_exactly_is_kept(planted):
    rules = Rules(
        floors=(Floor("accuracy", 0.875, targets=("onnx-int8",)),),
        references=tuple(Reference(known, 0.125, "f1000", targets=("onnx-int8",)) for known in (0.75, 1.0)),
    )
    found = [(one.rule, one.state) for one in judge(planted(1000, onnx_int8=(125, 0)), rules)]
    assert found == [("accuracy", "pass"), ("reference", "pass"), ("reference", "pass")]


def test_an_accuracy_that_fell_below_its_reference_is_no_gain(planted):
    (verdict,) = judge(
        planted(1000, onnx_int8=(100, 0)), Rules(references=(Reference(0.95, 0.01, "f", ("*",), ("o*",)),))
    )
    assert (verdict.state, verdict.text) == ("fail", "accuracy 0.9000, 0.9500 ±0.0100 expected")


def test_a_row_without_a_parent_has_no_agreement_to_judge(planted):
    report = replace(planted(1000, onnx_int8=(0, 0)), parents=())
    rules = Rules(floors=(Floor("agreement", 0.9), Floor("accuracy", 0.5)))
    found = {(one.target, one.rule): (one.state, one.text) for one in judge(report, rules)}
    assert found["onnx-int8", "agreement"] == ("skipped", "there is no parent in the report")


def test_a_row_without_a_parent_is_told_to_have_lost_nothing_that_is_known(planted):
    report = replace(planted(1000, onnx_int8=(0, 0)), parents=())
    verdict, *_ = judge(report, replace(ACCURACY, floors=(Floor("accuracy", 0.5),)))
    assert (verdict.rule, verdict.target) == ("accuracy against parent", "onnx-int8")
    assert (verdict.state, verdict.text) == ("skipped", "there is no parent in the report")


def test_a_row_that_only_the_baseline_has_is_told(planted):
    before = planted(1000, onnx_int8=(0, 0), openvino_int8=(0, 0), stock_onnx_fp32=(0, 0))
    found = judge(planted(1000, onnx_int8=(0, 0)), ACCURACY, before)
    skipped = [(one.rule, one.target, one.text) for one in found if one.state == "skipped"]
    assert skipped == [("baseline", "openvino-int8", "the report has no such row")]


def test_one_launch_decides_no_ratio(planted):
    report = planted(onnx_int8=(0, 0, 1_000_000))
    report = replace(report, rows=tuple(replace(row, launches=row.launches[:1]) for row in report.rows))
    (verdict,) = judge(report, Rules(ratios=(Ratio("torch", 9.0, targets=("onnx-int8",)),)))
    assert verdict.state == "inconclusive"
    assert verdict.text.endswith(" from one launch. Raise --launches")


RULES = """
version = 1
[accuracy]
margin = 0.02
confidence = 0.9
inconclusive = "warn"
gain = 0.5
[[floor]]
figure = "sqnr_db"
at_least = 20
targets = ["*-int8"]
[[reference]]
accuracy = 0.8
tolerance = 0.01
data = "ab"
models = ["C6", "C8"]
[[ratio]]
to = "torch"
at_most = 1
[latency]
tripwire = 1.01
[exact]
figures = ["nodes", "size_bytes"]
"""


def test_every_rule_is_read_as_it_was_written(tmp_path):
    (tmp_path / "rules.toml").write_text(RULES)
    assert read(tmp_path / "rules.toml") == Rules(
        Accuracy(0.02, 0.9, "warn", 0.5),
        (Floor("sqnr_db", 20, targets=("*-int8",)),),
        (Reference(0.8, 0.01, "ab", models=("C6", "C8")),),
        (Ratio("torch", 1),),
        Latency(1.01),
        ("nodes", "size_bytes"),
    )
