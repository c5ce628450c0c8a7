"""Ranges for symmetric INT8: what a tensor's magnitudes are over the calibration images, and where to clip them.

No choice wins everywhere (Wu et al., arXiv 2004.09602), so the recipe names one and a measurement decides which.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from lc2fer.errors import ArtifactError
from lc2fer.recipe import INPUT, Calibration

LEVELS = 127  # positive values of s8; the one more negative value, -128, is left to rounding
BINS = 8192
_CANDIDATES = 192  # clips that mse and entropy try
_MOST_AT_A_TIME = 8  # images


class Histogram:
    """Counts of magnitudes in BINS equal bins from 0.

    The bins' width is a power of two and doubles when a larger magnitude comes, so the counts do not depend on the
    order of the values, and at least half of the bins are in use.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.width = 2.0**-24
        self.largest = 0.0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count the magnitudes of finite values of any shape."""
        magnitudes = np.abs(values).ravel()
        self.largest = max(self.largest, float(magnitudes.max()))
        while self.largest > BINS * self.width:
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, np.int64)])
            self.width *= 2
        magnitudes *= np.float32(1 / self.width)  # exact
        places = np.minimum(magnitudes.astype(np.int64), BINS - 1)
        self.counts += np.bincount(places, minlength=BINS)

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        return np.asarray((np.arange(BINS) + 0.5) * self.width, np.float64)


def _max(seen: Histogram, wanted: Calibration) -> float:
    return seen.largest


def _percentile(seen: Histogram, wanted: Calibration) -> float:
    assert wanted.percentile is not None
    below = np.cumsum(seen.counts)
    place = int(np.searchsorted(below, below[-1] * (wanted.percentile / 100)))
    return min(seen.largest, (place + 1) * seen.width)


def _mse(seen: Histogram, wanted: Calibration) -> float:
    """The clip with the least squared error of quantising what was seen."""
    centres, best, least = seen.centres, seen.largest, np.inf
    for clip in seen.largest * np.arange(1, _CANDIDATES + 1) / _CANDIDATES:
        step = clip / LEVELS
        error = np.sum(seen.counts * (np.minimum(np.rint(centres / step), LEVELS) * step - centres) ** 2)
        if error < least:
            best, least = float(clip), float(error)
    return best


def _entropy(seen: Histogram, wanted: Calibration) -> float:
    """The clip whose quantised distribution diverges least (Kullback-Leibler) from what was seen, as TensorRT 10 did.

    Values beyond the clip count at it; bins that were empty stay empty; zeros, which are exact, are left out.
    """
    counts = seen.counts.astype(np.float64)
    counts[0] = counts[1]
    used = int(np.ceil(seen.largest / seen.width))
    best, least = seen.largest, np.inf
    levels = LEVELS + 1
    for end in range(levels, used + 1, max(1, used // _CANDIDATES)):
        inside = counts[:end]
        seen_here = inside.copy()
        seen_here[-1] += counts[end:].sum()
        starts = np.arange(levels) * end // levels
        sums = np.add.reduceat(inside, starts)
        filled = np.add.reduceat((inside > 0).astype(np.float64), starts)
        level_of = np.repeat(np.arange(levels), np.diff(np.append(starts, end)))
        rounded = np.where(inside > 0, (sums / np.maximum(filled, 1))[level_of], 0)
        p, q = seen_here / seen_here.sum(), rounded / max(rounded.sum(), 1)
        both = (p > 0) & (q > 0)
        lost = float(p[(p > 0) & (q == 0)].sum())  # mass where the quantised distribution has none
        divergence = float(np.sum(p[both] * np.log(p[both] / q[both]))) + lost * np.log(1 / 1e-10)
        if divergence < least:
            best, least = min(seen.largest, end * seen.width), divergence
    return best


CLIPS: Mapping[str, Callable[[Histogram, Calibration], float]] = MappingProxyType(
    {"max": _max, "percentile": _percentile, "mse": _mse, "entropy": _entropy}
)


def clip(seen: Histogram, wanted: Calibration) -> float:
    """The magnitude that the largest s8 value stands for, chosen by the calibration's method; 0 for nothing but 0."""
    return CLIPS[wanted.method](seen, wanted) if seen.largest else 0.0


def collect(
    model: onnx.ModelProto, tensors: Mapping[str, str], images: Iterable[NDArray[np.float32]]
) -> dict[str, Histogram]:
    """The histogram of each named tensor (layer -> tensor's name) of a float graph over the images [1,3,H,W].

    Raises ArtifactError, naming the layer, for a tensor with NaN or infinity.
    """
    found = {layer: Histogram() for layer in tensors}
    session = session_of(model, outputs=tensors.values())
    for answers in runs(session, list(tensors.values()), images):
        for (layer, seen), values in zip(found.items(), answers):
            if not np.isfinite(values).all():
                raise ArtifactError(
                    f"What {layer} reads is NaN or infinite on a calibration image. Finite activations were expected. "
                    "Look at the weights; they may come from a training that diverged."
                )
            seen.add(values)
    return found


def runs(
    session: Any, outputs: list[str], images: Iterable[NDArray[np.float32]]
) -> Iterator[list[NDArray[np.float32]]]:
    """What a session gives for each image [1,3,H,W], in their order; as many run at a time as there are cores."""
    cores = min(_MOST_AT_A_TIME, os.cpu_count() or 1)
    waiting: deque[Future[list[NDArray[np.float32]]]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        for image in images:
            waiting.append(pool.submit(session.run, outputs, {INPUT: image}))
            if len(waiting) > cores:  # the outputs of many images would not fit in memory
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def session_of(model: onnx.ModelProto, *, outputs: Iterable[str] = ()) -> Any:
    """An onnxruntime session of a graph as it is written, with more of its tensors as outputs.

    Q/DQ pairs are computed in float, one by one: the reference for every engine.
    """
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    given = {value.name for value in probed.graph.output}
    probed.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(outputs) if name not in given
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # the same sums on every machine
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(probed.SerializeToString(), options, providers=["CPUExecutionProvider"])
