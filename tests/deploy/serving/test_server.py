"""A served model, asked by NVIDIA's own client, and by those who do not know the protocol."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from lc2fer import cli, open_session
from lc2fer.artifact import Artifact
from lc2fer.errors import UsageError
from lc2fer.inputs import LABELS
from lc2fer.session import Session

triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed here")
serving = pytest.importorskip("lc2fer.deploy.serving.server", reason="lc2fer[serve] is not installed here")

TOKEN = "a-token-of-sixteen-signs"


@pytest.fixture(scope="module")
def session(model: Path) -> Iterator[Session]:
    with open_session(model, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def served(session: Session) -> Iterator[Any]:
    with serving.Server(session, "faces", ("127.0.0.1", 0), None, serving.Limits(8, 16, 5.0)) as server:
        yield server


@pytest.fixture
def client(served: Any) -> Iterator[Any]:
    with triton.InferenceServerClient(served.url.removeprefix("http://"), concurrency=4) as opened:
        yield opened


@pytest.fixture(scope="module")
def images() -> NDArray[np.float32]:
    return np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32)).astype(np.float32)


def given(images: NDArray[Any], kind: str = "FP32", *, binary: bool = True) -> list[Any]:
    asked = triton.InferInput("pixels", list(images.shape), kind)
    asked.set_data_from_numpy(images, binary_data=binary)
    return [asked]


def test_the_client_finds_a_server_and_its_model(client: Any, session: Session) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("faces")
    assert client.is_model_ready("faces", "1")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data", "classification"]
    told = client.get_model_metadata("faces")
    assert (told["name"], told["versions"], told["platform"]) == ("faces", ["1"], "onnxruntime_onnx")
    assert told["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, 3, 32, 32]}]
    assert told["outputs"][0]["shape"] == [-1, 7]
    assert told["outputs"][0]["parameters"] == {"labels": list(LABELS)}
    assert told["parameters"]["sha256"] == session.artifact.sha256
    assert client.get_model_config("faces")["max_batch_size"] == 8
    assert client.get_model_repository_index() == [{"name": "faces", "version": "1", "state": "READY", "reason": ""}]


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False])
def test_binary_and_json_give_the_sessions_logits(
    client: Any, session: Session, images: NDArray[np.float32], binary_input: bool, binary_output: bool
) -> None:
    outputs = [triton.InferRequestedOutput("logits", binary_data=binary_output)]
    answer = client.infer("faces", given(images, binary=binary_input), outputs=outputs, request_id="seven")
    assert np.array_equal(answer.as_numpy("logits"), session.run(images))
    told = answer.get_response()
    assert (told["model_name"], told["model_version"], told["id"]) == ("faces", "1", "seven")


def test_bytes_of_a_picture_are_taken_as_they_are(client: Any, session: Session, images: NDArray[np.float32]) -> None:
    answer = client.infer("faces", given(images[:2].astype(np.uint8), "UINT8"))
    assert np.array_equal(answer.as_numpy("logits"), session.run(images[:2]))


def test_the_best_labels_can_be_asked_for(client: Any, session: Session, images: NDArray[np.float32]) -> None:
    logits = session.run(images)
    for binary in (True, False):
        outputs = [triton.InferRequestedOutput("logits", binary_data=binary, class_count=2)]
        found = client.infer("faces", given(images), outputs=outputs).as_numpy("logits")
        assert found.shape == (5, 2)
        texts = [each.decode() if isinstance(each, bytes) else each for each in found[:, 0]]
        for text, row in zip(texts, logits):
            value, place, label = text.split(":")
            assert (int(place), label) == (int(row.argmax()), LABELS[row.argmax()])
            assert float(value) == pytest.approx(row.max(), abs=1e-5)


def test_many_clients_get_their_own_answers(served: Any, session: Session, images: NDArray[np.float32]) -> None:
    wanted = session.run(images)
    wrong: list[int] = []

    def ask(place: int) -> None:  # a client a thread, as its makers want it
        with triton.InferenceServerClient(served.url.removeprefix("http://")) as client:
            for _ in range(5):
                found = client.infer("faces", given(images[place : place + 1])).as_numpy("logits")
                if not np.array_equal(found, wanted[place : place + 1]):
                    wrong.append(place)

    threads = [threading.Thread(target=ask, args=(place % 5,)) for place in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def post(served: Any, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=30)
    connection.request("POST", "/v2/models/faces/infer", body, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def asking(**fields: Any) -> bytes:
    one = {"name": "pixels", "datatype": "FP32", "shape": [1, 3, 32, 32], "data": [0] * 3072}
    return json.dumps({"inputs": [{**one, **fields}]}).encode()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "The request's 1 bytes are no JSON. Expected KServe's inference request."),
        (b"[]", "The request is no JSON object. Expected inputs and outputs."),
        (b"[" * 100_000, "The request's 100,000 bytes are no JSON."),
        (b"{}", "The request has the inputs None. Expected one, 'pixels'. Send it alone."),
        (asking(name="image"), "The input is 'image', FP32' [1, 3, 32, 32]."),
        (asking(shape=[1, 3, 32, 31]), "The input's data are 3,072 numbers. Expected 2,976 for [1, 3, 32, 31]."),
        (
            asking(shape=[1, 3, 16, 64]),
            "C8-onnx-fp32 was given float32 [1, 3, 16, 64]. Expected float32 [N, 3, 32, 32]",
        ),
        (asking(shape=[0, 3, 32, 32]), "Expected 'pixels', FP32 or UINT8 [N, 3, 32, 32]."),
        (asking(shape=[1 << 23] * 8), "The input's data are 3,072 numbers."),
        (asking(data=[[1, 2], [3]]), "The input's data are no numbers. Expected 3,072 of FP32 for [1, 3, 32, 32]."),
        (asking(data=["1"] * 3072), "The input's data are no numbers. Expected 3,072 of FP32 for [1, 3, 32, 32]."),
        (asking(data=[True] * 3072), "The input's data are no numbers."),
        (asking(data=[10**400] + [0] * 3071), "The input's data are no numbers."),
        (asking(data=[0.5] * 3072, datatype="UINT8"), "The input's data are no whole numbers. Expected 3,072 of UINT8"),
        (
            asking(data=np.zeros((1, 32, 32, 3)).tolist()),
            "are 3,072 numbers in [1, 32, 32, 3]. Expected 3,072 for [1, 3,",
        ),
        (asking(data=[300] * 3072), "was given values from 300 to 300. Expected raw RGB pixels, 0..255"),
        (asking(data=[float("nan")] * 3072), "was given values that are not finite"),
        (asking(parameters={"binary_data_size": 5}), "The input has 5 binary bytes, and 0 came. Expected 12,288"),
        (asking()[:-1] + b',"outputs":[{"name":"x"}]}', "There is no output 'x'. Expected 'logits'. Ask for it."),
        (asking()[:-1] + b',"parameters":{"timeout":-1}}', "The timeout is -1. Expected microseconds, more than 0."),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(served: Any, body: bytes, text: str) -> None:
    status, answer = post(served, body)
    assert status == 400
    assert text.replace("FP32'", "'FP32'") in answer["error"]


def test_too_much_is_refused_before_it_is_read(served: Any) -> None:
    assert post(served, b" " * (16 * 16 * 3072 + 70_000))[0] == 413
    many = np.zeros((17, 3, 32, 32), np.uint8)
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "pixels",
                    "datatype": "UINT8",
                    "shape": list(many.shape),
                    "parameters": {"binary_data_size": many.nbytes},
                }
            ]
        }
    ).encode()
    status, answer = post(served, head + many.tobytes(), **{"Inference-Header-Content-Length": str(len(head))})
    assert (status, answer["error"]) == (413, "17 images came. Expected at most 16. Send them in parts.")
    status, answer = post(served, b"x", **{"Inference-Header-Content-Length": "many"})
    assert (status, answer["error"].split(". ")[1]) == (400, "Expected a number of bytes")
    assert post(served, b"x", **{"Content-Encoding": "gzip"})[0] == 415


class Slow:
    """A session that answers when it is let."""

    def __init__(self, session: Session) -> None:
        self.artifact = session.artifact
        self.begun = threading.Event()
        self.free = threading.Event()
        self._session = session

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        self.begun.set()
        assert self.free.wait(30)
        return self._session.run(batch)


def test_a_body_that_does_not_arrive_is_not_waited_for(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_UPLOAD_S", 0.3)
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as slow:
        slow.sendall(b"POST /v2/models/faces/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab")
        answer = b""
        while part := slow.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"The body did not come whole in 0.3 s. Expected it sooner. Send fewer images at once." in answer


def test_a_full_queue_and_a_late_answer_have_their_status(session: Session, images: NDArray[np.float32]) -> None:
    slow: Any = Slow(session)
    with serving.Server(slow, "faces", ("127.0.0.1", 0), None, serving.Limits(1, 1, 30.0)) as server:
        place = server.url.removeprefix("http://")

        def ask(found: list[Any], timeout: int | None = None) -> threading.Thread:
            def call() -> None:
                with triton.InferenceServerClient(place) as client:
                    try:
                        answer = client.infer("faces", given(images[:1]), timeout=timeout)
                        found.append(answer.as_numpy("logits"))
                    except triton.InferenceServerException as error:
                        found.append(str(error))

            thread = threading.Thread(target=call)
            thread.start()
            return thread

        runs: list[Any] = []
        waits: list[Any] = []
        first = ask(runs)
        assert slow.begun.wait(30)
        second = ask(waits, timeout=100_000)
        _until(lambda: server.queue.images == 1)
        refused: list[Any] = []
        ask(refused).join(30)
        assert refused == [
            "[503] 1 images wait, and no more than 1 may. Expected fewer. Try again after the seconds of Retry-After."
        ]
        assert post(server, asking())[0] == 503
        threading.Event().wait(0.15)  # until the second's 0.1 s are over
        slow.free.set()
        for thread in (first, second):
            thread.join(30)
        assert np.array_equal(runs[0], session.run(images[:1]))
        assert waits == ["[504] No session was free within 0.1 s. Expected one sooner. Try again, or allow more time."]
        text = server.metrics.text().decode()
        assert 'lc2fer_requests_total{model="faces",status="503"} 2.0' in text
        assert server.metrics.document() == {"requests": {"200": 1, "503": 2, "504": 1}, "images": 1}


def _until(holds: Any) -> None:
    for _ in range(1000):
        if holds():
            return
        threading.Event().wait(0.01)
    pytest.fail("it never came to be")


def test_prometheus_reads_the_figures(client: Any, served: Any, images: NDArray[np.float32]) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    client.infer("faces", given(images))
    connection = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=30)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    found = {
        (sample.name, sample.labels.get("le"), sample.labels.get("status")): sample.value
        for family in text_string_to_metric_families(answer.read().decode())
        for sample in family.samples
    }
    assert found["lc2fer_requests_total", None, "200"] >= 1
    assert found["lc2fer_images_total", None, None] >= 5
    assert found["lc2fer_batch_images_count", None, None] >= 1
    assert found["lc2fer_batch_images_bucket", "8.0", None] == found["lc2fer_batch_images_count", None, None]
    assert found["lc2fer_queue_images", None, None] == 0
    assert found["process_resident_memory_bytes", None, None] > 1e7


def test_without_the_token_only_health_is_told(session: Session, images: NDArray[np.float32]) -> None:
    with (
        serving.Server(session, "faces", ("127.0.0.1", 0), TOKEN) as server,
        triton.InferenceServerClient(server.url.removeprefix("http://")) as client,
    ):
        assert client.is_server_ready()
        with pytest.raises(triton.InferenceServerException, match=r"The request has no token\. Expected the one of"):
            client.get_model_metadata("faces")
        with pytest.raises(triton.InferenceServerException, match=r"The token is wrong\."):
            client.infer("faces", given(images), headers={"Authorization": "Bearer x"})
        answer = client.infer("faces", given(images), headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.as_numpy("logits").shape == (5, 7)


def test_a_browser_page_may_not_ask(served: Any) -> None:
    assert post(served, asking(), Origin="http://evil.example")[0] == 403
    status, answer = post(served, asking(), Host="evil.example")
    assert (status, answer["error"].split(". ")[0]) == (403, "The request was for the host 'evil.example'")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--address", "0.0.0.0:8000"], "The model would be open to everyone who reaches 0.0.0.0:8000."),
        (["--address", "here"], "'here' is no address for a server. Expected PORT or HOST:PORT"),
        (["--token", "short"], "The token has 5 characters. Expected at least 16"),
        (["--queue", "0"], "--queue is 0. Expected 1 to 65536. Correct --queue."),
        (
            ["--name", "a/b"],
            "--name is 'a/b'. Expected up to 64 letters, digits, dots, hyphens and underscores, and no",
        ),
        (
            ["--name", ".."],
            "--name is '..'. Expected up to 64 letters, digits, dots, hyphens and underscores, and no dot",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(
    model: Path, arguments: list[str], text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LC2FER_TOKEN", raising=False)
    assert cli.run("deploy", ["serve", str(model), *arguments]) == 2
    assert text in capsys.readouterr().err


def test_a_models_file_that_a_browser_saved_twice_needs_a_name(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for ending in (".onnx", ".json"):
        (tmp_path / f"C8 (1){ending}").write_bytes(model.with_suffix(ending).read_bytes())
    assert cli.run("deploy", ["serve", str(tmp_path / "C8 (1).onnx")]) == 2
    said = capsys.readouterr().err
    assert "The model would be called 'C8 (1)', as its file. Expected up to 64 letters, digits, dots, hyphens" in said
    assert said.endswith("and no dot before the others. Pass --name.\n")


@pytest.mark.parametrize("nested", [True, False, "within each image"])
def test_numbers_may_be_nested(served: Any, images: NDArray[np.float32], nested: bool | str) -> None:
    flat = images if nested is True else images.reshape(len(images), -1) if nested else images.ravel()
    status, answer = post(served, asking(shape=list(images.shape), data=flat.tolist()))
    assert (status, answer["outputs"][0]["shape"]) == (200, [len(images), 7])


def test_a_client_that_asks_for_another_model_is_told_which_one_there_is(served: Any) -> None:
    for place, text in (
        ("/v2/models/other/infer", "There is nothing at '/v2/models/other/infer'. Expected the model 'faces'. Ask"),
        ("/v2/models", "There is nothing at '/v2/models'. Expected the model 'faces'. Ask /v2/models/faces."),
        ("/v2/models/faces", "POST was asked of '/v2/models/faces'. Expected GET, HEAD. Ask so."),
    ):
        connection = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=30)
        connection.request("POST", place, asking(), {"Host": "LocalHost"})
        answer = json.loads(connection.getresponse().read())
        assert text in answer["error"]


def test_a_model_of_the_c_library_says_what_it_is(small_exports: Callable[[str], Artifact]) -> None:
    with (
        open_session(small_exports("native-fp32")) as session,
        serving.Server(session, "c", ("127.0.0.1", 0), None) as it,
    ):
        for place in ("/v2/models/c", "/v2/models/c/config"):
            connection = http.client.HTTPConnection(it.url.removeprefix("http://"), timeout=30)
            connection.request("GET", place)
            assert json.loads(connection.getresponse().read())["platform"] == "liblc2fer"


def test_a_port_that_is_taken_is_named(session: Session, served: Any) -> None:
    port = int(served.url.rsplit(":", 1)[1])
    with pytest.raises(UsageError, match=rf"cannot be served at 127.0.0.1:{port}: Address already in use. Expected a"):
        serving.Server(session, "faces", ("127.0.0.1", port), None)


def test_the_command_serves_and_ends_with_its_counts(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run("deploy", ["serve", str(model), "--address", "0", "--threads", "1", "--seconds", "0.3"]) == 0
    captured = capsys.readouterr()
    assert "/v2/models/C8-onnx-fp32 serves C8-onnx-fp32.onnx." in captured.err
    document = json.loads(captured.out.splitlines()[-1])
    assert (document["model"], document["requests"], document["images"]) == ("C8-onnx-fp32", {}, 0)


def test_while_it_ends_it_is_not_ready(session: Session) -> None:
    with serving.Server(session, "faces", ("127.0.0.1", 0), None) as server:
        client = TestClient(server._site.app())
        assert client.get("/v2/health/ready").status_code == 200
        server._site.ready = False
        assert client.get("/v2/health/ready").status_code == 503
        assert client.get("/v2/health/live").status_code == 200
