"""Where the cache is, and what is said where there cannot be one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lc2fer.errors import UsageError
from lc2fer.storage import cache_folder, unwritable


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LC2FER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_variables_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / ".cache" / "lc2fer"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/lc2fer")
    monkeypatch.setenv("LC2FER_CACHE", "/y")
    assert cache_folder() == Path("/y")


def nobody_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_a_user_without_a_home_is_told_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", nobody_home)
    with pytest.raises(UsageError) as told:
        cache_folder()
    assert str(told.value) == (
        "This user has no home directory. A place to keep what is made once was expected. "
        "Set LC2FER_CACHE to a folder of yours, as in LC2FER_CACHE=/var/tmp/lc2fer."
    )
    monkeypatch.setenv("LC2FER_CACHE", "/y")
    assert cache_folder() == Path("/y")


@pytest.mark.parametrize("place", [".cache", ".cache/lc2fer", ".cache/lc2fer/fused/a.so"])
def test_what_belongs_to_the_cache_names_the_variable(tmp_path: Path, place: str) -> None:
    assert unwritable(str(tmp_path / place)) == (
        f"The cache {tmp_path / '.cache' / 'lc2fer'} cannot be written ({tmp_path / place}). A folder of yours was "
        "expected. Set LC2FER_CACHE to one, as in LC2FER_CACHE=/var/tmp/lc2fer."
    )


@pytest.mark.parametrize("place", ["/out/C6.onnx", "out", None, 3])
def test_other_places_are_not_the_cache(place: object) -> None:
    assert unwritable(place) is None


def test_a_user_without_a_home_has_no_cache_to_blame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", nobody_home)
    assert unwritable("/out") is None
