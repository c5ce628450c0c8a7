"""A bundle as an archive, made by hand: what is in it comes out, what is not named is refused, and who signed it."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archives import SIZE, written
from lc2fer.deploy.device import bundle, packing, signing

from lc2fer.errors import ArtifactError, UsageError

INSTALL = Path(bundle.__file__).parents[1] / "scripts" / "install.sh"
Change = Callable[[dict[str, bytes]], object]


def pem(folder: Path, name: str, *arguments: str) -> tuple[Path, Path]:
    """A private key and its public one, made by openssl as the docs say."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here")
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    subprocess.run(["openssl", "genpkey", *arguments, "-out", str(private)], check=True, capture_output=True)
    subprocess.run(
        ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)], check=True, capture_output=True
    )
    return private, public


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return pem(tmp_path_factory.mktemp("keys"), "mine", "-algorithm", "ed25519")


def changed(path: Path, change: Change) -> Path:
    """The bundle with other members, in their order; what is at "first" comes first."""
    with tarfile.open(path) as tar:
        members = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
    change(members)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def fields(**more: Any) -> Change:
    def change(members: dict[str, bytes]) -> None:
        members[bundle.MANIFEST] = json.dumps({**json.loads(members[bundle.MANIFEST]), **more}).encode()

    return change


def refused(path: Path, *key: Path) -> str:
    with pytest.raises(ArtifactError) as told, bundle.opened(path, *key):
        pass
    text = str(told.value)
    assert text.startswith(str(path))
    return text.removeprefix(str(path))


# -- signatures --------------------------------------------------------------------------------------------------------


def test_a_signed_bundle_opens_with_its_owners_key_and_without_any(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    path = written(tmp_path, keys[0])
    for key in ((), (keys[1],)):
        with bundle.opened(path, *key) as opened:
            assert opened.variant == "C8"
        assert bundle.unpack(path, tmp_path / f"there{len(key)}", *key).parent_sha256 == "ab"
        assert bundle.load(tmp_path / f"there{len(key)}", keys[1]).parent_sha256 == "ab"


def test_the_same_key_and_files_give_the_same_bytes(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    assert written(tmp_path / "a", keys[0]).read_bytes() == written(tmp_path / "b", keys[0]).read_bytes()


def test_what_was_changed_after_it_was_signed_is_refused(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    path = changed(written(tmp_path, keys[0]), fields(variant="C6"))
    with bundle.opened(path) as opened:  # without a key it is a bundle like others
        assert opened.variant == "C6"
    assert refused(path, keys[1]) == (
        f" was not signed by the owner of {keys[1]}, or was changed since. Their signature was expected. Do not use it."
    )


def test_a_file_of_a_signed_bundle_cannot_be_exchanged(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    path = changed(written(tmp_path, keys[0]), lambda members: members.update({"a.onnx": b"other"}))
    assert refused(path, keys[1]).startswith(": 'a.onnx' is not what bundle.json describes.")


@pytest.mark.parametrize("signature", [None, b"short", bytes(65)])
def test_a_bundle_without_a_signature_is_refused_where_one_is_wanted(
    tmp_path: Path, keys: tuple[Path, Path], signature: bytes | None
) -> None:
    path = written(tmp_path)
    if signature is not None:
        changed(path, lambda members: members.update({bundle.SIGNATURE: signature}))
        assert "'bundle.sig' is not what bundle.json describes" in refused(path)
    assert refused(path, keys[1]) == (
        f" is not signed. A signature of the owner of {keys[1]} was expected. Ask who made it for a signed one: "
        "lc2fer-deploy bundle --sign."
    )


def test_anothers_signature_is_none(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    other = pem(tmp_path, "other", "-algorithm", "ed25519")
    assert refused(written(tmp_path, other[0]), keys[1]).startswith(" was not signed by the owner of ")


def test_an_unpacked_bundle_keeps_its_signature(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    folder = tmp_path / "there"
    bundle.unpack(written(tmp_path / "a"), folder)
    with pytest.raises(ArtifactError, match="is not signed"):
        bundle.load(folder, keys[1])
    (folder / "built.engine").write_bytes(b"engine")
    bundle.unpack(written(tmp_path / "b", keys[0]), folder, keys[1])  # the same files, signed by now
    assert bundle.load(folder, keys[1]).variant == "C8"
    assert (folder / "built.engine").is_file()
    (folder / bundle.SIGNATURE).write_bytes(bytes(64))
    with pytest.raises(ArtifactError, match="was not signed by the owner"):
        bundle.load(folder, keys[1])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "{key} is missing. A private key in PEM was expected. Check the path."),
        (b"", "{key} holds no private key that can be read ("),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "{key} holds no private key that can be"),
    ],
)
def test_a_key_that_is_none_is_told(tmp_path: Path, content: bytes | None, text: str) -> None:
    key = tmp_path / "key.pem"
    if content is not None:
        key.write_bytes(content)
    with pytest.raises(UsageError) as told:
        signing.sign(b"x", key)
    assert str(told.value).startswith(text.format(key=key))


def test_a_key_of_another_kind_or_side_is_told(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    curve = pem(tmp_path, "curve", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    with pytest.raises(UsageError, match=r"a key of another kind \(EC.*\)\. An Ed25519 private key was expected"):
        signing.sign(b"x", curve[0])
    rare = pem(tmp_path, "rare", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime239v1")
    with pytest.raises(UsageError, match=r"holds no private key that can be read \(.*Curve .* is not supported\)\. "):
        signing.sign(b"x", rare[0])
    with pytest.raises(UsageError, match="holds no public key that can be read"):
        signing.check(b"x", bytes(64), keys[0], "it")
    assert not (tmp_path / "C8.bundle").exists()


@pytest.mark.parametrize("what", ["good", "changed", "unsigned", "other", "no key"])
def test_the_installer_checks_the_signature_first(tmp_path: Path, keys: tuple[Path, Path], what: str) -> None:
    path = written(tmp_path, None if what == "unsigned" else keys[0])
    if what == "changed":
        changed(path, fields(variant="C6"))
    key = pem(tmp_path, "other", "-algorithm", "ed25519")[1] if what == "other" else keys[1]
    key = tmp_path / "none.pub" if what == "no key" else key
    command = ["bash", str(INSTALL), str(path), "--key", str(key), "--prefix", str(tmp_path / "at"), "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    expected = {
        "good": (0, ""),
        "changed": (
            2,
            f"{path} was not signed by the owner of {key}, or was changed since. Their signature was expected. ",
        ),
        "unsigned": (2, f"{path} is not signed. A signature of the owner of {key} was expected. "),
        "other": (2, f"{path} was not signed by the owner of {key}, or was changed since. "),
        "no key": (2, f"{key} is missing. A public key in PEM was expected. "),
    }
    assert done.returncode == expected[what][0], done.stderr
    assert done.stderr.startswith(expected[what][1])
    assert not (tmp_path / "at").exists()
    assert not list(tmp_path.glob("tmp.*"))


def test_the_installer_takes_a_bundle_that_is_called_by_the_time(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    """GNU's tar takes what is before a colon for another computer."""
    written(tmp_path, keys[0]).rename(tmp_path / "12:30.bundle")
    place = str(tmp_path / "at")
    command = ["bash", str(INSTALL), "12:30.bundle", "--key", str(keys[1]), "--prefix", place, "--dry-run"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


# -- what is not named -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda members: members.update(extra=b"x"), ": 'extra' is not what bundle.json describes."),
        (lambda members: members.pop("a.onnx"), ": 'a.onnx' is not what bundle.json describes."),
        (lambda members: members.update({"a.onnx": b"modem"}), ": 'a.onnx' is not what bundle.json describes."),
        (fields(format=2), " is a bundle of format 2."),
        (fields(format=0), " is a bundle of format 0."),
        (fields(models=[]), " lacks models."),
        (fields(models=[{"file": "b.onnx", "sqnr_db": 1}]), " lacks b.onnx."),
        (fields(files=[]), " lacks a.onnx, golden.images, golden.logits."),
        (fields(files=None), " has a damaged bundle.json ("),
        (fields(files=[{"name": "a", "sha256": "b", "size_bytes": 1e999}]), " has a damaged bundle.json ("),
        (fields(files=[{"name": "a", "sha256": "b", "size_bytes": -1}]), " claims 1 files of -1 bytes."),
        (
            fields(files=[{"name": "a", "sha256": "b", "size_bytes": 200_000_001}]),
            " claims 1 files of 200,000,001 ",
        ),
        (fields(files=[{"name": f"a{n}", "sha256": "", "size_bytes": 0} for n in range(65)]), " claims 65 files of 0 "),
        *(
            (fields(files=[{"name": name, "sha256": "", "size_bytes": 0}]), f" names the file {name!r}.")
            for name in ("", ".", "..", "a/b", "/a", "a\\b", "a\n", "bundle.json", "bundle.sig", "a" * 100)
        ),
    ],
)
def test_what_does_not_belong_there_is_refused(tmp_path: Path, change: Change, text: str) -> None:
    assert refused(changed(written(tmp_path), change)).startswith(text)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_member_that_is_no_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    path = written(tmp_path)
    with tarfile.open(path) as tar:
        members = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name == "a.onnx":
                info.type, info.size, info.linkname = kind, 0, "/etc/passwd"
            tar.addfile(info, io.BytesIO(content))
    assert refused(path).startswith(": 'a.onnx' is not what bundle.json describes.")


@pytest.mark.parametrize(("images", "logits"), [(SIZE * SIZE * 3 - 1, 7), (SIZE * SIZE * 3 * 2, 7), (0, 0), (0, 6)])
def test_golden_faces_that_do_not_belong_together_are_refused(tmp_path: Path, images: int, logits: int) -> None:
    members = {bundle.IMAGES: bytes(images), bundle.LOGITS: bytes(4 * logits)}
    text = r"which do not belong together\. Expected 192 bytes and 7 logits a face"
    with bundle.opened(written(tmp_path, **members)) as opened, pytest.raises(ArtifactError, match=text):
        _ = opened.golden


def test_golden_faces_come_back_as_they_were(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    logits = np.arange(14, dtype="<f4").reshape(2, 7)
    members = {bundle.IMAGES: pixels.tobytes(), bundle.LOGITS: logits.tobytes()}
    with bundle.opened(written(tmp_path, **members)) as opened:
        images, answers = opened.golden
    assert (images.dtype, answers.dtype) == (np.float32, np.float32)
    assert np.array_equal(images, pixels.transpose(0, 3, 1, 2))
    assert np.array_equal(answers, logits)


def test_members_stand_in_the_order_of_their_names_without_times_or_owners(tmp_path: Path) -> None:
    with tarfile.open(written(tmp_path, z=b"z", b=b"b")) as tar:
        members = list(tar)
    assert [one.name for one in members] == [bundle.MANIFEST, "a.onnx", "b", bundle.IMAGES, bundle.LOGITS, "z"]
    assert {(one.mode, one.mtime, one.uid, one.uname) for one in members} == {(0o644, 0, 0, "")}


def test_the_largest_bundle_that_may_be(tmp_path: Path) -> None:
    """One file more, or one byte, and it is refused: above."""
    names = [f"{n:a>99}" for n in range(64)]
    files = [{"name": name, "sha256": "", "size_bytes": 200_000_000 if name == names[0] else 0} for name in names]
    assert refused(changed(written(tmp_path), fields(files=files))).startswith(" lacks a.onnx, golden.images, ")


@pytest.mark.parametrize("twice", ["a.onnx", bundle.IMAGES])
def test_a_name_that_stands_there_twice_is_refused(tmp_path: Path, twice: str) -> None:
    def change(members: dict[str, bytes]) -> None:
        files = json.loads(members[bundle.MANIFEST])["files"]
        fields(files=[*files, *(one for one in files if one["name"] == twice)])(members)

    assert "Expected plain names, each once. Do not use this bundle." in refused(changed(written(tmp_path), change))


def first(name: str) -> Change:
    def change(members: dict[str, bytes]) -> None:
        rest = dict(members)
        members.clear()
        members.update({name: rest.pop(name, b"x"), **rest})

    return change


@pytest.mark.parametrize(
    "change", [first("a.onnx"), first("other"), lambda members: members.clear(), fields(more="x" * 1_000_000)]
)
def test_what_does_not_begin_with_its_manifest_is_no_bundle(tmp_path: Path, change: Change) -> None:
    path = changed(written(tmp_path), change)
    assert refused(path) == " does not begin with bundle.json. Expected a bundle of lc2fer-deploy. Make it again."


def test_a_signature_is_looked_for_after_the_manifest_and_nowhere_else(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    path = written(tmp_path, keys[0])

    def last(members: dict[str, bytes]) -> None:
        members[bundle.SIGNATURE] = members.pop(bundle.SIGNATURE)

    changed(path, last)
    assert refused(path).startswith(": 'bundle.sig' is not what bundle.json describes.")
    assert " is not signed. " in refused(path, keys[1])


@pytest.mark.parametrize("left", [400, 20_000, 1])
def test_a_bundle_that_was_cut_short_is_refused(tmp_path: Path, left: int) -> None:
    path = written(tmp_path, z=bytes(40_000))
    path.write_bytes(path.read_bytes()[:left])
    assert "is not what bundle.json describes" in (text := refused(path)) or "cannot be read as a bundle (" in text


def test_no_bundle_at_all(tmp_path: Path) -> None:
    assert refused(tmp_path / "C8.bundle").startswith(" is missing. Expected a bundle. Make one where the weights are")
    (tmp_path / "C8-ort-fp32.onnx").write_bytes(b"x")
    assert refused(tmp_path / "C8-ort-fp32.onnx").startswith(" is a model's file. Expected a bundle. Name the bundle;")
    assert refused(tmp_path).startswith(
        " holds no bundle.json. Expected an unpacked bundle. Name the bundle's own file"
    )


def test_a_key_that_is_missing_is_told_before_the_models_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*arguments: object, **options: object) -> None:
        raise AssertionError("minutes of work")

    monkeypatch.setattr(packing, "exporter", work)
    with pytest.raises(UsageError, match=r"key.pem is missing. A private key in PEM was expected. Check the path."):
        packing.make(
            "C8", tmp_path, weights=None, data="synthetic", images="aligned", key=tmp_path / "key.pem", say=print
        )
