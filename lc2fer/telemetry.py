"""Engines are kept from reporting their use over the network."""

from __future__ import annotations

import os
import sys


def refuse_telemetry() -> None:
    """Keep engines that are imported later from reporting their use over the network.

    OpenVINO and NNCF would fork a process at import, which has hung, and send what they do to their makers' analytics;
    both run without the package that does it. ONNX Runtime 1.32 would keep a device identifier and a database of events
    below ~/.cache, and look up its maker's collector ten seconds after a session is opened; the variable has to be
    there before it is imported.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
