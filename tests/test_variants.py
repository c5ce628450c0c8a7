"""The table of eight against the paper's figures (parameters) and the exact counts of its architecture."""

from __future__ import annotations

import dataclasses

import pytest

from lc2fer.errors import UsageError
from lc2fer.variants import VARIANTS, variant

COUNTS = {
    # name: parameters, million MACs at 100x100, what the paper prints in millions
    "C1": (3_389_647, 102.0, "3.4"),
    "C2": (1_924_423, 106.0, "1.9"),
    "C3": (7_535_239, 408.1, "7.5"),
    "C4": (1_924_423, 416.4, None),
    "C5": (1_645_639, 346.1, None),
    "C6": (928_391, 190.4, "0.93"),
    "C7": (3_642_631, 726.8, "3.64"),
    "C8": (370_967, 78.4, "0.37"),
}


def test_table_has_exactly_the_eight() -> None:
    assert list(VARIANTS) == list(COUNTS)
    assert [entry.name for entry in VARIANTS.values()] == list(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_the_papers(name: str) -> None:
    parameters, mmacs, printed = COUNTS[name]
    assert variant(name).parameter_count() == parameters
    assert round(variant(name).mac_count() / 1e6, 1) == mmacs
    if printed is not None:
        assert f"{parameters / 1e6:.{len(printed.split('.')[1])}f}" == printed


def test_classes_change_only_the_classifier() -> None:
    assert variant("C6").parameter_count(8) - variant("C6").parameter_count(7) == 256 + 1
    assert variant("C6").mac_count(num_classes=8) - variant("C6").mac_count() == 256


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("C1", (25, 12, 6, 3)), ("C2", (25, 8, 4)), ("C3", (25, 8, 4)), ("C4", (49, 16, 8)), ("C8", (49, 16, 8))],
)
def test_feature_sizes_at_100(name: str, sizes: tuple[int, ...]) -> None:
    assert variant(name).feature_sizes() == sizes


@pytest.mark.parametrize(("name", "side"), [("C1", 32), ("C2", 24), ("C3", 24), ("C4", 14), ("C6", 14), ("C8", 14)])
def test_smallest_input_is_tight(name: str, side: int) -> None:
    assert variant(name).smallest_input == side
    assert variant(name).feature_sizes(side)[-1] == 1
    with pytest.raises(UsageError):
        variant(name).feature_sizes(side - 1)


def test_too_small_an_input_is_refused_by_name() -> None:
    with pytest.raises(UsageError) as refused:
        variant("C8").feature_sizes(12)
    assert str(refused.value) == (
        "C8 cannot take 12x12 images: stage 3 would convolve a 1x1 map with a 2x2 kernel. "
        "Its strides need at least 14 pixels a side. Use --size 14 or more."
    )


def test_names_are_found_in_either_case_and_others_refused() -> None:
    assert variant("c6") is VARIANTS["C6"]
    with pytest.raises(UsageError) as refused:
        variant("C9")
    assert str(refused.value) == (
        "There is no configuration 'C9'. Expected one of C1, C2, C3, C4, C5, C6, C7, C8. Pass one of them as --config."
    )


def test_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        VARIANTS["C9"] = VARIANTS["C8"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        VARIANTS["C8"].name = "C9"  # type: ignore[misc]
