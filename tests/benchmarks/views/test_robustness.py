from dataclasses import replace

import numpy as np
import pytest
from lc2fer.benchmarks.views import robustness
from lc2fer.benchmarks.views.markdown import markdown
from lc2fer.benchmarks.views.page import page
from lc2fer.benchmarks.views.table import table


@pytest.fixture
def report(planted, samples):
    """A row that loses nothing on ten clean images, and of the same ten under blur three that its parent keeps."""
    made = planted(70, onnx_int8=(0, 0), onnx_fp32=(0, 0))
    right = np.arange(10) % 7
    worse = right.copy()
    worse[:3] = (worse[:3] + 1) % 7
    parent_blurred, blurred = samples.outputs(right.tolist()), samples.outputs(worse.tolist())
    torch, child, other = made.rows
    rows = (replace(torch, perturbed={"blur": parent_blurred}), replace(child, perturbed={"blur": blurred}), other)
    return replace(made, rows=rows, parents=(replace(made.parents[0], perturbed={"blur": parent_blurred}),))


def test_what_a_factor_costs_a_row_and_its_parent(report):
    found = robustness.disturbed(report, report.rows[1])
    assert list(found) == ["clean", "blur"]
    assert (found["clean"].accuracy, found["clean"].agreement, found["clean"].flips) == (1, 1, (0, 0))
    assert (found["blur"].accuracy, found["blur"].agreement, found["blur"].flips) == (0.7, 0.7, (3, 0))
    assert found["blur"].nll > found["clean"].nll
    assert found["blur"].sqnr_db < 10 < found["clean"].sqnr_db
    assert robustness.disturbed(report, report.rows[2]) == {}


def test_it_is_said_everywhere(report):
    assert robustness.cells_of(report) == (
        ["model", "target", "clean", "blur"],
        [["C6", "torch", "100.00", "100.00"], ["C6", "onnx-int8", "100.00 (100.00)", "70.00 (70.00)"]],
    )
    said = "on the first 10 images of D^e as they are and under each factor"
    for text in (table(report), markdown(report), page(report)):
        assert "70.00 (70.00)" in text
        assert said in text
    assert "<td>blur</td><td>70.00</td>" in page(report)


def test_a_report_without_disturbed_images_says_nothing_of_them(planted):
    report = planted(70, onnx_int8=(0, 0))
    assert robustness.cells_of(report) == (["model", "target"], [])
    assert "under each factor" not in table(report) + markdown(report) + page(report)
