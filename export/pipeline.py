"""From weights to a proven artifact: each arrow makes a file, proves it, and only then gives it its name."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lc2fer import artifact as artifacts
from lc2fer import environments, self_test
from lc2fer.artifact import Artifact
from lc2fer.data import SYNTHETIC, open_dataset, records
from lc2fer.data.split import images_kept
from lc2fer.errors import ArtifactError, ParityError, TargetUnavailable, UsageError
from lc2fer.header import input_spec
from lc2fer.inputs import InputSpec
from lc2fer.network import checkpoint
from lc2fer.processor import check_products
from lc2fer.reading import Reading
from lc2fer.recipe import FUSED, Calibration, Recipe
from lc2fer.session import open_session
from lc2fer.settings import ACCURACY
from lc2fer.targets import ENGINES, FILES, KINDS, PEERS, RATE, TARGETS, adds_in_16_bits, check_target, is_stock
from lc2fer.telemetry import refuse_telemetry
from lc2fer.variants import variant

from . import parity
from .formats import present
from .formats import tensorrt as engines
from .int8.calibration import CalibrationSet, Known, Validation
from .int8.recorded import Ranges

Say = Callable[[str], None]

_FEW = 64  # images of D^v that are enough for INT8's ranges, where a data set has no more
_CONSTANT = 1e-6  # of the largest logit: a network whose answers differ by less gives one answer, rounded


class Pipeline:
    """All exports of one variant from one set of weights into one folder."""

    def __init__(
        self,
        config: str,
        out: Path,
        *,
        weights: Path | None = None,
        data: str | Path = SYNTHETIC,
        images: str = "aligned",
        calibration_images: int | None = None,
        say: Say = lambda text: None,
        reading: Reading = Reading(),  # noqa: B008
        size: int | None = None,  # pixels a side of the images, where the weights do not say it
        max_batch: int = 1,  # images that an engine takes at once
        setting: str | None = None,  # None: accuracy, but nothing of another setting is replaced by it
    ) -> None:
        refuse_telemetry()  # before a maker imports its engine
        self.variant = variant(config)
        self.out = Path(out)
        self.weights = weights
        self.data = data
        self.images = images
        self.calibration_images = calibration_images
        self.say = say
        self.reading = reading
        self.size = size
        self.max_batch = max_batch
        self.setting = setting or ACCURACY
        self._asked = setting is not None
        self._small = False  # a data set, which was said
        self._calibrations: dict[tuple[int, int], CalibrationSet] = {}

    @property
    def _drawn(self) -> bool:
        return str(self.data) == SYNTHETIC

    def export(self, target: str) -> Artifact:
        """The artifact of that target, made or reused.

        Raises UsageError for an unknown target, ArtifactError and DataError for bad weights and images, ParityError
        where the artifact disagrees with the trained network, LintError where its graph breaks a rule,
        TargetUnavailable for engines that cannot be built here.
        """
        if target == RATE:
            return self._rate()
        if not is_stock(target):
            check_target(target)
        if target == "torch":
            return self.checkpoint
        if target in ENGINES:
            sources = [self.export(source) for source in TARGETS[target].parents]
            return engines.make(target, sources, self.out, self._prove, self.say, self.max_batch)
        self.check(target)  # before images are drawn and ranges taken
        wanted = self.wanted(target)
        there = present.reusable(wanted)
        if there is not None and self._proves(there):
            self.say(f"{there.path.name}: reused, its parent, recipe and tools are the same")
            return self._delivered(there)
        with artifacts.staged(self.out) as staging:
            made = artifacts.publish(self.build(wanted, staging), self.out)
        proof = made.proof
        if proof is not None:
            self.say(
                f"{made.path.name}: made, {proof['sqnr_db']:.1f} dB and {proof['agreement']:.1%} agreement with the "
                f"trained network on {proof['decided']} decided of {proof['images']} "
                f"{'drawn faces' if self._drawn else 'validation images'}"
                f"{_elsewhere((made.calibration or {}).get('proof'))}"
            )
        return self._delivered(made)

    def _proves(self, there: Artifact) -> bool:
        """Whether its proof is on these images; on drawn faces it may be on any."""
        return self._drawn or (there.proof or {}).get("images_fingerprint") == self.validation.proof_fingerprint

    def _delivered(self, made: Artifact) -> Artifact:
        """That artifact, with what its maker puts beside it."""
        maker = _maker(made.target)
        if hasattr(maker, "deliver"):
            self.say(f"{maker.deliver(made, self._beside(maker))}: made")
        return made

    def _beside(self, maker: Any) -> Artifact | None:
        """The other artifact that its maker delivers with it, where that can be had here."""
        try:
            maker.check_beside()
            return self.export(maker.BESIDE)
        except TargetUnavailable as lacking:
            self.say(f"The page will run by ONNX Runtime alone. {lacking}")
            return None

    def check(self, target: str) -> None:
        """Raise TargetUnavailable where `export` would for what this machine lacks; nothing is made to know it."""
        if target in ENGINES:
            engines.check(target, self.variant.name)
        elif target in FILES:
            row, maker = TARGETS[target], _maker(target)
            if hasattr(maker, "check"):
                maker.check(row.recipe)
            if adds_in_16_bits(row.kind, row.recipe):  # its proof would be refused
                check_products(f"{self.variant.name}-{target}", row.kind)

    def wanted(self, target: str, kept: tuple[str, ...] = ()) -> Artifact:
        """What the manifest of that target has to say, with these layers kept in float; no files, no proof."""
        row = TARGETS[target]
        assert row.recipe is not None
        parent, recipe = self.export(row.parents[0]), row.recipe
        if recipe.calibration is not None:
            count = self.calibration_images
            count = self._usual(recipe.calibration.count) if count is None else count
            if recipe.form != FUSED:  # a Q/DQ pair has one range for all images
                kept = (*recipe.without_range(self.variant.blocks), *kept)
            recipe = replace(
                recipe,
                calibration=replace(recipe.calibration, count=count),
                kept=tuple(dict.fromkeys(recipe.kept + kept)),
            )
        calibration = self.calibration(recipe)
        return Artifact(
            path=self.out / f"{self.variant.name}-{target}{KINDS[row.kind].suffix}",
            kind=row.kind,
            target=target,
            variant=self.variant.name,
            input_spec=parent.input_spec,
            recipe=recipe,
            parent_sha256=parent.sha256,
            calibration=None if calibration is None else calibration.to_json(),
            tools={**artifacts.tool_versions(*_maker(target).TOOLS), **environments.versions(row.kind)},
        )

    def build(self, wanted: Artifact, staging: Path) -> Artifact:
        """Make it in a temporary folder, check its graph and prove it; raises LintError and ParityError."""
        assert wanted.recipe is not None
        maker, parent = _maker(wanted.target), self.export(TARGETS[wanted.target].parents[0])
        if wanted.kind != "checkpoint":
            _ = self.reference  # refuses bad weights and images before anything is made of them
        paths = maker.make(parent, wanted.recipe, self.calibration(wanted.recipe), staging / wanted.path.name)
        if hasattr(maker, "inspect"):
            maker.inspect(paths[0], wanted.recipe)
        made = replace(wanted, path=paths[0], files=tuple(artifacts.record_of(path) for path in paths))
        if made.kind == "checkpoint":
            return made
        proof, answers = self._compared(made)
        return replace(made, proof=proof.to_json(), self_test=answers)

    def _rate(self) -> Artifact:
        """An 8-bit matrix product, to measure how fast the machine is; it has nothing to do with the weights."""
        from .formats import stock

        with artifacts.staged(self.out) as staging:
            path = staging / f"{RATE}.xml"
            macs = stock.rate(path)
            made = Artifact(
                path=path,
                kind="openvino",
                target=RATE,
                variant=self.variant.name,
                input_spec=InputSpec(),
                files=tuple(artifacts.record_of(each) for each in (path, path.with_suffix(".bin"))),
                recipe=TARGETS["stock-openvino-int8"].recipe,
                device={"macs": macs},
                tools=artifacts.tool_versions(*stock.TOOLS),
            )
            return artifacts.publish(made, self.out)

    def calibration(self, recipe: Recipe) -> Known | None:
        """What an INT8 recipe takes its ranges from: images, read once, or figures that came with the weights.

        The latter where no faces are given that the weights could be used on: drawn ones are unlike photographs.
        """
        if recipe.calibration is None:
            return None
        if self._drawn and self.calibration_images is None:
            known = self._ranges
            if known is not None and known.fits(recipe):
                return known
        key = (recipe.calibration.count, recipe.calibration.seed)
        if key not in self._calibrations:
            self._calibrations[key] = self.validation.calibration(recipe.calibration)
        return self._calibrations[key]

    def _usual(self, count: int) -> int:
        """As many calibration images as a recipe asks for; of a small data set of one's own all that there are."""
        if self._drawn or not _FEW <= self.validation.available < count:
            return count  # too few raises an error, with the number
        if not self._small:
            self._small = True
            self.say(
                f"{self.validation.dataset.place} has {self.validation.available} validation images: INT8 takes its "
                f"ranges from these, where {count} are usual."
            )
        return self.validation.available

    @cached_property
    def _ranges(self) -> Ranges | None:
        found = Ranges.of(self.checkpoint.training)
        if found is not None:
            self.say(
                f"{self.variant.name}: INT8 takes the ranges that came with the weights, of {found.about['images']} "
                "faces of their own D^v. Pass --data, or --calibration-images, for others."
            )
        return found

    @cached_property
    def checkpoint(self) -> Artifact:
        """The weights, in the folder beside what is made from them."""
        name = self.variant.name
        wanted = self.out / f"{name}-torch.safetensors"
        source = self.weights or artifacts.bundled(name)
        if source is None:
            return self._random(wanted)
        spec, origin = input_spec(source, checkpoint.load(source, name).num_classes, self.size)
        there = present.found(wanted)
        training = None if origin is None else origin.training
        has = (training or {}).get("setting")  # that was added to these weights
        if self._asked and has not in (None, self.setting):
            raise UsageError(
                f"{source} has the setting {has} in it, and {self.setting} was asked for. Weights as they were trained "
                "were expected. Pass those, or leave --setting out."
            )
        if there is not None and self.setting in (ACCURACY, has):
            known = (there.sha256, there.input_spec, there.training)
            if known == (artifacts.hash_file(source), spec, training):
                return there
        if self.weights is None:
            present.refuse_others(there, artifacts.hash_file(source))
        if there is not None and not self._asked:
            present.refuse_setting(there)
        if self.setting not in (ACCURACY, has):
            return self._adjusted(source, spec, training or {}, there)
        with artifacts.staged(self.out) as staging:
            shutil.copyfile(source, staging / wanted.name)
            copied = Artifact(
                path=staging / wanted.name,
                kind="checkpoint",
                target="torch",
                variant=name,
                input_spec=spec,
                files=(artifacts.record_of(staging / wanted.name),),
                training=training,
                tools=artifacts.tool_versions("torch", "safetensors"),
            )
            return artifacts.publish(copied, self.out)

    def _adjusted(self, source: Path, spec: InputSpec, training: Mapping[str, Any], there: Artifact | None) -> Artifact:
        """The weights with the numbers of their other setting added to the head's bias."""
        chosen = training.get(self.setting)
        if not isinstance(chosen, Mapping) or len(chosen.get("offsets", ())) != len(spec.labels):
            raise UsageError(
                f"{source} has no setting {self.setting!r} in its manifest. Weights that lc2fer-train wrote have one. "
                f"Train them again, or leave --setting out."
            )
        told = {"setting": self.setting, "setting_of": artifacts.hash_file(source), self.setting: chosen}
        if there is not None and told.items() <= (there.training or {}).items() and there.input_spec == spec:
            return there
        network = checkpoint.load(source, self.variant.name)
        bias = network.head.linear.bias
        bias.data += bias.new_tensor(chosen["offsets"])
        stem = f"{self.variant.name}-torch"
        return checkpoint.save(network, self.out, stem, input_spec=spec, training={**training, **told})

    def _random(self, wanted: Path) -> Artifact:
        import torch

        from lc2fer.network.model import build

        self.say(
            f"{self.variant.name} has no bundled weights: random ones (seed 0) are used. Speed, size and parity are "
            "real, accuracy means nothing. Pass --weights for trained ones."
        )
        spec = InputSpec() if self.size is None else InputSpec(size=self.size)
        self.variant.feature_sizes(spec.size)
        there = present.found(wanted)
        if there is not None and (there.training or {}).get("weights") == "random" and there.input_spec == spec:
            return there
        present.refuse_others(there, None)
        torch.manual_seed(0)
        return checkpoint.save(
            build(self.variant), self.out, wanted.stem, input_spec=spec, training={"weights": "random"}
        )

    @cached_property
    def validation(self) -> Validation:
        records.agree(self.data, self.checkpoint.input_spec.alignment)
        dataset = open_dataset(self.data, self.images, self.reading)
        for note in dataset.notes:
            self.say(note)
        # Drawn faces calibrate and prove a model of any classes.
        keep = images_kept(self.checkpoint.training)
        seen = max(Calibration().count, self.calibration_images or 0)
        return Validation(dataset, self.checkpoint.input_spec, strict=not self._drawn, keep=keep, seen=seen)

    @cached_property
    def reference(self) -> tuple[CalibrationSet, NDArray[np.float32]]:
        """The images of every proof and the trained network's logits on them."""
        images = self.validation.proof
        with open_session(self.checkpoint) as session:
            logits = session.run(images.batch(0, len(images)))
        spread = float(np.ptp(logits, axis=0).max())
        if spread <= _CONSTANT * float(np.abs(logits).max()):
            raise ArtifactError(
                f"{self.weights or self.checkpoint.path} gives the same answer to all {len(logits)} validation images: "
                f"its logits differ by {spread:g} at most. A network that tells pictures apart was expected. Train it "
                "again, or pass other weights."
            )
        return images, logits

    def _prove(self, made: Artifact) -> parity.Proof:
        return self._compared(made)[0]

    def _compared(self, made: Artifact) -> tuple[parity.Proof, dict[str, Any] | None]:
        """The proof, and of INT8 that is delivered what it answers to the pictures by which a processor is tested."""
        images, reference = self.reference
        assert made.recipe is not None
        try:
            logits, answers = self._answers(made, images)
        except ArtifactError as error:
            raise ParityError(f"{made.path.name} was made and cannot be opened, so it was not kept. {error}") from None
        proof = parity.prove(
            reference,
            logits,
            made.recipe.precision,
            images,
            reference_sha256=self.checkpoint.sha256,
            name=made.path.name,
            refuse=not is_stock(made.target),
        )
        return proof, answers

    @staticmethod
    def _answers(made: Artifact, images: CalibrationSet) -> tuple[NDArray[np.float32], dict[str, Any] | None]:
        """Logits of those images, and of INT8 that is delivered the self-test's."""
        assert made.recipe is not None
        if made.kind in PEERS:
            return _maker(made.target).answers(made, images), None
        with open_session(made) as session:
            logits = session.run(images.batch(0, len(images)))
            tested = made.recipe.precision == "int8" and not is_stock(made.target)
            return logits, self_test.record(session.run, made.input_spec.size) if tested else None


def _elsewhere(proof: Mapping[str, float] | None) -> str:
    """What is to be said of ranges that are not those of the images in the proof."""
    if not proof:
        return ""
    return (
        f". Its ranges are of photographs: {proof['sqnr_db']:.1f} dB and {proof['agreement']:.1%} on "
        f"{proof['images']:.0f} of them, as onnx-int8"
    )


def _maker(target: str) -> Any:
    """The module that makes a target."""
    return importlib.import_module(f"lc2fer.export.formats.{TARGETS[target].maker}")
