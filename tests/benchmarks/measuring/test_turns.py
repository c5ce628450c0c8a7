from dataclasses import replace

import numpy as np
import pytest
from lc2fer.benchmarks.judging import ratios
from lc2fer.benchmarks.judging.spread import of
from lc2fer.benchmarks.measuring import turns
from lc2fer.benchmarks.measuring.launch import Images, Settings
from lc2fer.benchmarks.measuring.worker import WorkerError
from lc2fer.benchmarks.report.document import Turns
from lc2fer.benchmarks.studies import trial

SHORT = Settings(threads=1, warm_up_limit_s=0.1)


@pytest.fixture
def images(tmp_path) -> Images:
    np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8).tofile(tmp_path / "images.bin")
    return Images(tmp_path / "images.bin", 20, 8)


def test_models_that_live_side_by_side_are_timed_in_turn(engine, tiny, images, tmp_path):
    first, second = (tiny(tmp_path / "out", f"C6-onnx-{name}", b"", target=f"onnx-{name}") for name in ("fp32", "int8"))
    slow = replace(SHORT, slowdown=3.0)
    launch = turns.take_turns([(first, SHORT), (second, SHORT), (first, slow)], images, tmp_path, rounds=4)
    assert [len(samples) for samples in launch] == [3] * 4
    assert all(len(samples) >= turns.FEWEST and min(samples) > 0 for turn in launch for samples in turn)
    assert ratios.between([launch], 2, 0).value > 1.5  # made to take three times as long, beside itself


def test_a_process_that_dies_in_its_turn_is_told(engine, tiny, images, tmp_path):
    broken = tiny(tmp_path / "out", "C6-onnx-int8", b"crash", target="onnx-int8")
    sound = tiny(tmp_path / "out", "C6-onnx-fp32", b"")
    with pytest.raises(WorkerError, match=r"measures C6 onnx-int8 was killed by SIGSEGV"):
        turns.take_turns([(sound, SHORT), (broken, SHORT)], images, tmp_path)


def test_a_ratio_is_the_median_over_rounds_and_spreads_over_launches():
    quiet = ((100, 101, 500), (200, 202, 204))  # an outlier within a turn
    busy = ((1000, 1010, 1020), (2000, 2020, 2040))  # both slower by ten
    odd = ((100,), (100,))
    launches = ((quiet, busy, odd), (quiet, quiet, busy))
    assert ratios.between(launches, 1, 0).launches == pytest.approx((2, 2))
    assert ratios.between(launches, 0, 1).value == pytest.approx(0.5)


def test_rows_are_compared_by_the_turns_that_both_took(planted):
    report = planted(40, onnx_int8=(0, 0, 1_000_000), onnx_fp32=(0, 0))
    torch, ours, other = report.rows
    taken = Turns("C6", ("onnx-int8", "torch"), ((((30,), (10,)),), (((60,), (20,)),)))
    report = replace(report, turns=(replace(taken, variant="C5"), taken))
    assert ratios.ratio(report, ours, torch).launches == pytest.approx((3, 3))
    assert ratios.ratio(report, ours, other).value == pytest.approx(0.5, rel=0.01)  # launches, one after the other


def test_verdicts_of_a_trial():
    assert trial.alike(of([0.97, 1.0, 1.04]))
    assert not trial.alike(of([1.09, 1.1, 1.11]))
    assert trial.slower(of([1.09, 1.1, 1.11]))
    assert not trial.slower(of([0.97, 1.1, 1.2]))
    assert not trial.alike(of([1.0]))


def test_a_trial_tells_each_repeat_and_counts(engine, tiny, faces, tmp_path, capsys):
    artifact = tiny(tmp_path / "out", "C6-onnx-fp32", b"")
    options = ["--data", str(faces), "--repeats", "1", "--launches", "2", "--rounds", "3", "--threads", "1"]
    status = trial.main([str(artifact.path), *options])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["A/A 1", "A/B 1", "A/A", "A/B"]
    right = [line.endswith(", right") for line in lines[:2]]
    assert [line.split(": ")[1] for line in lines[2:]] == [f"{int(one)} of 1 right" for one in right]
    assert status == (0 if all(right) else 1)
