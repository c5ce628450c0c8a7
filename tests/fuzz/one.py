"""Fuzz one reader, in a process of its own: `python one.py READER --seconds N --folder DIR [--plain]`.

With atheris (libFuzzer, which follows the branches of the reader's modules) where it is installed, else by mutation
alone, which sees no branches. The last line is a JSON document: what fuzzed, inputs tried, and the fault, if there was
one, whose input lies in DIR.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from place import Reader, folder
from readers import READERS

_WORDS = (
    b"\0",
    b"\xff",
    b"[",
    b"{",
    b'"',
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"\n",
    b",",
    b"../",
    b"\\",
    b"\xef\xbb\xbf",
)
_MOST = 1 << 16  # bytes of an input


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    corpus = given.folder / "corpus"
    corpus.mkdir(exist_ok=True)
    from lc2fer.telemetry import refuse_telemetry

    refuse_telemetry()
    reader = READERS[given.reader]
    folder()
    with _atheris(reader, plain=given.plain) as atheris:
        seeds = [*reader.seeds(), *(path.read_bytes() for path in _kept(given.reader))]
    for seed in seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    trial = Trial(reader, given.folder)
    ends = time.monotonic() + given.seconds
    if atheris is None:
        _mutate(trial, seeds, ends, given.seed)
        return trial.tell("mutation")

    def one(data: bytes) -> None:
        trial(data)
        if time.monotonic() > ends or trial.fault is not None:
            os._exit(trial.tell("atheris"))

    for seed in seeds[:1]:  # what a reader imports when it is first called is not the first input's time
        trial(seed)
    longest = max(_MOST, *map(len, seeds))
    options = [f"-seed={given.seed + 1}", f"-max_len={longest}", "-timeout=120", "-rss_limit_mb=6000", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={given.folder}/", str(corpus)], one)
    atheris.Fuzz()
    return 0


class Trial:
    """A reader under trial: counts what it read, and keeps the first input that it answers in another way."""

    def __init__(self, reader: Reader, place: Path) -> None:
        self._reader, self._place = reader, place
        self.inputs, self.refused = 0, 0
        self.fault: str | None = None
        self._current = place / "current"

    def __call__(self, data: bytes) -> None:
        from lc2fer.errors import Lc2ferError

        if self._reader.native:  # what a crash of an engine would leave behind
            self._current.write_bytes(data)
        self.inputs += 1
        try:
            self._reader.read(data)
        except Lc2ferError as error:
            self.refused += 1
            if not str(error).strip():
                self._found(data, "an error without a word")
        except (MemoryError, RecursionError) as error:
            self._found(data, repr(error))
        except Exception:
            self._found(data, traceback.format_exc(limit=-4))

    def _found(self, data: bytes, text: str) -> None:
        if self.fault is None:
            (self._place / "fault").write_bytes(data)
            self.fault = text

    def tell(self, how: str) -> int:
        took = {"cpu_s": round(time.process_time(), 1)}
        document = {"how": how, "inputs": self.inputs, "refused": self.refused, **took, "fault": self.fault}
        print(json.dumps(document), flush=True)
        return 1 if self.fault else 0


def _kept(name: str) -> list[Path]:
    return sorted((Path(__file__).parent / "corpus" / name).glob("*"))


class _atheris:
    """The module, its eyes on the reader's modules while these are imported; None for mutation alone."""

    def __init__(self, reader: Reader, *, plain: bool) -> None:
        self._module: Any = None
        self._hook: Any = None
        if not plain:
            try:
                self._module = importlib.import_module("atheris")
            except ImportError:
                return
            self._hook = self._module.instrument_imports(include=list(reader.modules))
            self._modules = reader.modules

    def __enter__(self) -> Any:
        if self._hook is not None:
            with self._hook:
                for name in self._modules:
                    for known in [known for known in sys.modules if (known + ".").startswith(name + ".")]:
                        if name.startswith("lc2fer."):
                            del sys.modules[known]
                for name in self._modules:
                    try:
                        importlib.import_module(name)
                    except ImportError:  # tomli, where Python has tomllib
                        continue
        return self._module

    def __exit__(self, *_: object) -> None:
        return None


def _mutate(trial: Trial, seeds: list[bytes], ends: float, seed: int) -> None:
    chance = random.Random(seed)
    pool = list(seeds)
    for data in seeds:
        trial(data)
    while time.monotonic() < ends and trial.fault is None:
        data = bytearray(chance.choice(pool))
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            _MUTATIONS[chance.randrange(len(_MUTATIONS))](data, chance)
        trial(bytes(data[:_MOST] if len(data) > 4 * _MOST else data))
        if chance.random() < 0.01 and len(pool) < 200:
            pool.append(bytes(data))


def _flip(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _replace(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.randrange(256)


def _cut(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    del data[start : start + chance.choice((1, 2, 8, len(data)))]


def _insert(data: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(data) + 1)
    data[place:place] = chance.choice(_WORDS) * chance.choice((1, 1, 1, 2, 1000))


def _repeat(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    data[start:start] = data[start : start + chance.choice((1, 8, 64, 512))]


def _number(data: bytearray, chance: random.Random) -> None:
    places = [place for place, byte in enumerate(data[:4096]) if chr(byte).isdigit()]
    if places:
        place = chance.choice(places)
        data[place : place + 1] = chance.choice(
            (b"-1", b"0", b"99999999999999999999", b"1e400", b"0.5", b"null", b'"x"')
        )


_MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (_flip, _replace, _cut, _insert, _repeat, _number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
