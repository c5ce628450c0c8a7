"""The page of a running pipeline: what its server answers and refuses."""

import io
import itertools
import json
import logging
import re
import shutil
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from client import ask, encoded, refusal
from film import TOKEN
from lc2fer.deploy.camera.scene import Status
from PIL import Image

from lc2fer.errors import UsageError
from lc2fer.inputs import LABELS

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
web = pytest.importorskip("lc2fer.deploy.camera.web")
patience = pytest.importorskip("lc2fer.deploy.camera.patience")
PAGE = Path(web.__file__).with_name("page")
MODULES = sorted({path.name for path in PAGE.glob("*.js")} - {"page.js"})


# ---- where it is served -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", ("127.0.0.1", 8000)),
        ("8000", ("127.0.0.1", 8000)),
        (":8001", ("127.0.0.1", 8001)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("jetson.local:65535", ("jetson.local", 65535)),
        ("[::1]:8000", ("::1", 8000)),
    ],
)
def test_addresses(text, address):
    assert web.parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["localhost", "127.0.0.1:", "::1:8000", "[::1]", "65536", "http://a:80", "a b:80", "-1"]
)
def test_what_is_no_address(text):
    with pytest.raises(UsageError) as caught:
        web.parse_address(text)
    assert str(caught.value) == (
        f"{text!r} is no address for the page. Expected PORT or HOST:PORT with a port up to 65535. "
        "Give for example 8000, 0.0.0.0:8000 or [::1]:8000."
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "127.evil.example", "jetson.local"])
def test_an_open_address_needs_a_token(film, host):
    with pytest.raises(UsageError) as caught:
        web.serve(film, (host, 0), None)
    assert str(caught.value) == (
        f"The page would be open to everyone who reaches {host}:0. Expected a token for any address but 127.0.0.1. "
        "Give --token auto, which makes one, or set LC2FER_TOKEN."
    )


@pytest.mark.parametrize("token", ["", "fifteen-letters", "sixteen letters too", "sechzehn-zeichen-ä"])
def test_a_token_is_long_and_plain(film, token):
    with pytest.raises(UsageError) as caught:
        web.serve(film, ("127.0.0.1", 0), token)
    assert str(caught.value) == (
        f"The token has {len(token)} characters. Expected at least 16 ASCII letters, digits or signs and no space. "
        "Give --token auto, which makes one."
    )


def test_a_port_in_use(film):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError) as caught:
            web.serve(film, ("127.0.0.1", port), None)
    assert str(caught.value) == (
        f"The page cannot be served at 127.0.0.1:{port}: Address already in use. Expected a free port of this machine. "
        "Give another one, such as 8001."
    )


def test_a_host_that_is_none(film):
    with pytest.raises(UsageError, match=r"cannot be served at no\.\.host:1: .*\. Expected a free port"):
        web.serve(film, ("no..host", 1), TOKEN)


def test_it_ends_and_its_port_is_free_again(film):
    threads = threading.active_count()
    server = web.serve(film, ("127.0.0.1", 0), None)
    port = int(server.url.rpartition(":")[2].strip("/"))
    film.state = Status("stalled", "No pictures.")
    waiting = threading.Thread(target=ask, args=(server, "api/picture"))
    waiting.start()
    time.sleep(0.3)
    began = time.monotonic()
    server.close()
    waiting.join(5)
    assert time.monotonic() - began < 3
    with web.serve(film, ("127.0.0.1", port), None) as again:
        assert ask(again, "api/status")[0] == 200
    time.sleep(0.6)
    assert threading.active_count() <= threads


def test_its_threads_are_there_from_the_start_and_stay_as_many(film):
    before = threading.active_count()
    with web.serve(film, ("127.0.0.1", 0), None) as server:
        begin = threading.active_count()
        assert begin == before + 1 + 5 + 2  # the page's own, one source's and four more, two that judge
        viewers = [threading.Thread(target=look, args=(server,)) for _ in range(8)]
        for viewer in viewers:
            viewer.start()
        for viewer in viewers:
            viewer.join()
        assert threading.active_count() == begin


def look(server):
    """A viewer who asks for the newest picture a few times."""
    number = 0
    for _ in range(5):
        number = json.loads(ask(server, f"api/picture?after={number}")[1]["LC2FER-Scene"])["number"]


def test_links(film):
    with web.serve(film, ("127.0.0.1", 0), "sixteen+or&more#") as server:
        assert server.link == f"{server.url}#token=sixteen%2Bor%26more%23"
        assert server.url.startswith("http://127.0.0.1:")
    with web.serve(film, ("0.0.0.0", 0), TOKEN) as server:
        assert server.url.startswith(f"http://{socket.gethostname()}:")
    with web.serve(film, ("localhost", 0), None) as server:
        assert server.link == server.url


# ---- who may ask --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["api/status", "api/picture", "api/judge", "api/else"])
def test_without_the_token_nothing_is_answered(guarded, film, path):
    text = "The request has no token. Expected the one of this page. Open the address that the program printed."
    assert refusal(ask(guarded, path)) == (401, text)
    for given in (f"Bearer {TOKEN}x", "Bearer tökeñ", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}"):
        answer = ask(guarded, path, Authorization=given)
        assert refusal(answer) == (401, text.replace("request has no token", "token is wrong"))
        assert answer[1]["WWW-Authenticate"] == "Bearer"
    assert film.encoded == 0


def test_with_the_token_any_host_is_answered(guarded):
    answer = ask(guarded, "api/status", Authorization=f"Bearer {TOKEN}", Host="jetson.local:8000")
    assert answer[0] == 200


def test_the_page_comes_without_a_token(guarded):
    for path, kind, word in (
        ("", "text/html; charset=utf-8", b"<title>LC2FER live</title>"),
        ("page.css", "text/css; charset=utf-8", b"--paper"),
        *((name, "text/javascript; charset=utf-8", b"export ") for name in MODULES),
        ("page.js", "text/javascript; charset=utf-8", b"followPictures()"),
        ("icon.svg", "image/svg+xml", b"<svg"),
    ):
        status, headers, body = ask(guarded, path)
        assert (status, headers["Content-Type"]) == (200, kind)
        assert word in body
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Permissions-Policy"] == "camera=(self), microphone=(), geolocation=()"
        assert headers["Content-Security-Policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        assert headers["Server"] is None


def test_nothing_else_comes_without_a_token(guarded):
    assert {path.name for path in PAGE.iterdir()} == {"index.html", "page.css", "page.js", "icon.svg", *MODULES}
    for path in ("index.html", "web.py", "../web.py", "page/page.js"):
        assert refusal(ask(guarded, path))[0] == 401
        assert ask(guarded, path, Authorization=f"Bearer {TOKEN}")[0] == 404


def test_the_page_loads_nothing_from_elsewhere():
    for name in ("index.html", "page.css", "page.js", *MODULES):
        text = (PAGE / name).read_text(encoding="utf-8")
        assert "https://" not in text
        assert text.count("http://") == (1 if name == "own.js" else 0)  # the tunnel's address, which is only told
        assert " style=" not in text  # which the policy would not let through
        for imported in re.findall(r"\b(?:from|import)\b *[(]?[\"'`]([^\"'`]*)", text):
            assert imported.removeprefix("./") in [*MODULES, "engine/engine.js"]


@pytest.mark.parametrize("path", ["", "api/status"])
def test_without_a_token_other_hosts_are_refused(served, path):
    for host in ("evil.example", "127.0.0.1.evil.example:80", "localhost@evil.example", "jetson.local:8000"):
        assert refusal(ask(served, path, Host=host)) == (
            403,
            f"The request was for the host {host!r}. Expected localhost or 127.0.0.1. Open the page under that name.",
        )
    for host in ("localhost", "localhost:9000", "127.0.0.1:9000", "[::1]:9000"):
        assert ask(served, path, Host=host)[0] == 200


def test_without_a_token_other_pages_are_refused(served, film):
    picture = encoded(Image.new("RGB", (32, 32)))
    for origin in ("https://evil.example", "null", "http://localhost:3000"):
        answer = ask(served, "api/judge", picture, Content_Type="image/png", Origin=origin)
        text = f"The request came from a page of {origin}. Expected this page. Use the page's own address."
        assert refusal(answer) == (403, text)
    assert film.judged == []
    same = served.url.rstrip("/")
    assert ask(served, "api/judge", picture, Content_Type="image/png", Origin=same)[0] == 200


# ---- pictures and status ------------------------------------------------------------------------------------------


def test_status(served):
    status, headers, body = ask(served, "api/status")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    answer = json.loads(body)
    assert answer["status"] == {"state": "live", "text": "Pictures come from a drawn film."}
    assert answer["sources"] == [{"name": "film", **answer["status"]}]
    assert answer["facts"]["watts"] == 7.42
    assert answer["labels"] == list(LABELS)


def test_a_picture_comes_with_its_scene(served):
    status, headers, body = ask(served, "api/picture?after=0")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(body)).size == (640, 480)
    scene = json.loads(headers["LC2FER-Scene"])
    assert scene["name"] == "fä.jpg"
    assert [face["track"] for face in scene["faces"]] == [1, 2]
    assert " " not in headers["LC2FER-Scene"]
    later = json.loads(ask(served, f"api/picture?after={scene['number']}")[1]["LC2FER-Scene"])
    assert later["number"] > scene["number"]


def test_a_number_of_an_earlier_run_does_not_wait(served):
    began = time.monotonic()
    assert json.loads(ask(served, "api/picture?after=100000")[1]["LC2FER-Scene"])["number"] < 1000
    assert time.monotonic() - began < 2


def test_each_source_has_pictures_of_its_own(served, film):
    film.names = ("front door", "gäte")
    assert [one["name"] for one in json.loads(ask(served, "api/status")[2])["sources"]] == ["front door", "gäte"]
    for asked, name, faces in (
        ("", "front door", 2),
        ("?source=front+door", "front door", 2),
        ("?source=g%C3%A4te", "gäte", 1),
    ):
        scene = json.loads(ask(served, f"api/picture{asked}")[1]["LC2FER-Scene"])
        assert (scene["source"], len(scene["faces"])) == (name, faces)
    text = "There is no source 'roof'. Expected one of front door, gäte. Ask /api/status for them."
    assert refusal(ask(served, "api/picture?source=roof")) == (404, text)
    film.state = Status("none", "There is no camera here.")
    text = "There is no source ''. Expected none: there is no camera here. Ask /api/status for them."
    assert refusal(ask(served, "api/picture")) == (404, text)


def test_a_number_that_is_none(served):
    text = "after='-1' is no picture's number. Expected 0 or more. Leave it out."
    assert refusal(ask(served, "api/picture?after=-1")) == (400, text)


def test_no_picture_for_a_while(served, film, monkeypatch):
    monkeypatch.setattr(web, "_POLL_S", 1.2)
    film.state = Status("stalled", "No pictures.")
    began = time.monotonic()
    status, _, body = ask(served, "api/picture")
    assert (status, body) == (204, b"")
    assert 1.0 < time.monotonic() - began < 4


def test_what_fails_is_said_and_logged(served, film, monkeypatch, caplog):
    def broken():
        raise RuntimeError("the meter is gone")

    monkeypatch.setattr(film, "facts", broken)
    with caplog.at_level(logging.ERROR):
        answer = ask(served, "api/status")
    assert refusal(answer) == (500, "The program failed: RuntimeError. Its log says where.")
    assert "/api/status failed" in caplog.text
    assert "the meter is gone" in caplog.text


def watch(server, seconds):
    """The numbers that a viewer who asks without a pause is given, and how far each was behind the newest."""
    numbers, ends = [0], time.monotonic() + seconds
    while time.monotonic() < ends:
        numbers.append(json.loads(ask(server, f"api/picture?after={numbers[-1]}")[1]["LC2FER-Scene"])["number"])
    return numbers[1:]


def test_more_viewers_do_not_slow_the_first(served, film):
    alone = len(watch(served, 2))
    host, port = served.url.removeprefix("http://").rstrip("/").split(":")
    stalled = [socket.create_connection((host, int(port))) for _ in range(4)]
    for one in stalled:  # they ask again and again and never read
        one.sendall(f"GET /api/picture HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() * 50)
    seen = {}
    viewers = [threading.Thread(target=lambda name=name: seen.update({name: watch(served, 2)})) for name in range(2)]
    film.encoded, first = 0, film.number()
    for viewer in viewers:
        viewer.start()
    for viewer in viewers:
        viewer.join()
    made = film.number() - first
    assert film.encoded <= made + 3  # once, however many ask
    for numbers in seen.values():
        assert len(numbers) > 0.5 * alone
        assert all(second > one for one, second in itertools.pairwise(numbers))
        assert numbers[-1] >= film.number() - 8
    began = time.monotonic()
    assert ask(served, "api/status")[0] == 200
    assert time.monotonic() - began < 1
    for one in stalled:
        one.close()


def test_many_who_wait_take_one_thread(served, film):
    ask(served, "api/picture")
    film.state = Status("stalled", "No pictures.")
    film.most_waiting = 0
    waiting = [threading.Thread(target=ask, args=(served, "api/picture?after=1000")) for _ in range(30)]
    for one in waiting:
        one.start()
    time.sleep(1.5)
    began = time.monotonic()
    assert json.loads(ask(served, "api/status")[2])["status"]["state"] == "stalled"
    assert time.monotonic() - began < 1
    assert film.most_waiting == 1
    film.state = Status("live", "Pictures come again.")
    for one in waiting:
        one.join(5)
    assert not any(one.is_alive() for one in waiting)


def test_who_goes_away_keeps_no_thread(served, film):
    film.state = Status("stalled", "No pictures.")
    with pytest.raises(TimeoutError):
        ask(served, "api/picture", timeout=0.3)
    time.sleep(1.5)
    film.most_waiting = film.waiting
    time.sleep(0.6)
    assert film.most_waiting == 0


def test_who_takes_no_answer_gives_its_place_to_others(film, tmp_path, monkeypatch):
    monkeypatch.setattr(patience, "TAKING_S", 1.0)
    monkeypatch.setitem(web._OPTIONS, "limit_concurrency", 6)
    (tmp_path / "engine.wasm").write_bytes(bytes(12_000_000))
    with ExitStack() as stack:
        server = stack.enter_context(web.serve(film, ("127.0.0.1", 0), TOKEN, tmp_path))
        port = int(server.url.rsplit(":", 1)[1].strip("/"))
        for _ in range(5):  # without the token, and they read nothing
            stalled = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            stalled.sendall(b"GET /engine/engine.wasm HTTP/1.1\r\nHost: it\r\n\r\n")
            stalled.recv(1)
        assert ask(server, "")[0] == 503
        time.sleep(3)
        assert ask(server, "")[0] == 200


def test_the_page_stays_though_the_package_is_upgraded_or_removed_meanwhile(film, monkeypatch, tmp_path):
    moved = tmp_path / "page"
    shutil.copytree(PAGE, moved)
    monkeypatch.setattr(web, "_FILES", {path: moved / file.name for path, file in web._FILES.items()})
    with web.serve(film, ("127.0.0.1", 0), None) as server:
        shutil.rmtree(moved)
        for path in ("", *MODULES):
            assert ask(server, path)[0] == 200
