"""What a folder already has of what is to be made."""

from __future__ import annotations

from pathlib import Path

from lc2fer import artifact as artifacts
from lc2fer.artifact import Artifact
from lc2fer.errors import ArtifactError, UsageError


def found(path: Path) -> Artifact | None:
    """The artifact at that path, if a whole one is there."""
    try:
        return artifacts.load(path)
    except ArtifactError:
        return None


def reusable(wanted: Artifact) -> Artifact | None:
    """What is there, if it is the same and proven."""
    there = found(wanted.path)
    if there is None or there.proof is None:
        return None
    same = all(
        getattr(there, field) == getattr(wanted, field)
        for field in ("kind", "target", "variant", "input_spec", "recipe", "parent_sha256", "calibration", "tools")
    )
    return there if same else None


def refuse_others(there: Artifact | None, bundled: str | None) -> None:
    """Raise UsageError for own weights in a folder, where bundled ones (their sha256) or random ones are due."""
    if there is None or (there.training or {}).get("weights") == "random":
        return
    if bundled is None or bundled not in (there.sha256, (there.training or {}).get("setting_of")):
        raise UsageError(
            f"{there.path} holds other weights than the {'random' if bundled is None else 'bundled'} ones, which are "
            "taken without --weights. The same were expected in one folder. "
            f"Pass --weights {there.path} to go on with these, or another --out."
        )


def refuse_setting(there: Artifact) -> None:
    """Raise UsageError for weights of another setting than the usual one, which nobody asked to be replaced."""
    setting = (there.training or {}).get("setting")
    if setting is not None:
        raise UsageError(
            f"{there.path} has the setting {setting}, and what is made without --setting has another. The same was "
            f"expected in one folder. Pass --weights {there.path} to go on with it, or another --out."
        )
