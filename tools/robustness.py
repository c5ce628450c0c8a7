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
        _life(),
        _shortage(),
        _container(),
        (RECORDED / "limits.md").read_text(),
    ]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


_HEAD = """# Robustness

This page tells what was done to make this project fail: full disks, random inputs, changed code, attacks. Every
command has to answer in one of two ways: exit code 0 with the right result, or exit code 2 or 3 with what happened,
what was expected and what to do.

`python tools/robustness.py` writes this page from the files in `docs/recorded/robustness/`, and the commands below
write these files. No number on this page is written by hand."""


def _add(name: str, found: dict[str, Any]) -> None:
    known = _read(name)
    known = {**known, "runs": [*known["runs"], found]} if name == "fuzzing" else _beside(known, found)
    (RECORDED / f"{name}.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8", newline="\n")


def _beside(known: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """What is new, and what is known that it does not replace: other writers, commands and faults, what went wrong."""
    joined = {**known, **found}
    for name in ("trials", "ends"):
        if name in known and name in found:
            joined[name] = {**known[name]}
            for one, new in found[name].items():
                was = joined[name].get(one)
                joined[name][one] = {**was, **new} if isinstance(was, dict) else new
    if "wrong" in known and "wrong" in found:
        joined["wrong"] = [*known["wrong"], *found["wrong"]]
    return joined


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
        ["faults injected into writers and commands", faults, len(writers["wrong"])],
        ["inputs of fuzzers", sum(one["inputs"] for one in readers), sum(bool(one["fault"]) for one in readers)],
        ["mutants", tried, tried - sum(one["killed"] + one["equivalent"] for one in mutants.values())],
        ["attacks on the page", len(_read("attacks")["attacks"]), len(_read("attacks")["wrong"])],
    ]
    table = _table(["what", "tried", "wrong, or survived"], rows)
    return (
        f"{table}\n\nThe fuzzers ran for {hours:.1f} hours in all, beside other work, and got {worked:.1f} minutes of "
        "processor time."
    )


def _writers() -> str:
    found = _read("writers")
    kinds = list(next(iter(found["trials"].values())))
    rows = [[name, *[trials.get(kind, "-") for kind in kinds]] for name, trials in found["trials"].items()]
    return f"""## A disk that fails under every writer

    cc -O1 -shared -fPIC tests/faults/disk.c -o disk.so -ldl
    LD_PRELOAD=$PWD/disk.so python tests/faults/disk.py --out docs/recorded/robustness/writers.json

A writer is code that writes files. Each of its system calls that change something is made to fail, one after another:

- the disk is full from there on (the write keeps half of its bytes);
- the call ends with an I/O error;
- the process is killed just before the call;
- once, the whole folder is read-only.

Afterwards the folder must hold the old files or the new ones, never half of either, and the same write must succeed
when it is repeated. The whole commands in the table (`lc2fer-...`, see `tests/faults/commands.py`) were tried at system
calls that are spread evenly over a run.

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

A fuzzer gives a program random files. Each reader must return, or raise an error of this project with a sentence in
it. The operators in C++ are tried by libFuzzer with the address and undefined-behaviour sanitizers. Inputs that were
once answered wrongly are kept in `tests/fuzz/corpus/`. In every run of the tests each reader gets half a second of
mutation.

{_table(["reader", "how", "inputs", "minutes", "of processor time", "faults"], rows)}

Found before these runs, and mended since:

{before}"""


def _mutants() -> str:
    found = _read("mutants")
    rows = [
        [name, one["mutants"], one["tried"], one["killed"], one["equivalent"], len(one["survivors"])]
        for name, one in found.items()
    ]
    return f"""## Mutation testing

    nice -n 19 python tests/mutation/mutate.py --sample 40 --out docs/recorded/robustness/mutants.json [MODULE ...]

Mutation testing makes small changes to a module, one at a time; its tests have to fail. A mutant that *survives* is a
change that no test noticed. An *equivalent* one changes nothing that could be noticed. `SUBJECTS` in that file has the
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
            "\n`tests/security/test_source.py` checks the whole source: nothing that is read from outside is run.",
            "There is no pickle, no eval and no shell. Bundles can be signed: [A Jetson](jetson.md#signed-bundles).",
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

Every ONNX file is run at all four levels of optimisation, and compared with this installation's own session on 16
pictures. Only `onnx-int8-fp16` differs, because its other operations are in float16. Tests fix the IR version and
opset of each file.

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

The command runs 100,000 inferences for each model, opens and closes 500 sessions, and runs `lc2fer-deploy run` for
half an hour. Its camera goes away every 20 seconds and returns with a film of another size, rate and coding (MJPEG
baseline, progressive and grey, MPEG-2, MPEG-4, VP8), while a viewer looks at the page. A value is *flat* if a straight
line through its second half does not rise: at most 8 MB of memory, and not one descriptor or thread. Recorded so far:

{table or "nothing."}"""


def _life() -> str:
    rows: list[list[Any]] = []
    for name, one in _read("life").items():
        threads, forks, closing = (one.get(what, {}) for what in ("threads", "fork", "closing"))
        opened = one.get("sessions", {})
        memory = opened.get("resident_mb")
        rows.append(
            [
                name,
                f"{threads['images']:,} by {threads['callers']}, {threads['wrong']} wrong" if threads else "-",
                f"{forks['forks']}: {forks['answered']} answered, {forks['refused']} refused" if forks else "-",
                f"{closing['closings']}: {closing['wrong'] + closing['other']} wrong" if closing else "-",
                f"{opened['count']:,}" if opened else "-",
                f"{memory['first']} to {memory['last']} MB" if memory else "-",
                "yes" if all(each.get("good") for each in one.values()) else "no",
            ]
        )
    heads = ["model", "images from threads at once", "forks", "closed under callers", "opened and closed", "memory"]
    return f"""## A session's life

    nice -n 19 python tests/endurance/life.py FOLDER --out docs/recorded/robustness/life.json

One session for eight callers at once, each answer compared with the one that it had alone; a session inherited by a
fork, which answers rightly or refuses in a sentence, and is opened anew there; a session closed while others call it,
who get a right answer or a sentence; and 500 sessions opened, asked and closed, flat as above. A line stands for what
is not recorded.

{_table([*heads, "all as it should be"], rows) if rows else "Nothing is recorded yet."}"""


def _shortage() -> str:
    ends = _read("shortage").get("ends", {})
    rows = []
    for name, codes in ends.items():
        said = [code.partition(":")[0].removeprefix("exit code ") for code in codes]
        rows.append([name, len(codes), ", ".join(f"{code} ({said.count(code)})" for code in dict.fromkeys(said))])
    return f"""## Commands that lack something

    python tests/faults/shortage.py DATA --out docs/recorded/robustness/shortage.json

Two commands of a kind at once in one folder, a full /dev/shm, a folder on a full disk, a clock that was set back by
two days, and a limit of memory (`ulimit -v`). The table has what was recorded. Every model that is there afterwards
has the bytes that its manifest names.

{_table(["command", "times", "exit codes, how often"], rows) if rows else "Nothing is recorded yet."}

Wrong: {len(_read("shortage").get("wrong", []))}."""


def _container() -> str:
    found = _read("container")
    rows = [[name.replace("_", " "), json.dumps(value)] for name, value in found.items()]
    return f"""## The image for CPUs, without Docker

    sudo tests/docker.sh docs/recorded/robustness/container.json

`docker/cpu.Dockerfile` is built by buildah in chroot isolation, with a Debian tree by debootstrap in the place of its
base image. It is started as `docker/compose.yaml` says: not as root, with a read-only root, no capabilities and none
to gain, a network of its own, and a film as the camera. The health check of `compose.yaml` is asked until it answers.
It exports the model first; `healthy after s` counts from its start.

{_table(["what", "found"], rows) if rows else "Nothing is recorded yet."}"""


if __name__ == "__main__":
    main()
