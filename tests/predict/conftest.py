"""A model that is there at once: a C8 that nobody trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from lc2fer.inputs import InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build
from lc2fer.variants import VARIANTS


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return checkpoint.save(build(VARIANTS["C8"]), folder, "C8", input_spec=InputSpec(), training={}).path
