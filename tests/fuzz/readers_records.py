"""Readers of reports, journals, rules, runs, and of the lists and tables of data sets."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from place import Reader, as_json, folder, put

# -- reports, journals, rules, runs ------------------------------------------------------------------------------------


def _read_report(data: bytes) -> None:
    from lc2fer.benchmarks.report import document

    document.read(put("report/report.json", data))


def _judge_report(data: bytes) -> None:
    from lc2fer.benchmarks.judging import gate, rules
    from lc2fer.benchmarks.report import document
    from lc2fer.benchmarks.views.markdown import markdown
    from lc2fer.benchmarks.views.page import page

    report = document.read(put("report/report.json", data))
    gate.judge(report, rules.read(rules_path()))
    markdown(report)
    page(report)


def rules_path() -> Path:
    """The rules that come with the package."""
    from importlib import resources

    return Path(str(resources.files("lc2fer.benchmarks") / "gates.toml"))


def _report_seeds() -> list[bytes]:
    here = Path(__file__).parent / "corpus" / "report"
    return [path.read_bytes() for path in sorted(here.glob("*.json"))]


def _read_journal(data: bytes) -> None:
    from lc2fer.benchmarks.measuring import journal

    put(f"journal/{journal.NAME}", data)
    found = journal.Journal(folder() / "journal", {"run": 1})
    for number in range(2):
        found.launch("torch", "a", number)
    found.turns(["a"], 0)


def _journal_seeds() -> list[bytes]:
    launch = {"samples_ns": [1, 2], "compute_ns": [], "frame_ns": [], "warm_up_ns": [], "settled": True}
    launch |= {"throughput": [1, 1], "import_s": 0.1, "load_s": 0.1, "compile_s": 0.1, "first_s": 0.1}
    launch |= {"memory": {"kind": None, "phases": {}}, "threads": 1, "cores": [], "inputs": 1, "executed": None}
    quiet = {"load_average": None, "clock_mhz": None, "throttles": None}
    launch |= {"before": quiet, "after": quiet, "others_cores": None, "energy_mj": None}
    outputs = {"logits": "", "predictions": [1], "ids": []}
    entry = {"key": ["torch", "a", 0], "launch": launch, "scored": None}
    scored = {"key": ["torch", "a", 1], "launch": launch, "scored": {"outputs": outputs, "perturbed": {}}}
    turns = {"key": ["turns", "a", 0], "rounds": [[[1], [2]]]}
    lines = ({"run": 1}, entry, turns, scored)
    return [b"".join(as_json(line) + b"\n" for line in lines[:count]) for count in (3, 4)]


def _read_rules(data: bytes) -> None:
    from lc2fer.benchmarks.judging import rules

    rules.read(put("rules/gates.toml", data))


def _read_run(data: bytes) -> None:
    import torch

    from lc2fer.training import state

    put("run/run.json", data)
    if not (folder() / "run/state.safetensors").exists():
        state.keep(folder() / "run", {"a": torch.zeros(2)}, state.Progress(epoch=1, best_epoch=1))
    state.read(folder() / "run", {"config": "C8", "data": [{"name": "x", "split": "y"}]}, {"a": torch.zeros(2)})


def _read_state(data: bytes) -> None:
    import torch

    from lc2fer.training import state

    put("state/run.json", b'{"config": "C8"}')
    put("state/state.safetensors", data)
    state.read(folder() / "state", {"config": "C8"}, {"a": torch.zeros(2)})


def _state_seeds() -> list[bytes]:
    import torch

    from lc2fer.training import state

    state.keep(folder() / "kept", {"a": torch.zeros(2)}, state.Progress(epoch=1, best_epoch=1))
    return [(folder() / "kept/state.safetensors").read_bytes()]


def _read_recorded(data: bytes) -> None:
    from lc2fer import recorded

    put("recorded/a.json", data)
    recorded.table(recorded.read(folder() / "recorded"))


def _recorded_seeds() -> list[bytes]:
    from lc2fer.recorded import Run

    fields: dict[str, Any] = dict.fromkeys(Run.__dataclass_fields__, "x")
    fields |= {"format": 1, "clocks_mhz": {}, "executed": {}, "l4t": None, "power_mode": None, "target": "trt-fp16"}
    return [as_json({**fields, "warm_up_ns": [1] * 3, "samples_ns": list(range(1, 300))})]


# -- data sets -------------------------------------------------------------------------------------------------------


def _read_list(data: bytes) -> None:
    from lc2fer.data import rafdb

    for name in (f"{part}_0000{number}" for part in ("train", "test") for number in range(1, 8)):
        put(f"raf/Image/aligned/{name}_aligned.jpg", b"")
    put("raf/EmoLabel/list_patition_label.txt", data)
    rafdb.official(folder() / "raf")


def _read_fer2013(data: bytes) -> None:
    from lc2fer.data import fer2013

    fer2013.load(put("fer/fer2013.csv", data))


def _fer_seeds() -> list[bytes]:
    pixels = " ".join(["7"] * 48 * 48)
    return [
        f"emotion,pixels,Usage\n0,{pixels},Training\n1,{pixels},PublicTest\n".encode(),
        b"emotion,pixels\n3,1 2 3\n",
    ]


def _read_ferplus(data: bytes) -> None:
    from lc2fer.data import ferplus
    from lc2fer.data.names import Names

    ferplus.read(put("fer/fer2013new.csv", data), ["training", "privatetest"], Names())


def _read_ferplus_folders(data: bytes) -> None:
    from lc2fer.data import ferplus_folders

    table = put("ferplus/FER2013Train/label.csv", data)
    for number in range(6):
        table.with_name(f"{number}.png").write_bytes(b"%d" % number)
    ferplus_folders.load(table.parents[1])


def _read_votes(data: bytes) -> None:
    from lc2fer.data import votes
    from lc2fer.data.dataset import Sample

    path = put("votes/votes.csv", data)
    votes.read(path.parent, [Sample(path.parent / "a.jpg", 0)])


def _read_listed(data: bytes) -> None:
    from lc2fer.predicting import sources

    for _ in sources.walk(["-"], io.BytesIO(data), sources.Found()):
        pass


_RAF = b"".join(b"%s_0000%d.jpg %d\n" % (part, label, label) for part in (b"train", b"test") for label in range(1, 8))
_FERPLUS = (
    b"Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
    b"Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0\nPublicTest,fer0000001.png,6,0,1,1,0,0,0,0,2,0\n"
)
_LABELS = b"".join(b"%d.png,box,%d,%d,0,0,0,0,0,0,1,0\n" % (row, 9 * (row < 3), 8 * (row > 2)) for row in range(6))
_VOTES = b"image,surprise,fear,disgust,happiness,sadness,anger,neutral\na.jpg,0,0,0,7,0,0,3\n"
_RUN = b'{"config": "C8", "data": [{"name": "x", "split": "y"}], "labels": ["a"]}'

RECORDS = {
    "report": Reader(_read_report, _report_seeds, ("lc2fer.benchmarks.report", "lc2fer.benchmarks.judging", "json")),
    "gate": Reader(_judge_report, _report_seeds, ("lc2fer.benchmarks.judging", "lc2fer.benchmarks.views")),
    "journal": Reader(_read_journal, _journal_seeds, ("lc2fer.benchmarks.measuring.journal", "json")),
    "rules": Reader(
        _read_rules, lambda: [rules_path().read_bytes()], ("lc2fer.benchmarks.judging.rules", "tomllib", "tomli")
    ),
    "run": Reader(_read_run, lambda: [_RUN], ("lc2fer.training.state", "lc2fer.training.sources", "json")),
    "state": Reader(_read_state, _state_seeds, ("lc2fer.training.state",)),
    "recorded": Reader(_read_recorded, _recorded_seeds, ("lc2fer.recorded", "json")),
    "raf-list": Reader(_read_list, lambda: [_RAF], ("lc2fer.data",)),
    "fer2013": Reader(_read_fer2013, _fer_seeds, ("lc2fer.data", "csv")),
    "ferplus": Reader(_read_ferplus, lambda: [_FERPLUS], ("lc2fer.data", "csv")),
    "ferplus-folders": Reader(_read_ferplus_folders, lambda: [_LABELS], ("lc2fer.data", "csv")),
    "votes": Reader(_read_votes, lambda: [_VOTES], ("lc2fer.data", "csv")),
    "listed": Reader(_read_listed, lambda: [b"a.jpg\nb c.png\n", b"a\0b\0"], ("lc2fer.predicting.sources",)),
}
