"""What people usually do after a command: one line, with the names that the command just wrote."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lc2fer import reading


def after(command: str, arguments: Sequence[str], document: Mapping[str, Any]) -> str | None:
    """The next command after one that succeeded, from what its last line says; None where there is no usual one."""
    verb = arguments[0] if arguments else ""
    if command == "data" and "flags" in document:
        data = shlex.join(["--data", document["data"], *document["flags"]])
        return f"lc2fer train --config C6 {data} --init bundled --recipe finetune --out runs/c6"
    if command == "train" and "artifact" in document:
        config = Path(document["artifact"]).stem
        data = shlex.join(["--data", _value(arguments, "--data") or "DIR", *reading.again(arguments)])
        return (
            f"lc2fer export --config {config} --target ort-int8-fused --weights {_quoted(document['artifact'])} {data}"
        )
    if command == "export" and "artifact" in document:
        return f"lc2fer predict PHOTO --model {_quoted(document['artifact'])}"
    if command == "bench" and "report" in document and verb not in ("gate", "compare", "choose", "paper", "ablation"):
        page = Path(document["report"]).with_suffix(".html")
        if page.is_file():
            return f"open {_quoted(page)}, or run: lc2fer bench gate {_quoted(document['report'])}"
    if command == "faces" and document.get("faces"):
        return (
            f"lc2fer train --config C6 --data {_quoted(document['out'])} --init bundled --recipe finetune --out runs/c6"
        )
    if command == "deploy" and verb == "bundle" and "bundle" in document:
        bundle = Path(document["bundle"])
        return f"copy {_quoted(bundle)} to the device, and there: lc2fer-deploy build {_quoted(bundle.name)}"
    if command == "deploy" and verb == "build" and "model" in document:
        return f"lc2fer deploy run {_quoted(document['model'])} --source usb:0 --web"
    return None


def _value(arguments: Sequence[str], flag: str) -> str | None:
    arguments = [part for word in arguments for part in (word.split("=", 1) if word.startswith(f"{flag}=") else [word])]
    places = [at for at, word in enumerate(arguments[:-1]) if word == flag]
    return arguments[places[-1] + 1] if places else None


def _quoted(path: object) -> str:
    return shlex.quote(str(path))
