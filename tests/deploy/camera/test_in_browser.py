"""The folder by which viewers' browsers judge their own pictures: what of it is served to whom."""

import json

import pytest
from client import ask
from film import TOKEN

from lc2fer.errors import UsageError
from lc2fer.inputs import LABELS

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
web = pytest.importorskip("lc2fer.deploy.camera.web")


@pytest.fixture
def folder(tmp_path):
    """As web-int8 lies there, but for what is in its files."""
    its = tmp_path / "C6-web-int8"
    (its / "ort").mkdir(parents=True)
    for name in ("engine.js", "parts.json", "face_finder.onnx", "model.lc2", "kernels.wasm", "ort/ort.mjs"):
        (its / name).write_text(name)
    (its / "model.json").write_text(json.dumps({"input_spec": {"labels": list(LABELS)}}))
    (tmp_path / "secret").write_text("not for viewers")
    return its


def test_the_engine_for_browsers(film, folder):
    """Its code comes without the token, which no page can send with an import; its models do not."""
    with web.serve(film, ("127.0.0.1", 0), TOKEN, folder) as server:
        for path in ("engine/engine.js", "engine/ort/ort.mjs", "engine/kernels.wasm"):
            status, headers, body = ask(server, path)
            assert (status, body.decode()) == (200, path.removeprefix("engine/"))
            assert headers["Cache-Control"] == "no-cache"
            assert "; script-src 'self' 'wasm-unsafe-eval'; style-src 'self';" in headers["Content-Security-Policy"]
        told = {"Authorization": f"Bearer {TOKEN}"}
        for path in ("engine/model.lc2", "engine/model.json", "engine/face_finder.onnx"):
            assert ask(server, path)[0] == 401
            assert ask(server, path, **told)[0] == 200
        for path in ("engine/../secret", "engine/%2e%2e/secret", "engine/..%2fsecret", "engine/ort"):
            assert ask(server, path, **told)[0] == 404
        assert json.loads(ask(server, "api/status", **told)[2])["engine"] is True


def test_without_an_engine_nothing_of_it_is_served(served):
    _status, headers, body = ask(served, "api/status")
    assert json.loads(body)["engine"] is False
    assert "wasm" not in headers["Content-Security-Policy"]
    assert ask(served, "engine/engine.js")[0] == 404


def test_another_folder_than_the_engines(folder):
    web.check_engine(folder, LABELS)
    with pytest.raises(UsageError) as other:
        web.check_engine(folder, ("yes", "no"))
    assert str(other.value) == (
        f"{folder} is for {', '.join(LABELS)}. The classes of the model that runs were expected: yes, no. Export "
        "web-int8 of the same weights."
    )
    (folder / "engine.js").unlink()
    with pytest.raises(
        UsageError, match=r"has no engine.js. The folder that lc2fer-export --target web-int8 wrote was"
    ):
        web.check_engine(folder, LABELS)
    (folder / "model.json").write_text("[]")
    with pytest.raises(UsageError, match=r"has no model.json that says its classes .* Name it."):
        web.check_engine(folder, LABELS)
