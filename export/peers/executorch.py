"""ExecuTorch with XNNPACK, quantised by PT2E: https://docs.pytorch.org/executorch, "XNNPACK Backend"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # type: ignore[import-not-found]
    XnnpackPartitioner,
)
from executorch.exir import to_edge_transform_and_lower  # type: ignore[import-not-found]
from executorch.extension.pybindings.portable_lib import (  # type: ignore[import-not-found]
    _load_for_executorch,
    _unsafe_reset_threadpool,
)
from numpy.typing import NDArray

from lc2fer.recipe import PRODUCTS

from .program import Program, Run


def convert(program: Program, path: Path) -> None:
    module = torch.export.load(program.exported).module()
    example = (torch.from_numpy(program.example()),)
    if program.precision == "int8":
        module = _quantised(module, program)
    lowered = to_edge_transform_and_lower(torch.export.export(module, example), partitioner=[XnnpackPartitioner()])
    path.write_bytes(lowered.to_executorch().buffer)


def _quantised(module: Any, program: Program) -> Any:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (  # type: ignore[import-not-found]
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e  # type: ignore[import-not-found]

    wanted = get_symmetric_quantization_config(is_per_channel=True)
    quantizer = XNNPACKQuantizer()
    if program.form == PRODUCTS:
        for operator in (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default):
            quantizer.set_operator_type(operator, wanted)  # set_module_type quantises nothing
    else:
        quantizer.set_global(wanted)
    prepared = prepare_pt2e(module, quantizer)
    with torch.no_grad():
        for image in torch.from_numpy(program.calibration()).split(1):
            prepared(image)
    return convert_pt2e(prepared)


def opened(path: Path, threads: int) -> Run:
    _unsafe_reset_threadpool(threads)  # torch.set_num_threads does not reach it
    model = _load_for_executorch(str(path))

    def run(image: NDArray[Any]) -> Any:
        return model.forward((torch.from_numpy(image),))[0].numpy()

    return run
