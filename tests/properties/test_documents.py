"""What is written is read back, and a document of another version is read or refused by that name."""

from __future__ import annotations

import json
import string
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lc2fer.benchmarks.judging import rules
from lc2fer.benchmarks.measuring.journal import Journal
from lc2fer.benchmarks.report import document
from lc2fer.benchmarks.report.answers import Outputs
from lc2fer.benchmarks.report.document import Launch, Report
from lc2fer.benchmarks.report.machine import Conditions, Memory
from lc2fer.deploy.device import bundle

from lc2fer import artifact as artifacts
from lc2fer import recorded, text
from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError, UsageError
from lc2fer.inputs import LABELS, InputSpec
from lc2fer.recipe import Recipe
from lc2fer.targets import TARGETS
from lc2fer.training.state import Progress

counts = st.integers(0, 10**15)
times = st.floats(0, 1e6)
samples = st.lists(st.integers(1, 10**12), max_size=5).map(tuple)
words = st.text(string.ascii_letters + string.digits + "äß表 .-_'\"\\", min_size=1, max_size=12)
leaves = (
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | words
)
documents = st.dictionaries(
    words, st.recursive(leaves, lambda inner: st.lists(inner, max_size=3), max_leaves=6), max_size=4
)
conditions = st.builds(Conditions, st.none() | times, st.none() | times, st.none() | counts)
launches = st.builds(
    Launch,
    samples_ns=samples,
    compute_ns=samples,
    frame_ns=samples,
    warm_up_ns=samples,
    settled=st.booleans(),
    throughput=st.tuples(counts, counts),
    import_s=times,
    load_s=times,
    compile_s=times,
    first_s=times,
    memory=st.builds(Memory, st.sampled_from([None, "pss", "rss"]), st.dictionaries(words, counts, max_size=3)),
    threads=st.integers(1, 64),
    cores=samples,
    inputs=counts,
    executed=st.none() | st.dictionaries(words, counts, max_size=3),
    before=conditions,
    after=conditions,
    others_cores=st.none() | times,
    energy_mj=st.none() | times,
    idle_watts=st.none() | times,
)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@given(launches)
def test_a_launch_comes_back_from_json(launch: Launch) -> None:
    assert Launch.from_json(json.loads(json.dumps(launch.to_json(), allow_nan=False))) == launch


@given(st.lists(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=7, max_size=7), min_size=1, max_size=5))
def test_logits_come_back_bit_by_bit(rows: list[list[float]]) -> None:
    outputs = Outputs.of(np.array(rows, np.float32))
    back = Outputs.from_json(json.loads(json.dumps(outputs.to_json())))
    assert back.predictions == outputs.predictions
    assert back.logits.tobytes() == outputs.logits.tobytes()


@given(st.lists(launches, max_size=3), documents)
def test_a_journal_gives_its_own_run_back_and_no_other(found: list[Launch], identity: dict[str, Any]) -> None:
    with folder() as place:
        journal = Journal(place, {"run": identity})
        for number, launch in enumerate(found):
            journal.add("torch", "a", number, launch, None)
        again = Journal(place, {"run": identity})
        assert [again.launch("torch", "a", number) for number in range(len(found))] == [(one, None) for one in found]
        assert len(Journal(place, {"run": identity, "other": 1})) == 0


@given(st.sampled_from(sorted(TARGETS)), documents, documents, st.binary(max_size=40), st.integers(8, 200))
def test_a_manifest_comes_back(target: str, proof: Any, training: Any, content: bytes, size: int) -> None:
    row = TARGETS[target]
    with folder() as place, artifacts.staged(place) as staging:
        path = staging / "C6-x.onnx"
        path.write_bytes(content)
        spec = InputSpec(size=size, labels=LABELS[:5])
        made = Artifact(path, row.kind, target, "C6", spec, (artifacts.record_of(path),), row.recipe)
        made = artifacts.replace(made, proof=proof, training=training, calibration=None, tools={"a": "1"})
        published = artifacts.publish(made, place)
        assert artifacts.load(published.path) == published


@given(st.sampled_from([row.recipe for row in TARGETS.values() if row.recipe is not None]))
def test_a_recipe_comes_back(recipe: Recipe) -> None:
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


@given(st.integers(1, 10**6), st.data())
def test_a_trainings_progress_comes_back(epoch: int, data: st.DataObject) -> None:
    best = data.draw(st.integers(0, epoch))
    progress = Progress(epoch, best, data.draw(st.floats(0, 1)), data.draw(times), data.draw(times))
    assert Progress.of(json.loads(json.dumps(asdict(progress)))) == progress


@given(st.lists(st.integers(1, 10**12), min_size=100, max_size=110), words, st.dictionaries(words, times, max_size=2))
def test_a_recorded_run_comes_back(found: list[int], word: str, clocks: dict[str, float]) -> None:
    given_: dict[str, Any] = {field.name: word for field in fields(recorded.Run)}
    given_ |= {"target": "trt-fp16", "samples_ns": tuple(found), "warm_up_ns": (), "clocks_mhz": clocks, "executed": {}}
    run = recorded.Run(**given_)
    assert recorded.Run.from_json(json.loads(json.dumps(run.to_json()))) == run


@given(st.binary(min_size=1, max_size=50), st.integers(1, 3), st.integers(8, 24))
def test_a_bundle_gives_its_files_back(content: bytes, count: int, size: int) -> None:
    logits = np.arange(count * 7, dtype="<f4").reshape(count, 7)
    with folder() as place:
        members = {
            "a.onnx": content,
            bundle.IMAGES: bytes([9]) * (count * size * size * 3),
            bundle.LOGITS: logits.tobytes(),
        }
        (place / "m").mkdir()
        for name, each in members.items():
            (place / "m" / name).write_bytes(each)
        models, spec = [bundle.Model("a.onnx", 20.5)], InputSpec(size=size)
        files = sorted((place / "m").iterdir(), reverse=bool(count % 2))
        bundle.write(place / "x.bundle", files, variant="C8", input_spec=spec, parent_sha256="ab", models=models)
        unpacked = bundle.unpack(place / "x.bundle", place / "there")
        assert {record.name: (place / "there" / record.name).read_bytes() for record in unpacked.files} == members
        assert (unpacked.models, unpacked.input_spec) == (tuple(models), spec)
        images, golden = unpacked.golden
        assert images.shape == (count, 3, size, size)
        assert golden.tobytes() == logits.tobytes()


@given(st.integers(-3, 10) | st.none() | words | st.floats(allow_nan=True))
def test_a_report_of_another_version_is_refused_by_it(version: Any) -> None:
    with pytest.raises(ArtifactError) as refused:
        Report.from_json({"version": version, "rows": [], "parents": []})
    known = version in range(document._OLDEST, document.VERSION + 1)
    assert str(refused.value).startswith("The report is damaged" if known else f"The report has version {version!r}")


@given(st.integers(-3, 10) | words)
def test_rules_of_another_version_are_refused_by_it(version: Any) -> None:
    with folder() as place:
        path = place / "gates.toml"
        path.write_text(f"version = {json.dumps(version, ensure_ascii=True)}\n", encoding="utf-8")
        if version == rules.VERSION:
            assert rules.read(path).floors == ()
            return
        with pytest.raises(UsageError, match=r"its version is .*, and this lc2fer reads"):
            rules.read(path)


@given(st.text())
def test_what_is_printed_moves_no_cursor(given_: str) -> None:
    shown = text.printable(given_)
    assert not [letter for letter in shown if ord(letter) < 32 or 127 <= ord(letter) < 160]
    assert text.printable(shown) == shown
