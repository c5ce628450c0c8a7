"""What can be known of the images and of docs/jetson.md where there is no Docker and no Jetson."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from lc2fer.deploy import command
from lc2fer.deploy.camera import web
from lc2fer.deploy.camera.scene import Status

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
TOKEN = "correct-horse-battery"
JETSONS = [path for path in DOCKERFILES if path.name.startswith("jetson")]


def instructions(path: Path) -> list[tuple[str, str]]:
    """Each instruction and its arguments, continued lines joined and comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = [re.match(r"([A-Z]+)\s+(.*)", line) for line in joined.splitlines() if line.strip()]
    assert all(found), f"{path.name} has a line that is no instruction"
    return [(match[1], match[2]) for match in found if match is not None]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_is_pinned_and_does_not_run_as_root(path: Path) -> None:
    found = instructions(path)
    bases = [arguments.split()[0] for name, arguments in found if name == "FROM"]
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]+", base) and not base.endswith(":latest") for base in bases)
    last = max(place for place, (name, _) in enumerate(found) if name == "FROM")
    final = found[last:]
    assert [arguments for name, arguments in final if name == "USER"] == ["10001"]
    assert any(name == "RUN" and "useradd --create-home --uid 10001" in arguments for name, arguments in final)
    assert any(name == "ENTRYPOINT" for name, _ in final)
    said = path.read_text().replace("\n#", "")
    assert "have not built" in said  # nor is it claimed that anybody did
    assert (path.parent / f"{path.name}.dockerignore").is_file()


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_packages_come_in_the_tested_versions(path: Path, pyproject: dict[str, Any]) -> None:
    text = path.read_text()
    for call in re.findall(r"pip install [^&\n]*", re.sub(r"\\\n\s*", " ", text)):
        assert " -c " in call, f"{path.name} installs without constraints.txt: {call}"
    for extras in re.findall(r"\.whl\)\[([\w,]+)\]", text):
        assert set(extras.split(",")) <= set(pyproject["project"]["optional-dependencies"])


@pytest.mark.parametrize("path", JETSONS, ids=lambda path: path.name)
def test_a_jetsons_image_takes_a_bundle(path: Path) -> None:
    assert dict(instructions(path))["COPY"] == "${BUNDLE} /opt/lc2fer/lc2fer.bundle"
    assert (path.parent / f"{path.name}.dockerignore").read_text() == "*\n!*.bundle\n"
    assert "torch" not in path.read_text()


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    tool = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([str(tool), "--failure-threshold", "style", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@pytest.fixture
def services() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    found: dict[str, Any] = document["services"]
    return found


def test_compose_opens_the_page_to_this_machine_alone(services: dict[str, Any]) -> None:
    assert set(services) == {"cpu", "jetson6", "jetson7"}
    for name, service in services.items():
        assert service["profiles"] == [name]
        assert service["ports"] == ["127.0.0.1:8000:8000"]
        assert service["cap_drop"] == ["ALL"]
        context = (ROOT / "docker" / service["build"]["context"]).resolve()
        assert (context / service["build"]["dockerfile"]).resolve() == ROOT / "docker" / f"{name}.Dockerfile"
        assert "LC2FER_TOKEN:?" in service["environment"]["LC2FER_TOKEN"]
    assert services["cpu"]["read_only"] is True  # what it keeps lies in the volume
    assert services["cpu"]["environment"]["LC2FER_CACHE"].startswith("/home/lc2fer/engines/")
    assert services["cpu"]["tmpfs"] == ["/tmp"]


def test_composes_health_check_asks_the_page(services: dict[str, Any], unused_port: int) -> None:
    """The very command, against a page that answers, one that asks for another token, and none."""
    kind, program, *arguments = services["jetson6"]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "python3")
    arguments[-1] = arguments[-1].replace(":8000/", f":{unused_port}/")

    def healthy(token: str) -> bool:
        environment = {**os.environ, "LC2FER_TOKEN": token}
        return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True).returncode == 0

    nothing: Any = SimpleNamespace(
        labels=("a",),
        status=lambda: Status("none", "There is no camera."),
        facts=dict,
        picture=None,
        judge=None,
        sources=dict,
    )
    assert not healthy(TOKEN)
    with web.serve(nothing, ("127.0.0.1", unused_port), TOKEN):
        assert healthy(TOKEN)
        assert not healthy(TOKEN[::-1])


@pytest.mark.parametrize("name", ["docs/jetson.md", "docker/compose.yaml"])
def test_every_command_that_is_named_is_understood(name: str) -> None:
    """The verbs and flags of lc2fer-deploy, as they stand there, are those of its parser."""
    parser = command.parser()
    text = (ROOT / name).read_text().replace(" &&", "\n")
    if name.endswith(".yaml"):
        text = re.sub(r"(?m)^#.*$", "", text)
    calls = re.findall(r"lc2fer-deploy ((?:bundle|build|run|bench|doctor|verify|unpack) [^\n`#|]+)", text)
    assert len(calls) >= 2
    for call in calls:
        words = shlex.split(call.replace("...", "MODEL").split(",")[0])
        if (len(words) > 1 and words[1][0] in "-/$") or words[0] == "bundle":
            parser.parse_args(words)
