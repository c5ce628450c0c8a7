"""What weights say of themselves, what contradicts it, and what is no weights of ours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lc2fer import artifact as artifacts
from lc2fer import header
from lc2fer.errors import ArtifactError
from lc2fer.inputs import LABELS, InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import build
from lc2fer.variants import variant

EIGHT = (*LABELS, "contempt")
OWN = ("bored", "engaged", "happiness", "tired", "neutral")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = build(variant("C8"), 5)
    spec = InputSpec(size=48, labels=OWN)
    return checkpoint.save(network, tmp_path, "mine", input_spec=spec, training={"epoch": 3}).path


def rewritten(path: Path, **said: str | None) -> Path:
    """The same tensors under another header, without a manifest."""
    head = {**header.read(path).said, **said}
    save_file(load_file(path), path, {name: value for name, value in head.items() if value is not None})
    path.with_suffix(".json").unlink(missing_ok=True)
    return path


def refused(path: Path, classes: int = 5, **more: Any) -> str:
    with pytest.raises(ArtifactError) as error:
        header.input_spec(path, classes, **more)
    return str(error.value)


def test_the_header_holds_labels_and_size(saved: Path) -> None:
    found = header.read(saved)
    assert (found.labels, found.size) == (OWN, 48)
    assert found.said.keys() == {"variant", "mean", "std", "labels", "size", "alignment"}
    assert set(found.dtypes.values()) == {"F32"}


def test_header_and_manifest_agree(saved: Path) -> None:
    spec, manifest = header.input_spec(saved, 5)
    assert spec == InputSpec(size=48, labels=OWN)
    assert manifest == artifacts.load(saved)


def test_without_the_manifest_the_header_says_it(saved: Path) -> None:
    saved.with_suffix(".json").unlink()
    assert header.input_spec(saved, 5) == (InputSpec(size=48, labels=OWN), None)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"labels": list(LABELS[:5])},
            "has labels surprise, fear, disgust, happiness, sadness by its manifest, and bored, engaged, happiness, "
            "tired, neutral in its header.",
        ),
        ({"size": 100}, "has size 100 by its manifest, and 48 in its header."),
        ({"alignment": "eyes"}, "has alignment eyes by its manifest, and none in its header."),
    ],
)
def test_a_manifest_that_contradicts_the_header(saved: Path, change: dict[str, Any], text: str) -> None:
    manifest = saved.with_suffix(".json")
    fields = json.loads(manifest.read_text())
    fields["input_spec"].update(change)
    manifest.write_text(json.dumps(fields))
    assert refused(saved) == (
        f"{saved} {text} The same was expected. Copy the weights and the manifest of one training."
    )


@pytest.mark.parametrize(("classes", "names"), [(8, 5), (4, 5)])
def test_a_head_with_more_or_fewer_classes_than_labels(saved: Path, classes: int, names: int) -> None:
    assert refused(saved, classes) == (
        f"{saved} tells {classes} classes apart. The {names} expressions {', '.join(OWN)} were expected. "
        "Pass weights that were trained on them."
    )


def test_aligned_weights_say_so_without_their_manifest(saved: Path) -> None:
    saved.with_suffix(".json").unlink()
    rewritten(saved, alignment="level")
    assert header.input_spec(saved, 5)[0] == InputSpec(size=48, labels=OWN, alignment="level")
    rewritten(saved, alignment=None)  # of before there was any
    assert header.input_spec(saved, 5)[0].alignment == "none"
    rewritten(saved, alignment="ears")
    assert refused(saved) == (
        f"{saved} asks for alignment 'ears' in its header. This version knows none, level, eyes. Use the version that "
        "trained it."
    )


def test_weights_that_do_not_say_their_size(saved: Path) -> None:
    rewritten(saved, size=None)
    assert refused(saved) == (
        f"{saved} does not say its size, and has no manifest. Expected both in its header, as lc2fer-train writes "
        "them, or in mine.json beside it. Copy that too, or pass the pixels a side to lc2fer-export as --size."
    )
    assert header.input_spec(saved, 5, 64)[0] == InputSpec(size=64, labels=OWN)


def test_too_many_classes_are_told_before_a_missing_size(saved: Path) -> None:
    rewritten(saved, size=None)
    assert refused(saved, 8).startswith(
        f"{saved} tells 8 classes apart. The 5 expressions {', '.join(OWN)} were expected."
    )


@pytest.mark.parametrize("labels", [None, "[]", "happy", '["a", "a", "b", "c", "d"]', "[1, 2, 3, 4, 5]"])
def test_weights_that_do_not_say_their_labels(saved: Path, labels: str | None) -> None:
    rewritten(saved, labels=labels)
    assert refused(saved) == (
        f"{saved} does not say its labels, and has no manifest. Expected both in its header, as lc2fer-train writes "
        "them, or in mine.json beside it. Copy that too."
    )


def test_another_size_than_the_header_says(saved: Path) -> None:
    saved.with_suffix(".json").unlink()
    assert refused(saved, size=100) == (
        f"{saved} has size 48 by its header, and --size 100 was given. The same was expected. Leave --size out."
    )


@pytest.mark.parametrize("name", ["C5", "C6", "C8"])
def test_bundled_weights_and_copies_of_them_need_no_size(name: str, tmp_path: Path) -> None:
    bundled = artifacts.bundled(name)
    assert bundled is not None
    assert header.input_spec(bundled, 7)[0] == InputSpec()
    lone = shutil.copy(bundled, tmp_path / "lone.safetensors")
    assert header.input_spec(lone, 7) == (InputSpec(), None)


# -- what is no weights of ours ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
def test_the_names_of_wrapped_networks_are_taken(saved: Path, prefix: str) -> None:
    tensors = load_file(saved)
    save_file({prefix + name: value for name, value in tensors.items()}, saved, dict(header.read(saved).said))
    found = checkpoint.load(saved, "C8").state_dict()
    assert all(torch.equal(found[name], value) for name, value in tensors.items())


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (torch.int8, "int8"),
        (torch.uint8, "uint8"),
        (torch.int32, "int32"),
        (torch.bool, "bool"),
        (torch.float8_e4m3fn, "float8_e4m3fn"),
        (torch.float8_e5m2, "float8_e5m2"),
    ],
)
def test_weights_that_are_no_floats(saved: Path, dtype: torch.dtype, name: str) -> None:
    tensors = load_file(saved)
    tensors["head.linear.weight"] = tensors["head.linear.weight"].to(dtype)
    save_file(tensors, saved, dict(header.read(saved).said))
    with pytest.raises(ArtifactError) as error:
        checkpoint.load(saved, "C8")
    assert str(error.value) == (
        f"{saved} holds head.linear.weight as {name}. Weights as float32, float16 or bfloat16 were expected. Pass "
        "those from before they were quantised: INT8 is made by lc2fer-export."
    )


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1861254\n"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            POINTER,
            "is a Git LFS pointer to 1,861,254 bytes. Expected weights as safetensors. Run git lfs pull where it was "
            "cloned, or copy the file itself.",
        ),
        (
            b"\n<!DOCTYPE html><html><head><title>Sign in</title>",
            "is a web page. Expected weights as safetensors. Download it again; its address may want a login, or copy "
            "the file itself.",
        ),
        (
            b"\xef\xbb\xbf<html lang=en>",
            "is a web page. Expected weights as safetensors. Download it again; its address may want a login, or copy "
            "the file itself.",
        ),
    ],
    ids=["pointer", "page", "page with a mark"],
)
def test_what_is_saved_in_place_of_weights(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "C6.safetensors"
    path.write_bytes(content)
    with pytest.raises(ArtifactError) as error:
        checkpoint.load(path)
    assert str(error.value) == f"{path} {text}"


@pytest.mark.parametrize(
    ("names", "whose", "first"),
    [
        (
            ["stem.0.weight", "stages.0.blocks.0.conv_dw.weight", "stages.0.blocks.0.mlp.grn.weight", "head.fc.bias"],
            "timm's ConvNeXt V2",
            "stages.0.blocks.0.conv_dw.weight",
        ),
        (
            ["convnextv2.embeddings.patch_embeddings.weight", "classifier.bias"],
            "Hugging Face's ConvNeXt V2",
            "convnextv2.embeddings.patch_embeddings.weight",
        ),
        (
            ["downsample_layers.0.0.weight", "stages.0.0.dwconv.weight", "norm.weight"],
            "Facebook Research's ConvNeXt V2",
            "downsample_layers.0.0.weight",
        ),
    ],
)
def test_other_projects_networks_are_named(tmp_path: Path, names: list[str], whose: str, first: str) -> None:
    path = tmp_path / "theirs.safetensors"
    save_file({name: torch.zeros(4) for name in names}, path)
    with pytest.raises(ArtifactError) as error:
        checkpoint.load(path, "C8")
    assert str(error.value) == (
        f"{path} holds {whose} ({first}). Expected one of C1, C2, C3, C4, C5, C6, C7, C8, whose stages have other "
        "kernels and widths. Train one with lc2fer-train."
    )


def test_a_pointer_in_place_of_a_model(saved: Path) -> None:
    saved.write_bytes(POINTER)
    with pytest.raises(
        ArtifactError, match=r"is a Git LFS pointer to 1,861,254 bytes\. Expected the file that its man"
    ):
        artifacts.load(saved)


# -- renamed -----------------------------------------------------------------------------------------------------------


def test_a_model_renamed_with_its_manifest_is_taken(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs, mine = saved.with_name("theirs.safetensors"), artifacts.load(saved)
    saved.with_suffix(".json").rename(theirs.with_suffix(".json"))
    saved.rename(theirs)
    for _ in range(2):
        found = artifacts.load(theirs)
    assert (found.path, found.sha256, found.input_spec) == (theirs, mine.sha256, mine.input_spec)
    assert capsys.readouterr().err == f"{theirs} is mine.safetensors, by its sha256.\n"
    assert artifacts.load(theirs.with_suffix(".json")) == found


def test_a_link_leads_to_its_model(saved: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "model.safetensors"
    link.parent.mkdir()
    link.symlink_to(saved)
    assert artifacts.load(link) == artifacts.load(saved)


def test_a_renamed_model_that_was_changed_is_refused(saved: Path) -> None:
    theirs = saved.with_name("theirs.safetensors")
    saved.with_suffix(".json").rename(theirs.with_suffix(".json"))
    saved.rename(theirs)
    theirs.write_bytes(theirs.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match=r"mine\.safetensors is missing\. The manifest names it\."):
        artifacts.load(theirs)


def test_both_files_of_a_model_are_renamed_or_none(tmp_path: Path) -> None:
    for name, content in (("a.xml", b"graph"), ("a.bin", b"weights")):
        (tmp_path / name).write_bytes(content)
    records = tuple(artifacts.record_of(tmp_path / name) for name in ("a.xml", "a.bin"))
    made = artifacts.Artifact(tmp_path / "a.xml", "openvino", "openvino-fp16", "C6", InputSpec(), files=records)
    artifacts.write(made.manifest_path, made.to_json())
    for suffix in (".xml", ".json"):
        (tmp_path / f"a{suffix}").rename(tmp_path / f"b{suffix}")
    with pytest.raises(ArtifactError, match=r"a\.xml is missing"):
        artifacts.load(tmp_path / "b.xml")
    (tmp_path / "a.bin").rename(tmp_path / "b.bin")
    assert [record.name for record in artifacts.load(tmp_path / "b.xml").files] == ["b.xml", "b.bin"]
