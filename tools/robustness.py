"""Writes docs/robustness.md from docs/recorded/robustness/: what was tried, how often, and what came out.

`python tools/robustness.py [--add NAME FILE ...]`. The recorded files are what the commands wrote that the page names;
`--add` puts another run's FILE to NAME: a run of the fuzzers beside those before, of the others what is new.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "docs" / "recorded" / "robustness"
PAGE = ROOT / "docs" / "robustness.md"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--add", nargs=2, action="append", default=[], metavar=("NAME", "FILE"))
    for name, file in parser.parse_args().add:
        _add(name, json.loads(Path(file).read_text(encoding="utf-8")))
    PAGE.write_text(page(), encoding="utf-8", newline="\n")


def page() -> str:
    """The page, from what is recorded."""
    parts = [
        _HEAD,
        _summary(),
        _writers(),
        _fuzzing(),
        _mutants(),
        _attacks(),
        _runtimes(),
        _runs(),
        _shortage(),
        _container(),
        (RECORDED / "limits.md").read_text(),
    ]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


_HEAD = """# Robustness

What machines tried on this project, and what came out. This page is written by `python tools/robustness.py` from the
files in `docs/recorded/robustness/`, which the commands below wrote; no number in it is written by hand. The rule for
every answer: exit code 0 with the right result, or 2 or 3 with what happened, what was expected and what to do."""


def _add(name: str, found: dict[str, Any]) -> None:
    known = _read(name)
    known = {**known, "runs": [*known["runs"], found]} if name == "fuzzing" else {**known, **found}
    (RECORDED / f"{name}.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8", newline="\n")


def _read(name: str) -> Any:
    path = RECORDED / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _table(heads: list[str], rows: list[list[Any]]) -> str:
    lines = [heads, ["---", *["--:" if isinstance(cell, (int, float)) else "---" for cell in rows[0][1:]]]]
    cells = [[f"{cell:,}" if isinstance(cell, (int, float)) else str(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in [*lines, *cells])


def _summary() -> str:
    writers, fuzzing, mutants = _read("writers"), _read("fuzzing"), _read("mutants")
    readers = [one for run in fuzzing["runs"] for one in run["readers"].values()]
    faults = sum(sum(kinds.values()) for kinds in writers["trials"].values())
    hours = sum(one["seconds"] for one in readers) / 3600
    worked = sum(one.get("cpu_s", 0) for one in readers) / 60
    tried = sum(one["tried"] for one in mutants.values())
    rows = [
        ["faults injected into writers", faults, len(writers["wrong"])],
        ["inputs of fuzzers", sum(one["inputs"] for one in readers), sum(bool(one["fault"]) for one in readers)],
        ["mutants", tried, tried - sum(one["killed"] + one["equivalent"] for one in mutants.values())],
        ["attacks on the page", len(_read("attacks")["attacks"]), len(_read("attacks")["wrong"])],
    ]
    table = _table(["what", "tried", "wrong, or survived"], rows)
    return (
        f"{table}\n\nThe fuzzers ran {hours:.1f} hours of wall time in all, beside other work: {worked:.1f} minutes of "
        "a processor."
    )


def _writers() -> str:
    found = _read("writers")
    kinds = list(next(iter(found["trials"].values())))
    rows = [[name, *[trials[kind] for kind in kinds]] for name, trials in found["trials"].items()]
    return f"""## A disk that fails under every writer

    cc -O1 -shared -fPIC tests/faults/disk.c -o disk.so -ldl
    LD_PRELOAD=$PWD/disk.so python tests/faults/disk.py --out docs/recorded/robustness/writers.json

Each system call that changes something below the folder is made to fail in turn: the disk is full from there on (the
write keeps half of its bytes), the call ends with an I/O error, or the process is killed in front of it; and once all
is read-only. Afterwards what was there is there, or what is new, never half of either; and the same writing, done
once more, goes through. `tests/faults/commands.py` has whole commands, `tests/faults/shortage.py` two at once, a full
/dev/shm and `ulimit -v`.

{_table(["writer", *kinds], rows)}

Wrong: {len(found["wrong"])}."""


def _fuzzing() -> str:
    found = _read("fuzzing")
    names = list(dict.fromkeys(name for run in found["runs"] for name in run["readers"]))
    rows = []
    for name in names:
        runs = [run["readers"][name] for run in found["runs"] if name in run["readers"]]
        inputs, seconds = sum(one["inputs"] for one in runs), sum(one["seconds"] for one in runs)
        worked = round(sum(one.get("cpu_s", 0) for one in runs) / 60, 1)
        faults = sum(bool(one["fault"]) for one in runs)
        rows.append([name, runs[-1]["how"], inputs, round(seconds / 60, 1), worked or "-", faults])
    before = "\n".join(f"- {one}" for one in found["found_before"])
    return f"""## Fuzzing

    pip install atheris                     # else tests/fuzz goes by mutation alone
    nice -n 19 python tests/fuzz/fuzz.py --seconds 3600 --out fuzzing.json [NAME ...]

Each reader of files from outside returns, or raises an error of this project's own with a sentence in it. The
operators in C++ are under libFuzzer with the address and undefined-behaviour sanitizers. Inputs that were once
answered wrongly are kept in `tests/fuzz/corpus/`. In the gate every reader gets half a second of mutation.

{_table(["reader", "how", "inputs", "minutes", "of a processor", "faults"], rows)}

What they found before these runs, mended since:

{before}"""


def _mutants() -> str:
    found = _read("mutants")
    rows = [
        [name, one["mutants"], one["tried"], one["killed"], one["equivalent"], len(one["survivors"])]
        for name, one in found.items()
    ]
    return f"""## Mutation testing

    nice -n 19 python tests/mutation/mutate.py --sample 40 --out docs/recorded/robustness/mutants.json [MODULE ...]

Small changes to a module, each in a process of its own; its tests have to notice. `SUBJECTS` in that file has the
modules and their tests.

{_table(["module", "mutants", "tried", "killed", "equivalent", "survive"], rows)}"""


def _attacks() -> str:
    rows = list(_read("attacks")["attacks"].items())
    lines = ["| attack | what happens |", "| --- | --- |", *[f"| {name} | {told} |" for name, told in rows]]
    return "\n".join(
        [
            "## Attacks on the page\n",
            "    python tests/security/attacks.py --out docs/recorded/robustness/attacks.json\n",
            *lines,
            "\n`tests/security/test_source.py` holds over the whole source that nothing that is read is run: no",
            "pickle, no eval, no shell. Bundles can be signed: [jetson.md](jetson.md).",
        ]
    )


def _runtimes() -> str:
    found = _read("runtimes")
    rows = [
        [version, len(rows), min(row["sqnr_db"] for row in rows), sum(row["changed"] for row in rows)]
        for version, rows in ((version, list(openings.values())) for version, openings in found.items())
    ]
    return f"""## Other ONNX Runtimes

    python tests/compatibility/runtimes.py FOLDER --out docs/recorded/robustness/runtimes.json

Every ONNX file at all four levels of optimisation, against this installation's own session, on 16 pictures. What
differs is `onnx-int8-fp16`, whose rest is float16. The gate pins IR version and opset of each.

{_table(["ONNX Runtime", "openings", "least SQNR, dB", "answers changed"], rows)}"""


def _runs() -> str:
    found = _read("endurance")
    rows = []
    for name, one in found.items():
        memory = one["resident_mb"]
        if "count" in one:
            done = f"{one['count']:,}"
        else:
            done = f"{one['minutes']:g} minutes, {one['captured']:,} pictures, {one['changes'] + 1} films"
        flat = all(one[each]["flat"] for each in ("resident_mb", "descriptors", "threads"))
        most = [f"{one[each]['largest']:g}" for each in ("descriptors", "threads")]
        rows.append([name, done, f"{memory['first']} to {memory['last']} MB", *most, "yes" if flat else "no"])
    heads = ["run", "how much", "resident memory", "descriptors at most", "threads at most", "all flat"]
    table = _table(heads, rows) if rows else ""
    return f"""## Long runs

    nice -n 19 python tests/endurance/endure.py FOLDER --out endurance.json

100,000 inferences an engine, 500 sessions opened and closed, and half an hour of `lc2fer-deploy run` on a camera that
goes away every 20 seconds and returns with a film of another size, rate and coding (MJPEG baseline, progressive and
grey, MPEG-2, MPEG-4, VP8), while somebody looks at the page. Flat is what does not rise over the second half, by a
straight line through all values: at most 8 MB, and not by one descriptor or thread. Recorded so far:

{table or "nothing."}"""


def _shortage() -> str:
    ends = _read("shortage").get("ends", {})
    rows = []
    for name, codes in ends.items():
        said = [code.partition(":")[0].removeprefix("exit code ") for code in codes]
        rows.append([name, len(codes), ", ".join(f"{code} ({said.count(code)})" for code in dict.fromkeys(said))])
    return f"""## Whole commands in want

    python tests/faults/shortage.py DATA --out docs/recorded/robustness/shortage.json

Two of a kind at once in one folder, a full /dev/shm, a folder on a disk that is full, a clock that was set back by two
days, and `ulimit -v`; recorded is what the table names. Every model that is there afterwards has the bytes that its
manifest names.

{_table(["command", "times", "exit codes, how often"], rows) if rows else "Nothing is recorded yet."}

Wrong: {len(_read("shortage").get("wrong", []))}."""


def _container() -> str:
    found = _read("container")
    rows = [[name.replace("_", " "), json.dumps(value)] for name, value in found.items()]
    return f"""## The image for CPUs, without Docker

    sudo tests/docker.sh docs/recorded/robustness/container.json

docker/cpu.Dockerfile is built by buildah in chroot isolation, a Debian tree by debootstrap in the place of its base
image, and started as docker/compose.yaml says: another user than root, a read-only root, no capability and none to
gain, a network of its own, a film for a camera. The health check of compose.yaml is asked until it answers. The command
is compose.yaml's; where its export is missing here, the model was exported before (`tests/container.py --model`).

{_table(["what", "found"], rows) if rows else "Nothing is recorded yet."}"""


if __name__ == "__main__":
    main()
