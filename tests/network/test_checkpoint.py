"""Weights on disk: what is saved comes back, and everything else is refused by name."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lc2fer import artifact as artifacts
from lc2fer.errors import ArtifactError
from lc2fer.inputs import InputSpec
from lc2fer.network import checkpoint
from lc2fer.network.model import Network, build
from lc2fer.variants import variant


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return build(variant("C8"))


@pytest.fixture
def saved(network: Network, tmp_path: Path) -> Path:
    made = checkpoint.save(network, tmp_path, "mine", input_spec=InputSpec(size=48), training={"epoch": 3})
    return made.path


def test_weights_come_back_equal(network: Network, saved: Path) -> None:
    loaded = checkpoint.load(saved)
    assert loaded.variant is variant("C8")
    assert not loaded.training
    assert list(loaded.state_dict()) == list(network.state_dict())
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    made = artifacts.load(saved)
    assert (made.kind, made.target, made.variant, made.input_spec.size) == ("checkpoint", "torch", "C8", 48)
    assert made.training == {"epoch": 3}
    assert made.tools["torch"] == torch.__version__
    with safe_open(saved, framework="pt") as file:
        assert file.metadata()["variant"] == "C8"


def test_half_precision_weights_are_loaded_as_float32(network: Network, tmp_path: Path) -> None:
    made = checkpoint.save(network, tmp_path, "half", input_spec=InputSpec(), training={}, dtype=torch.float16)
    assert made.size_bytes < 0.51 * 4 * network.variant.parameter_count() + 20_000
    loaded = checkpoint.load(made.path)
    for name, value in network.state_dict().items():
        assert loaded.state_dict()[name].dtype == torch.float32
        assert torch.equal(loaded.state_dict()[name], value.half().float()), name


def test_other_class_counts_are_kept(tmp_path: Path) -> None:
    made = checkpoint.save(build(variant("C8"), num_classes=5), tmp_path, "five", input_spec=InputSpec(), training={})
    assert checkpoint.load(made.path).num_classes == 5


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as refused:
        checkpoint.load(tmp_path / "C6.safetensors")
    assert str(refused.value) == (
        f"{tmp_path / 'C6.safetensors'} is missing. Expected weights as safetensors. Train them with lc2fer-train, "
        "or correct the path."
    )


def test_a_folder_in_the_place_of_weights_is_told_what_is_in_it(saved: Path, tmp_path: Path) -> None:
    folder = saved.parent
    with pytest.raises(ArtifactError) as refused:
        checkpoint.load(folder)
    assert str(refused.value) == f"{folder} is a folder. Expected a file, weights as safetensors. Pass {saved}."
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=r"empty is a folder\. .* There are none in it\. Correct the path\.$"):
        checkpoint.load(tmp_path / "empty")


@pytest.mark.parametrize("kept", [0, 4, 1000, -1])
def test_a_truncated_file_is_refused(saved: Path, kept: int) -> None:
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(ArtifactError) as refused:
        checkpoint.load(saved)
    assert str(refused.value).startswith(f"{saved} cannot be read as safetensors (")
    assert str(refused.value).endswith(
        "It may be truncated or of another format. Copy it again; pickled .pth files are not read."
    )


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return (open, (str(tmp_path / "trapped"), "w"))

    for name, content in (("raw.pth", pickle.dumps(Trap())), ("torch.pth", None)):
        path = tmp_path / name
        if content is None:
            torch.save(build(variant("C8")).state_dict(), path)
        else:
            path.write_bytes(content)
        with pytest.raises(ArtifactError, match=r"cannot be read as safetensors .* pickled \.pth files are not read\."):
            checkpoint.load(path)
    assert not (tmp_path / "trapped").exists()


def test_another_variant_is_refused(saved: Path) -> None:
    with pytest.raises(ArtifactError) as refused:
        checkpoint.load(saved, "C6")
    assert str(refused.value) == (f"{saved} holds C8. C6 was asked for. Pass --config C8, or other weights.")


def test_c2_and_c4_are_told_apart_by_their_header(tmp_path: Path) -> None:
    made = checkpoint.save(build(variant("C2")), tmp_path, "C2", input_spec=InputSpec(), training={})
    assert checkpoint.load(made.path).variant.downsamples[0] == (4, 4)
    with pytest.raises(ArtifactError, match=r"holds C2\. C4 was asked for\."):
        checkpoint.load(made.path, "C4")


def changed(saved: Path, name: str, value: torch.Tensor | None, header: dict[str, str] | None = None) -> Path:
    tensors = load_file(saved)
    if value is None:
        del tensors[name]
    else:
        tensors[name] = value
    save_file(tensors, saved, {"variant": "C8"} if header is None else header)
    return saved


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(saved: Path, bad: float) -> None:
    bias = torch.zeros(7)
    bias[3] = bad
    with pytest.raises(ArtifactError) as refused:
        checkpoint.load(changed(saved, "head.linear.bias", bias))
    assert str(refused.value) == (
        f"{saved} holds NaN or infinity in head.linear.bias. Finite weights were expected. Train it again."
    )


@pytest.mark.parametrize(
    ("name", "value", "found", "expected"),
    [
        ("head.norm.bias", torch.zeros(3), (3,), (160,)),
        ("head.norm.bias", None, None, (160,)),
        ("extra", torch.zeros(2), (2,), None),
        ("head.linear.bias", torch.zeros(5), (7, 160), (5, 160)),  # the bias says five classes, the weight seven
    ],
    ids=["shape", "missing", "extra", "classes"],
)
def test_tensors_that_do_not_fit_are_named(
    saved: Path, name: str, value: torch.Tensor | None, found: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    odd = "head.linear.weight" if name == "head.linear.bias" else name
    with pytest.raises(ArtifactError) as refused:
        checkpoint.load(changed(saved, name, value))
    assert str(refused.value) == (
        f"{saved} does not fit C8: {odd} has shape {found}. Expected {expected}. "
        "Pass the configuration that it was trained as."
    )


def test_a_file_without_a_header_needs_the_variant(saved: Path) -> None:
    changed(saved, "head.linear.bias", torch.zeros(7), header={})
    with pytest.raises(ArtifactError) as refused:
        checkpoint.load(saved)
    assert str(refused.value) == (
        f"{saved} does not say its variant. Expected one of C1, C2, C3, C4, C5, C6, C7, C8 in its header. "
        "Pass --config."
    )
    assert checkpoint.load(saved, "C8").variant.name == "C8"
    with pytest.raises(ArtifactError, match=r"does not fit C6: head\.linear\.weight has shape \(7, 160\)\. Expected"):
        checkpoint.load(saved, "C6")


def test_another_normalisation_is_refused(saved: Path) -> None:
    changed(saved, "head.linear.bias", torch.zeros(7), header={"variant": "C8", "mean": "0.5", "std": "0.2"})
    with pytest.raises(ArtifactError) as refused:
        checkpoint.load(saved)
    assert str(refused.value) == (
        f"{saved} was trained on (pixel - 0.5) / 0.2. This version normalises by 127.5 and 63.75. "
        "Use the version that trained it."
    )


def test_saving_over_a_checkpoint_replaces_it_and_leaves_no_litter(saved: Path) -> None:
    checkpoint.save(build(variant("C8")), saved.parent, "mine", input_spec=InputSpec(), training={"epoch": 4})
    made = artifacts.load(saved)
    assert made.training == {"epoch": 4}
    assert sorted(path.name for path in saved.parent.iterdir()) == ["mine.json", "mine.safetensors"]


def test_no_weights_come_for_an_unknown_name() -> None:
    assert artifacts.bundled("C9") is None
