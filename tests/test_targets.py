"""The table of targets: each row can be made and opened, and the documents' table is printed from it."""

from __future__ import annotations

import importlib.util
from itertools import chain
from pathlib import Path

import pytest

from lc2fer.errors import UsageError
from lc2fer.targets import (
    BUDGETED,
    ENGINES,
    FILES,
    KINDS,
    OURS,
    PEERS,
    STOCK,
    TARGETS,
    adds_in_16_bits,
    check_target,
    is_stock,
    markdown,
)


@pytest.mark.parametrize("name", TARGETS)
def test_a_row_names_what_is_there(name: str) -> None:
    row = TARGETS[name]
    assert row.kind in KINDS
    assert set(row.parents) <= set(OURS)
    assert row.instead is None or TARGETS[row.instead].instead is None
    if row.recipe is not None:
        assert row.recipe.precision == row.precision
    if name != "torch":
        assert importlib.util.find_spec(f"lc2fer.export.formats.{row.maker}") is not None


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_names_the_module_that_opens_it(kind: str) -> None:
    assert importlib.util.find_spec(KINDS[kind].session) is not None


def test_every_target_is_of_one_sort() -> None:
    assert sorted((*OURS, *STOCK, *chain(*PEERS.values()))) == sorted(TARGETS)
    assert sorted(("torch", *FILES, *ENGINES)) == sorted(OURS)
    assert set(BUDGETED) == {"onnx-int8", "onnx-int8-fp16", "ort-int8", "openvino-int8"}
    assert [is_stock(name) for name in ("stock-torch", "stock-mnn-int8", "torch", "matrix-rate")] == [
        True,
        True,
        False,
        False,
    ]


def test_without_vnni_engines_own_int8_is_not_portable() -> None:
    refused = {name for name in FILES if TARGETS[name].instead is None and not TARGETS[name].portable}
    assert refused == {"ort-int8", "openvino-int8"}
    for kind in KINDS.values():
        assert not adds_in_16_bits(kind.engine, TARGETS[kind.in_float].recipe)


def test_an_unknown_target_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError) as refused:
        check_target("openvino-int")
    assert str(refused.value) == (
        f"There is no target 'openvino-int'. Expected one of {', '.join(OURS)}. Did you mean openvino-int8?"
    )


def test_the_documents_table_is_this_one(checkout: Path) -> None:
    table = markdown().replace("](docs/", "](")  # from README's folder to that of docs
    assert table in (checkout / "docs" / "choose-a-target.md").read_text(encoding="utf-8")
