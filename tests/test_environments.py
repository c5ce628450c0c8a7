"""Environments for peers: real ones, of a package that is made here and installed without any network."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path
from threading import Event, Thread
from types import MappingProxyType
from typing import Any

import pytest

from lc2fer import environments
from lc2fer.environments import ENVIRONMENTS, Environment
from lc2fer.errors import TargetUnavailable
from lc2fer.storage import alone
from lc2fer.targets import KINDS, PEERS


def write_wheel(folder: Path) -> None:
    """A package "peer" that tells which tabulate it meets, and one of that name that says "its own"."""
    folder.mkdir()
    for name, content in (("peer", "import rich, tabulate, lc2fer\n"), ("tabulate", "WHOSE = 'its own'\n")):
        info = f"{name}-99.0.dist-info"
        with zipfile.ZipFile(folder / f"{name}-99.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", content)
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 99.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_wheel(tmp_path / "wheels")
    wanted = {"peer": Environment(("peer==99.0", "tabulate==99.0"), 7, 3), "gone": Environment(("peer==98.0",), 1, 1)}
    monkeypatch.setattr(environments, "ENVIRONMENTS", MappingProxyType(wanted))
    monkeypatch.setenv("LC2FER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


def test_an_environment_has_its_own_packages_before_ours(offline: None, tmp_path: Path) -> None:
    said: list[str] = []
    python = environments.interpreter("peer")
    assert python.is_relative_to(tmp_path / "cache" / "peers")
    environments.make("peer", said.append)
    assert said == [
        f"Installing peer==99.0, tabulate==99.0 into {python.parents[1]}, an environment of their own: 7 MB and, on a "
        "fast line, 3 s, once. Remove the folder to be rid of them."
    ]
    environments.make("peer", said.append)
    assert len(said) == 1
    program = "import peer; print(peer.tabulate.WHOSE, peer.lc2fer.__file__, peer.rich.__file__)"
    found = subprocess.run([str(python), "-c", program], capture_output=True, text=True, cwd="/", check=True).stdout
    import rich

    import lc2fer

    assert found.split() == ["its", "own", lc2fer.__file__, rich.__file__]


def test_what_pip_cannot_install_is_told_and_leaves_nothing(offline: None, tmp_path: Path) -> None:
    with pytest.raises(TargetUnavailable) as refused:
        environments.make("gone", lambda text: None)
    assert str(refused.value).startswith(
        "gone cannot be installed: No matching distribution found for peer==98.0. peer==98.0 were expected from pip,"
    )
    assert list((tmp_path / "cache" / "peers").iterdir()) == []


def test_two_that_ask_at_once_install_it_once(offline: None) -> None:
    """The second waits for the first, and says so."""
    said: list[str] = []
    asked = Event()

    def say(text: str) -> None:
        said.append(text)
        asked.set()

    python = environments.interpreter("peer")
    with alone(python.parents[2], "installation of peers"):
        second = Thread(target=environments.make, args=("peer", say))
        second.start()
        assert asked.wait(20)
        python.parents[1].mkdir(parents=True)
        (python.parents[1] / environments._COMPLETE).touch()
    second.join(20)
    assert not second.is_alive()
    assert said == [f"Another installation of peers writes into {python.parents[2]} now: waiting for it."]


def test_a_python_without_pip_is_told_so(offline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As uv makes them."""
    run = subprocess.run

    def without_pip(command: list[str], **options: Any) -> Any:
        if "pip" in command:
            text = "/usr/bin/python3: No module named pip\n"
            return subprocess.CompletedProcess(command, 1, "", text)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", without_pip)
    with pytest.raises(TargetUnavailable, match=r"^peer cannot be installed: /usr/bin/python3: No module named pip\. "):
        environments.make("peer", lambda text: None)


def test_every_peer_has_pinned_packages_and_its_target() -> None:
    assert list(ENVIRONMENTS) == list(PEERS)
    for kind, targets in PEERS.items():
        assert targets[:2] == (f"stock-{kind}-fp32", f"stock-{kind}-int8")
        assert targets[2:] in ((), (f"stock-{kind}-int8-conv",))
        assert KINDS[kind].package in environments.versions(kind)
    assert environments.versions("onnx") == {}
    assert len({kind.suffix for kind in KINDS.values()}) == len(KINDS)  # which tells a peer's module its kind
