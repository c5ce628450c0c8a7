"""What is read off a row and shown, and which rows stand against which."""

from dataclasses import replace

import pytest
from lc2fer.benchmarks.judging.figures import figures, latency_text, share
from lc2fer.benchmarks.judging.peers import fraction_of_rate, macs_per_ms, pairs
from lc2fer.benchmarks.judging.ratios import ratio
from lc2fer.benchmarks.judging.spread import Spread
from lc2fer.benchmarks.report.document import Rate, Turns

from lc2fer.variants import variant


def test_each_percentile_is_its_own(planted, samples):
    report = planted(40, onnx_int8=(0, 0))
    launches = (samples.launch(samples_ns=tuple(number * 1_000_000 for number in range(1, 1001))),)
    found = figures(report, replace(report.rows[0], launches=launches))
    assert [one.value for one in (found.p90_ms, found.p95_ms, found.p99_ms)] == pytest.approx([900, 950, 990], abs=1)


@pytest.mark.parametrize(
    ("part", "text"), [(1.0, "100.00"), (0.99999, "<100.00"), (0.9999, "99.99"), (0.5, "50.00"), (0.0, "0.00")]
)
def test_a_share_is_100_only_where_nothing_differs(part, text):
    assert share(part) == text


def test_a_latency_shows_the_larger_half_of_its_interval():
    assert latency_text(Spread(2.0, 1.75, 2.5, ())) == "2.000 ±0.500"
    assert latency_text(Spread(2.0, 1.25, 2.5, ())) == "2.000 ±0.750"
    assert latency_text(Spread(2.0, None, None, (2.0,))) == "2.000"


def test_the_same_engine_and_precision_stand_against_each_other_and_the_fastest_of_each(planted):
    report = planted(
        40,
        ort_fp32=(0, 0, 3_000_000),
        onnx_fp32=(0, 0, 3_500_000),
        ort_int8=(0, 0, 1_000_000),
        onnx_int8=(0, 0, 1_500_000),  # which ONNX Runtime computes in float
        stock_onnx_fp32=(0, 0, 4_000_000),
        stock_onnx_int8=(0, 0, 5_000_000),
        stock_openvino_fp32=(0, 0, 4_000_000),
    )
    assert sorted((pair.ours, pair.stock) for pair in pairs(report)) == [
        ("onnx-fp32", "stock-onnx-fp32"),
        ("ort-fp32", "stock-onnx-fp32"),
        ("ort-int8", "stock-onnx-fp32"),
        ("ort-int8", "stock-onnx-int8"),
    ]
    without = replace(report, rows=tuple(row for row in report.rows if row.target != "torch"))
    assert pairs(without) == pairs(report)


def test_pytorch_stands_against_each_of_its_stock_routes(planted):
    report = planted(40, stock_torch=(0, 0, 4_000_000), stock_torch_compile=(0, 0, 3_000_000))
    assert [(pair.ours, pair.stock) for pair in pairs(report)] == [
        ("torch", "stock-torch"),
        ("torch", "stock-torch-compile"),
    ]
    assert pairs(replace(report, rows=report.rows[1:])) == []


def test_a_share_of_the_rate(planted, samples):
    rate = Rate(8_000_000, (samples.launch(samples_ns=(4_000_000,) * 300),))
    assert macs_per_ms(rate) == 2_000_000
    report = planted(40, onnx_int8=(0, 0, 5_000_000))
    row = replace(report.rows[1], input_size=100)
    assert fraction_of_rate(row, rate) == pytest.approx(variant(row.variant).mac_count(100) / 10_000_000, rel=0.01)


def test_a_ratio_is_of_the_turns_that_both_took_and_else_of_the_launches(planted):
    report = planted(40, onnx_int8=(0, 0, 1_000_000), onnx_fp32=(0, 0, 4_000_000))
    torch, int8, fp32 = report.rows
    turns = (
        Turns("C5", ("torch", "onnx-int8"), ((((9,), (1,)),),)),
        Turns("C6", ("onnx-int8", "torch"), ((((1,), (8,)),),)),
    )
    taken = replace(report, turns=turns)
    assert ratio(taken, torch, int8).launches == (8.0,)
    assert ratio(taken, int8, torch).launches == (0.125,)
    assert ratio(taken, fp32, torch) == ratio(report, fp32, torch)
