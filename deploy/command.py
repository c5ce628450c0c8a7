"""lc2fer-deploy: bundles for devices, and their proof on the device."""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

from tabulate import tabulate  # type: ignore[import-untyped]

from lc2fer import artifact as artifacts
from lc2fer import reading, threads
from lc2fer.arguments import a_path
from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError, TargetUnavailable
from lc2fer.session import open_session
from lc2fer.spokes import measure
from lc2fer.text import stderr_console

from .camera import run
from .camera.address import is_address, shown
from .device import bundle, choice, doctor, golden
from .serving import command as serving


class _Parser(argparse.ArgumentParser):
    """Says what is wrong without the secrets of the addresses in it."""

    def error(self, message: str) -> NoReturn:
        super().error(" ".join(shown(word) if is_address(word) else word for word in message.split(" ")))


def parser() -> argparse.ArgumentParser:
    """The command's."""
    parser = _Parser(prog="lc2fer-deploy", description="Take a variant to a device and prove it there.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, says: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=says, description=f"{says[0].upper()}{says[1:]}.")

    making = verb("bundle", "where the weights are: write one file with all that a device needs (needs torch)")
    making.add_argument("--config", default="C6", metavar="NAME", help="C1 ... C8 (default: C6)")
    making.add_argument("--weights", type=a_path, metavar="FILE", help="safetensors; default: the bundled ones")
    making.add_argument(
        "--data", default="synthetic", metavar="DIR", help='a folder of faces, or "synthetic" (default)'
    )
    reading.add_images(making)
    reading.add_arguments(making)
    making.add_argument(
        "--calibration-images", type=int, metavar="N", help="images of D^v that give the INT8 ranges; default: 300"
    )
    making.add_argument("--out", type=a_path, default=Path("out"), metavar="DIR", help="default: out")
    making.add_argument("--sign", type=a_path, metavar="KEY", help="sign it: a private Ed25519 key in PEM")
    unpacking = verb("unpack", "check a bundle and unpack it")
    unpacking.add_argument("bundle", type=a_path, metavar="BUNDLE", help="a bundle")
    unpacking.add_argument("--to", type=a_path, metavar="DIR", help="default: a folder beside it, named after it")
    building = verb("build", "build and prove the engines of a bundle here, and choose FP16 or INT8 by measurement")
    building.add_argument(
        "bundle", type=a_path, metavar="BUNDLE", help="a bundle or the folder that it was unpacked to"
    )
    building.add_argument("--engine", choices=tuple(choice.ENGINES), default="tensorrt", help="default: tensorrt")
    building.add_argument("--threads", type=int, metavar="N", help="of ONNX Runtime")
    building.add_argument(
        "--max-batch", type=int, metavar="N", help="images that TensorRT's engines take at once, 1 to N; default: 1"
    )
    verifying = verb(
        "verify",
        "run golden faces through its models and compare with the trained network; exit 1 on a difference",
    )
    verifying.add_argument(
        "bundle", type=a_path, metavar="BUNDLE", help="a bundle or the folder that it was unpacked to"
    )
    verifying.add_argument(
        "--model", type=a_path, metavar="FILE", help="another model from the same weights, such as an engine built here"
    )
    verifying.add_argument("--threads", type=int, metavar="N", help="of the engine; default: every core it may use")
    for one in (unpacking, building, verifying):
        one.add_argument("--key", type=a_path, metavar="PUB", help="refuse a bundle that the owner of PUB did not sign")
    measuring = verb(
        "bench", "measure models here: latency, accuracy, memory, power, as lc2fer-bench does; its report.json"
    )
    measuring.add_argument(
        "models",
        nargs="+",
        type=a_path,
        metavar="BUNDLE|MODEL",
        help="a bundle, or the folder it was unpacked to, for its models and the engines built there; or a model file",
    )
    measuring.add_argument("--out", type=a_path, default=Path("out"), metavar="DIR", help="default: out")
    measuring.add_argument("--data", metavar="DIR", help='a folder of faces, or "synthetic" (default)')
    reading.add_arguments(measuring)
    measuring.add_argument("--limit", type=int, metavar="N", help="score only N test images")
    measuring.add_argument("--threads", type=int, metavar="N", help="of the engine; default: every core it may use")
    measuring.add_argument("--launches", type=int, metavar="N", help="processes a model (default: 3)")
    measuring.add_argument("--seconds", type=float, metavar="S", help="least time to sample, a launch (default: 1)")
    run.add_arguments(verb("run", "watch a camera, a video or a folder, or pictures from the browser"))
    serving.add_arguments(verb("serve", "answer programs over HTTP, in KServe's protocol"))
    serving.add_package_arguments(verb("package", "write a model server's repository"))
    examining = verb("doctor", "say what this device has, what is wrong and what mends it")
    examining.add_argument("--json", action="store_true", help="no table, only the last line's document")
    return parser


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the command; returns the last line's document."""
    given = parser().parse_args(arguments)
    threads.check(getattr(given, "threads", None))
    if given.verb == "bundle":
        return _bundle(given)
    if given.verb == "unpack":
        return _unpack(given)
    if given.verb == "build":
        return _build(given)
    if given.verb == "bench":
        return _bench(given)
    if given.verb == "run":
        return run.main(given)
    if given.verb == "serve":
        return serving.main(given)
    if given.verb == "package":
        return serving.write_package(given)
    if given.verb == "doctor":
        return _doctor(table=not given.json)
    with bundle.opened(given.bundle, given.key) as opened:
        return _verify(opened, given.model, given.threads)


def _bundle(given: argparse.Namespace) -> dict[str, Any]:
    from .device import packing as making

    console = stderr_console()
    with redirect_stdout(sys.stderr):  # libraries' chatter; stdout's last line is ours
        path, verdicts = making.make(
            given.config,
            given.out,
            weights=given.weights,
            data=given.data,
            images=given.images,
            reading=reading.Reading.of(vars(given)),
            calibration_images=given.calibration_images,
            key=given.sign,
            say=lambda text: console.print(text, highlight=False, soft_wrap=True, markup=False),
        )
    print(_table(verdicts))
    return {
        "bundle": str(path),
        "size_bytes": path.stat().st_size,
        "sha256": artifacts.hash_file(path),
        "models": [verdict.to_json() for verdict in verdicts],
    }


def _unpack(given: argparse.Namespace) -> dict[str, Any]:
    if given.bundle.is_dir():
        raise ArtifactError(f"{given.bundle} is a folder. Expected a bundle's file, as C6.bundle. Name the one in it.")
    folder = given.to or _beside(given.bundle)
    unpacked = bundle.unpack(given.bundle, folder, given.key)
    return {"folder": str(folder), "variant": unpacked.variant, "files": [record.name for record in unpacked.files]}


def _beside(path: Path) -> Path:
    """Where a bundle is unpacked if nothing else is told: C6.bundle -> C6."""
    return path.with_suffix("") if path.suffix else path.with_name(path.name + "-unpacked")


def _unpacked(place: Path, key: Path | None = None) -> bundle.Bundle:
    """A bundle in the folder where its engines lie: unpacked beside it, unless that was done before."""
    return bundle.load(place, key) if place.is_dir() else bundle.unpack(place, _beside(place), key)


def _bench(given: argparse.Namespace) -> dict[str, Any]:
    models = [model for place in given.models for model in _models(place)]
    options = ["--out", str(given.out)]
    for name in ("data", "limit", "threads", "launches", "seconds"):
        if getattr(given, name) is not None:
            options += [f"--{name}", str(getattr(given, name))]
    return measure(models, [*options, *reading.Reading.of(vars(given)).arguments])


def _models(place: Path) -> list[Path]:
    """Of a bundle its own models and the engines that were built from them; another file is a model."""
    if not place.is_dir() and place.suffix != ".bundle":
        return [place]
    unpacked = _unpacked(place)
    engines = sorted(path for path in unpacked.folder.glob("*.engine") if path.with_suffix(".json").is_file())
    return [*(unpacked.folder / model.file for model in unpacked.models), *engines]


def _build(given: argparse.Namespace) -> dict[str, Any]:
    console = stderr_console()
    unpacked = _unpacked(given.bundle, given.key)
    made = choice.choose(
        unpacked,
        given.engine,
        threads=given.threads,
        say=lambda text: console.print(text, highlight=False, soft_wrap=True, markup=False),
        max_batch=given.max_batch,
    )
    rows = [
        [each.file, "refused" if each.p50_ms is None else f"{each.p50_ms:.3f}", "<- runs" * (each.file == made.file)]
        for each in made.candidates
    ]
    time = "p50 ms" if made.max_batch == 1 else f"p50 ms, {made.max_batch} images"
    print(tabulate(rows, ["model", time, ""], disable_numparse=True))
    print(f"{made.file}: {made.why}")
    return {"model": str(unpacked.folder / made.file), **made.to_json()}


def _doctor(*, table: bool) -> dict[str, Any]:
    """What was found; the document's exit code is 1 where there is a problem."""
    findings = doctor.examine()
    if table:
        print(
            tabulate([[each.what, each.state, each.text] for each in findings], disable_numparse=True, tablefmt="plain")
        )
        for each in findings:
            if each.mend is not None:
                print(f"{each.what}: {each.mend}")
    return {
        "findings": [each.to_json() for each in findings],
        "exit_code": int(any(each.state == "problem" for each in findings)),
    }


def _verify(unpacked: bundle.Bundle, other: Path | None, threads: int | None) -> dict[str, Any]:
    """Judge the models on the golden faces; the document's exit code is 1 where one fails."""
    images, reference = unpacked.golden
    verdicts = []
    lacking: list[TargetUnavailable] = []
    for artifact, needed in _asked(unpacked, other):
        try:
            with open_session(artifact, threads=threads) as session:
                verdicts.append(golden.judge(artifact.path.name, reference, session.run(images), needed))
        except TargetUnavailable as error:  # whatever else the bundle has may run
            lacking.append(error)
            print(f"{artifact.path.name} was not judged. {error}", file=sys.stderr)
    if not verdicts:
        raise lacking[0]
    print(_table(verdicts))
    labels = unpacked.input_spec.labels
    failed = next((verdict for verdict in verdicts if not verdict.passed), None)
    if failed is not None:
        if not failed.finite:
            what = "it gives NaN or infinity"
        elif failed.wrong:
            what = f"golden face {failed.wrong[0]} is no longer {labels[reference[failed.wrong[0]].argmax()]}"
        else:
            what = f"{failed.sqnr_db} dB of logit SQNR where {failed.needed_db} are needed"
        print(f"{failed.model} differs from the trained network here: {what}. Do not use it on this device.")
    return {
        "variant": unpacked.variant,
        "models": [verdict.to_json() for verdict in verdicts],
        "exit_code": 0 if failed is None else 1,
    }


def _asked(unpacked: bundle.Bundle, other: Path | None) -> list[tuple[Artifact, float]]:
    """What to judge and the SQNR that each needs: the bundle's models, or one that was made from them."""
    own = [(unpacked.artifact(model), model.sqnr_db) for model in unpacked.models]
    if other is None:
        return own
    given = artifacts.load(other)
    precision = given.recipe.precision if given.recipe is not None else "fp32"
    related = {unpacked.parent_sha256, *(artifact.sha256 for artifact, _ in own)}
    needed = [db for artifact, db in own if artifact.recipe is not None and artifact.recipe.precision == precision]
    if given.parent_sha256 not in related or not needed:
        raise ArtifactError(
            f"{other} was not made from this bundle's weights ({unpacked.parent_sha256[:12]}...), or in another "
            "precision than fp16 and int8. Expected one of the bundle's own. Build it from the bundle's files."
        )
    return [(given, min(needed))]


def _table(verdicts: list[golden.Verdict]) -> str:
    rows = [
        [
            verdict.model,
            f"{verdict.sqnr_db:.1f}" if verdict.finite else "not finite",
            f"{verdict.needed_db:.1f}",
            f"{verdict.decided - len(verdict.wrong)}/{verdict.decided}",
            "ok" if verdict.passed else "FAILED",
        ]
        for verdict in verdicts
    ]
    return str(tabulate(rows, ["model", "SQNR dB", "needed", "same answers", ""], disable_numparse=True))
