import numpy as np
import pytest
from lc2fer.benchmarks.measuring.journal import NAME, Journal
from lc2fer.benchmarks.measuring.launch import Scored
from lc2fer.benchmarks.report.answers import Outputs

IDENTITY = {"machine": "m", "settings": {"cores": (0, 1)}}


@pytest.fixture
def scored():
    return Scored(Outputs.of(np.eye(7, dtype=np.float32) / 3), {"blur": Outputs.of(np.eye(2, 7, dtype=np.float32))})


def test_a_launch_survives(tmp_path, samples, scored):
    journal = Journal(tmp_path / "out", IDENTITY)
    assert not (tmp_path / "out").exists()
    journal.add("torch", "abc", 0, samples.launch(), scored)
    journal.add("torch", "abc", 1, samples.launch(5), None)
    again = Journal(tmp_path / "out", IDENTITY)
    assert len(again) == 2
    launch, answers = again.launch("torch", "abc", 0)
    assert launch == samples.launch()
    assert np.array_equal(answers.outputs.logits, scored.outputs.logits)
    assert {factor: found.predictions for factor, found in answers.perturbed.items()} == {"blur": (0, 1)}
    assert again.launch("torch", "abc", 1) == (samples.launch(5), None)
    assert again.launch("torch", "other", 0) is None
    again.remove()
    assert len(Journal(tmp_path / "out", IDENTITY)) == 0


def test_turns_survive(tmp_path, samples):
    journal = Journal(tmp_path, IDENTITY)
    rounds = (((1, 2), (3,)), ((4,), (5, 6)))
    journal.add_turns(["abc", "def"], 0, rounds)
    journal.add("torch", "abc", 0, samples.launch(), None)
    again = Journal(tmp_path, IDENTITY)
    assert again.turns(["abc", "def"], 0) == rounds
    assert again.turns(["def", "abc"], 0) is None
    assert again.turns(["abc", "def"], 1) is None
    assert len(again) == 2


def test_a_line_that_was_cut_off_is_made_again(tmp_path, samples):
    journal = Journal(tmp_path, IDENTITY)
    for number in range(3):
        journal.add("torch", "abc", number, samples.launch(), None)
    path = tmp_path / NAME
    path.write_text(path.read_text()[:-40])
    again = Journal(tmp_path, IDENTITY)
    assert len(again) == 2
    again.add("torch", "abc", 2, samples.launch(7), None)
    assert Journal(tmp_path, IDENTITY).launch("torch", "abc", 2) == (samples.launch(7), None)


@pytest.mark.parametrize("content", ["", "{", "[]\n", '{"machine": "other"}\n'])
def test_another_runs_journal_is_of_no_use(tmp_path, samples, content):
    (tmp_path / NAME).write_text(content)
    journal = Journal(tmp_path, IDENTITY)
    assert len(journal) == 0
    journal.add("torch", "abc", 0, samples.launch(), None)
    assert len(Journal(tmp_path, IDENTITY)) == 1
