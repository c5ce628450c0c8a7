"""Convert a network, or answer images: `python -m lc2fer.export.peers.process`, in an engine's own environment.

A job of JSON comes on standard input: `kind`, `made` (the model's file), and to convert `folder`, `form`, `precision`
and `shape` (of a Program), or to answer `images` (.npy, float32 [N,3,H,W]) and `logits` (the .npy to write, float32
[N,classes]). Whatever the engine prints goes to standard error, and standard output gets one line of JSON: `reason`,
what keeps it from doing so, or null.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

import numpy as np

from lc2fer.errors import Lc2ferError

from .program import Program
from .session import answer, engine, opened


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.load(sys.stdin)
    reason = None
    try:
        made = Path(job["made"])
        if "folder" in job:
            program = Program(Path(job["folder"]), job["form"], job["precision"], tuple(job["shape"]))
            engine(job["kind"]).convert(program, made)
        else:
            run = opened(job["kind"], made, 1)
            images = np.load(job["images"], allow_pickle=False)
            np.save(job["logits"], np.stack([answer(run, image[np.newaxis]) for image in images]))
    except Lc2ferError as error:
        reason = str(error)
    except Exception as error:
        traceback.print_exc()
        said = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no more"]
        reason = f"{type(error).__name__}: {said[0]}"
    json.dump({"reason": reason}, answers)
    answers.close()


if __name__ == "__main__":
    main()
