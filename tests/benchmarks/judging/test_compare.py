import re
from dataclasses import replace

import pytest
from lc2fer.benchmarks.command import main
from lc2fer.benchmarks.judging.compare import compare, table
from lc2fer.benchmarks.report import document as reports

from lc2fer.errors import UsageError


def test_two_reports_row_by_row(planted):
    first = planted(onnx_int8=(5, 60, 1_000_000), onnx_fp16=(0, 60))
    second = planted(onnx_int8=(125, 60, 2_000_000), openvino_int8=(0, 60))
    torch, child = compare(first, second, margin=0.01)
    assert (torch.verdict, torch.p_value, torch.drop.value) == ("pass", 1.0, 0)
    assert (child.target, child.verdict, child.drop.worse, child.drop.better) == ("onnx-int8", "fail", 120, 0)
    assert child.p_value < 1e-9
    assert child.latency.value == pytest.approx(2, rel=0.01)
    text = table([torch, child], 0.01)
    assert "120/0" in text
    assert "+3.91 (" in text
    assert "over 3,068 images" in text
    assert "medians of the second over the first relative to torch." in text
    latency = child.latency
    cells = [f"{child.p_value:.3g}", "fail", f"{latency.value:.3f}", f"{latency.low:.3f} to {latency.high:.3f}"]
    assert re.split("  +", text.splitlines()[3])[-4:] == cells


def test_latencies_of_two_machines_are_refused(planted, samples, tmp_path, capsys):
    other = replace(samples.MACHINE, cpu="Other CPU", engines={"torch": "3"})
    for name, report in (("a", planted(onnx_int8=(0, 0))), ("b", planted(machine=other, onnx_int8=(20, 14)))):
        reports.write(tmp_path / f"{name}.json", report)
    arguments = ["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    text = (
        r"^The reports are of two machines: cpu, engines differ\. Expected one, for latencies of two machines tell "
        r"nothing about the models\. Measure both on one machine, or pass --accuracy-only\.$"
    )
    with pytest.raises(UsageError, match=text):
        main(arguments)
    document = main([*arguments, "--accuracy-only"])
    assert [row["latency_ratio"] for row in document["rows"]] == [None, None]
    assert "Latency" not in capsys.readouterr().out


def test_answers_to_other_images_are_refused(planted):
    with pytest.raises(
        UsageError, match=r"scored on 40 images of faces \(f40\) and 50 of faces \(f50\)\. Expected the"
    ):
        compare(planted(40, onnx_int8=(0, 0)), planted(50, onnx_int8=(0, 0)), margin=0.01)


def test_reports_without_a_common_row_are_refused(planted):
    first = planted(onnx_int8=(0, 0))
    with pytest.raises(UsageError, match=r"^The reports have no row in common\."):
        compare(replace(first, rows=first.rows[:1]), replace(first, rows=first.rows[1:]), margin=0.01)


def test_too_few_images_say_how_many_are_needed(planted):
    found = compare(planted(40, onnx_int8=(0, 0)), planted(40, onnx_int8=(0, 0)), margin=0.01, latency=False)
    assert "C6 onnx-int8: 1,287 images decide, if answers flip as often as here." in table(found, 0.01)


def test_where_the_images_decide_none_more_are_asked_for(planted):
    report = planted(onnx_int8=(0, 0))
    assert "images decide" not in table(compare(report, report, margin=0.01), 0.01)


def test_one_launch_each_has_a_ratio_without_an_interval(planted):
    report = planted(onnx_int8=(0, 0))
    alone = replace(report, rows=tuple(replace(row, launches=row.launches[:1]) for row in report.rows))
    assert table(compare(alone, alone, margin=0.01), 0.01).splitlines()[3].split()[-2:] == ["1.000", "-"]


@pytest.mark.parametrize("margin", ["0", "1", "2"])
def test_a_margin_is_a_share(margin):
    text = rf"^--margin is {margin}\.0\. Expected a share between 0 and 1\. Pass 0\.01 for one"
    with pytest.raises(UsageError, match=text):
        main(["compare", "a", "b", "--margin", margin])


def test_reports_of_one_image_are_compared(planted):
    report = planted(1, onnx_int8=(0, 0))
    found = compare(report, report, margin=0.01)
    assert "+0.00 (+0.00 to +0.00)" in table(found, 0.01)
    assert {one.verdict for one in found} == {"inconclusive"}
