"""The page of a running pipeline: what its server answers and refuses, and what a browser shows of it."""

import base64
import fcntl
import io
import itertools
import json
import logging
import math
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request
import zlib

import pytest
from lc2fer.deploy.scene import Box, Face, Scene, Status
from PIL import Image, ImageDraw

from lc2fer.errors import DataError, UsageError
from lc2fer.inputs import LABELS

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
web = pytest.importorskip("lc2fer.deploy.web")

TOKEN = "correct-horse-battery"
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
SKIN = ("#e8b796", "#8d5a3c")


class Film:
    """Two drawn people who move; pictures are made when somebody asks, and each only once."""

    labels = LABELS

    def __init__(self, fps=20.0, people=2, watts=7.42):
        self.fps, self.people, self.watts = fps, people, watts
        self.began = time.monotonic()
        self.state = Status("live", "Pictures come from a drawn film.")
        self.encoded = 0
        self.waiting = 0
        self.most_waiting = 0
        self.judged = []
        self._lock = threading.Lock()
        self._last = None

    def number(self):
        return int((time.monotonic() - self.began) * self.fps) + 1 if self.state.state == "live" else 0

    def picture(self, after, timeout_s):
        with self._lock:
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            ends = time.monotonic() + timeout_s
            while (number := self.number()) <= after:
                if time.monotonic() >= ends:
                    return None
                time.sleep(0.003)
            with self._lock:
                if self._last is None or self._last[0].number != number:
                    self._last = self._made(number)
                return self._last
        finally:
            with self._lock:
                self.waiting -= 1

    def _made(self, number):
        self.encoded += 1
        faces = tuple(self._face(person, number / self.fps) for person in range(self.people))
        canvas = Image.new("RGB", (640, 480), "#32414f")
        draw = ImageDraw.Draw(canvas)
        for line in range(0, 480, 8):
            draw.rectangle((0, line, 640, line + 8), fill=(50 + line // 12, 65 + line // 14, 79 + line // 16))
        for person, face in enumerate(faces):
            paint(draw, face.box, SKIN[person % 2], LABELS[max(range(7), key=face.probabilities.__getitem__)])
        file = io.BytesIO()
        canvas.save(file, "JPEG", quality=85)
        stages = {"wait": 6.1, "detect": 11.7 + math.sin(number), "crop": 0.42, "infer": 4.9}
        scene = Scene(number, time.time(), 640, 480, faces, 23.4, stages, self.fps, number // 40, "fä.jpg")
        return scene, file.getvalue()

    def _face(self, person, second):
        mood = int(second / 3.0 + 2 * person) % 8  # the eighth is unsure
        shares = [0.02 + 0.015 * math.sin(second * 3 + place) ** 2 for place in range(7)]
        if mood < 7:
            shares[mood] += 0.75 + 0.1 * math.sin(second * 2)
        else:
            shares = [0.13 + 0.02 * math.sin(second + place) for place in range(7)]
        total = sum(shares)
        side = (230, 150)[person % 2]
        left = int((120, 430)[person % 2] + 40 * math.sin(second * 0.9 + person))
        box = Box(left, (110, 170)[person % 2], side, side)
        return Face(person + 1, box, LABELS[mood] if mood < 7 else None, tuple(share / total for share in shares))

    def status(self):
        return self.state

    def facts(self):
        return {
            "model": "C6 onnx-int8",
            "engine": "ONNX Runtime",
            "detector": "YuNet",
            "source": "a drawn film",
            "threshold": 0.4,
            "watts": self.watts,
        }

    def judge(self, image):
        if image.width < 8:
            raise DataError("The picture has 4x4 pixels. Expected a face. Give a larger one.")
        self.judged.append(image.size)
        side = image.width // 2
        shares = (0.02, 0.02, 0.02, 0.88, 0.02, 0.02, 0.02)
        return (Face(1, Box(image.width // 4, image.height // 4, side, image.height // 2), "happiness", shares),)


def paint(draw, box, skin, mood):
    """A face in that box, with the mouth and brows of the expression."""
    left, top, side = box.left, box.top, box.width
    at = lambda across, down: (left + across * side, top + down * side)  # noqa: E731
    draw.ellipse((*at(0.02, -0.12), *at(0.98, 0.9)), fill="#2b1d16")
    draw.ellipse((*at(0.08, 0.0), *at(0.92, 1.0)), fill=skin)
    wide = 0.085 if mood in ("surprise", "fear") else 0.06
    tilt = {"anger": 0.06, "disgust": 0.03, "sadness": -0.05, "fear": -0.04}.get(mood, 0.0)
    lift = 0.05 if mood in ("surprise", "fear") else 0.0
    for middle, way in ((0.33, 1), (0.67, -1)):
        draw.ellipse((*at(middle - wide, 0.43 - wide), *at(middle + wide, 0.43 + wide)), fill="#fff")
        draw.ellipse((*at(middle - 0.03, 0.40), *at(middle + 0.03, 0.46)), fill="#1b1b1b")
        brow = (*at(middle - 0.1, 0.3 - lift - way * tilt), *at(middle + 0.1, 0.3 - lift + way * tilt))
        draw.line(brow, fill="#2b1d16", width=max(3, side // 32))
    thick = max(3, side // 36)
    if mood in ("surprise", "fear"):
        draw.ellipse((*at(0.42, 0.66), *at(0.58, 0.86)), fill="#571d1d")
    elif mood == "happiness":
        draw.chord((*at(0.28, 0.5), *at(0.72, 0.86)), 10, 170, fill="#7a1f1f")
    elif mood in ("sadness", "anger", "disgust"):
        draw.arc((*at(0.32, 0.72), *at(0.68, 0.96)), 200, 340, fill="#571d1d", width=thick)
    else:
        draw.line((*at(0.36, 0.76), *at(0.64, 0.76)), fill="#571d1d", width=thick)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def film():
    return Film()


@pytest.fixture
def served(film):
    with web.serve(film, ("127.0.0.1", 0), None) as server:
        yield server


@pytest.fixture
def guarded(film):
    with web.serve(film, ("127.0.0.1", 0), TOKEN) as server:
        yield server


def ask(server, path, body=None, timeout=20, **headers):
    """Status, headers and body of one request, also of a refused one."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(server.url + path, data=body, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def refusal(answer):
    status, headers, body = answer
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
    return status, json.loads(body)["error"]


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
        ("page.js", "text/javascript; charset=utf-8", b'"use strict"'),
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


def test_the_page_loads_nothing_from_elsewhere(checkout):
    for name in ("index.html", "page.css", "page.js"):
        text = (checkout / "deploy" / "page" / name).read_text(encoding="utf-8")
        assert "https://" not in text
        assert text.count("http://") == (1 if name == "page.js" else 0)  # the tunnel's address, which is only told
        assert " style=" not in text  # which the policy would not let through


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


# ---- the viewer's own picture -------------------------------------------------------------------------------------


def test_a_picture_is_judged(served, film):
    status, _, body = ask(served, "api/judge", encoded(Image.new("RGB", (120, 80))), Content_Type="image/png")
    answer = json.loads(body)
    assert status == 200
    assert answer["size"] == [120, 80]
    assert answer["ms"] >= 0
    assert [(face["expression"], face["box"]) for face in answer["faces"]] == [("happiness", [30, 20, 60, 40])]


def test_a_picture_is_turned_upright(served, film):
    turned = Image.new("RGB", (120, 80))
    orientation = turned.getexif()
    orientation[0x0112] = 6
    body = encoded(turned, "JPEG", exif=orientation.tobytes())
    assert json.loads(ask(served, "api/judge", body, Content_Type="image/jpeg")[2])["size"] == [80, 120]


def bomb(side):
    """A PNG of a few bytes that says it has side x side pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"no picture", "The picture cannot be read: its kind is not known."),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "The picture cannot be read: its kind is not known."),
        (
            encoded(Image.effect_noise((64, 64), 90), "JPEG")[:900],
            "The picture cannot be read: image file is truncated",
        ),
        (bomb(9000), "The picture has 9000x9000 pixels. At most 64,000,000 are read. Give a crop of the face."),
        (bomb(20000), "The picture cannot be read: Image size (400000000 pixels) exceeds limit"),
        (encoded(Image.new("RGB", (4, 4))), "The picture has 4x4 pixels. Expected a face. Give a larger one."),
    ],
)
def test_pictures_that_cannot_be_judged(served, film, body, text):
    status, said = refusal(ask(served, "api/judge", body, Content_Type="image/png"))
    assert status == 422
    assert said.startswith(text)
    assert film.judged == []


def test_nothing_is_no_picture(served):
    status, said = refusal(ask(served, "api/judge", b"", Content_Type="image/png"))
    assert status == 422
    assert said == ("The picture cannot be read: it is empty. Expected a whole JPEG, PNG or WebP. Choose another file.")


def test_only_so_many_bytes_are_read(served, film):
    body = encoded(Image.new("RGB", (16, 16))).ljust(10_000_001, b"\0")
    status, said = refusal(ask(served, "api/judge", body, Content_Type="image/png"))
    assert (status, said) == (413, "The picture has more than 10,000,000 bytes. Expected fewer. Make it smaller.")
    assert ask(served, "api/judge", body[:-1], Content_Type="image/png")[0] == 200
    assert film.judged == [(16, 16)]


def test_only_pictures_are_taken(served):
    text = "The request brought text/plain. Expected a picture. Send it as image/jpeg."
    assert refusal(ask(served, "api/judge", b"x", Content_Type="text/plain")) == (415, text)
    assert refusal(ask(served, "api/judge")) == (405, "Method Not Allowed")


def test_a_picture_that_does_not_arrive(served, monkeypatch):
    monkeypatch.setattr(web, "_UPLOAD_S", 0.3)
    host, port = served.url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        slow.sendall(
            b"POST /api/judge HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\nab"
        )
        answer = slow.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_no_more_pictures_wait_than_fit_in_memory(served, film, monkeypatch):
    hold = threading.Event()
    monkeypatch.setattr(film, "judge", lambda image: hold.wait(20) and ())
    picture = encoded(Image.new("RGB", (16, 16)))
    got = []

    def give():
        got.append(ask(served, "api/judge", picture, Content_Type="image/png")[0])

    givers = [threading.Thread(target=give) for _ in range(8)]
    for giver in givers:
        giver.start()
    time.sleep(1)
    text = "8 pictures wait. Expected fewer. Try again in a second."
    assert refusal(ask(served, "api/judge", picture, Content_Type="image/png")) == (503, text)
    assert ask(served, "api/picture")[0] == 200  # viewers are served on
    hold.set()
    for giver in givers:
        giver.join(10)
    assert got == [200] * 8


# ---- in a browser -------------------------------------------------------------------------------------------------


class Browser:
    """A headless Chromium, driven by its DevTools protocol over two pipes."""

    def __init__(self, folder, width, height, scheme="light"):
        to_it, from_it = os.pipe(), os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 30) for end in (to_it[0], from_it[1])]

        def hand_over():  # Chromium reads from 3 and writes to 4
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe"]
        options += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", f"--user-data-dir={folder}"]
        self.process = subprocess.Popen(
            [CHROMIUM, *options, "about:blank"],
            preexec_fn=hand_over,
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (*high, to_it[0], from_it[1]):
            os.close(end)
        self.to_it, self.from_it = to_it[1], from_it[0]
        self.rest, self.calls, self.complaints, self.session = b"", 0, [], None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.resize(width, height)
        self.prefer("prefers-color-scheme", scheme)

    def send(self, method, **parameters):
        self.calls += 1
        message = {"id": self.calls, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_it, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self.calls:
                assert "error" not in answer, answer
                return answer["result"]
            if answer.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(answer["params"]["exceptionDetails"])
            elif answer.get("method") in ("Runtime.consoleAPICalled", "Log.entryAdded"):
                self.complaints.append(answer["params"])

    def _read(self):
        while b"\0" not in self.rest:
            part = os.read(self.from_it, 1 << 20)
            assert part, "Chromium went away"
            self.rest += part
        line, _, self.rest = self.rest.partition(b"\0")
        return json.loads(line)

    def resize(self, width, height):
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    def prefer(self, name, value):
        self.send("Emulation.setEmulatedMedia", features=[{"name": name, "value": value}])

    def value(self, expression):
        done = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def until(self, expression, seconds=20):
        ends = time.monotonic() + seconds
        while not (found := self.value(expression)):
            assert time.monotonic() < ends, f"{expression} did not come true; {self.complaints}"
            time.sleep(0.1)
        return found

    def give(self, selector, path):
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def key(self, name, **more):
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=name, code=name, **more)

    def screenshot(self, path, whole=True):
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.to_it)
        os.close(self.from_it)


@pytest.fixture
def browser(tmp_path):
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here to open the page in")
    opened = []

    def start(url, width=1280, height=900, scheme="light"):
        opened.append(Browser(tmp_path / f"user{len(opened)}", width, height, scheme))
        opened[-1].send("Page.navigate", url=url)
        opened[-1].until("document.readyState === 'complete' && document.title === 'LC2FER live'")
        return opened[-1]

    yield start
    for one in opened:
        one.close()


READY = "document.querySelector('#live .bars .percent')?.textContent.endsWith(' %')"
COLOURS = """((canvas) => {
  const dots = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const found = new Set();
  for (let at = 0; at < dots.length; at += 4 * 97) found.add(dots.slice(at, at + 4).join());
  return found.size;
})"""
BARS = "[...document.querySelectorAll('#live .fill')].map((bar) => bar.style.transform).join()"


def text_of(page, selector):
    return page.value(f"document.querySelector({selector!r}).innerText")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_a_browser_shows_the_live_picture(browser, served, tmp_path, width, scheme):
    page = browser(served.url, width, 800, scheme)
    page.until(READY)
    first, bars = page.value("newest.number"), page.value(BARS)
    page.until(f"newest.number > {first + 10}")
    page.until(f"{BARS} !== {bars!r}")
    assert page.value(f"{COLOURS}(document.querySelector('#live canvas'))") > 60
    assert page.value(f"{COLOURS}(byId('time'))") > 7
    assert page.value("document.documentElement.scrollWidth") == width
    assert page.value("[...document.querySelectorAll('#live .label')].map((one) => one.textContent)") == list(LABELS)
    assert text_of(page, "#about") == "C6 onnx-int8 · ONNX Runtime"
    assert text_of(page, "#chip") == "live"
    assert not page.value("byId('banner').checkVisibility()")
    assert text_of(page, "#fps") == "20"
    assert text_of(page, "#age") == "23 ms"
    assert text_of(page, "#watts") == "7.4 W"
    assert text_of(page, "#stage-list").replace("\n", " ").startswith("wait 6.1 ms detect 1")
    assert "Nothing is stored." in text_of(page, "footer")
    assert "An expression seen is not an emotion felt." in text_of(page, "footer")
    assert 'When no label reaches 40 %, the answer is "unsure" and not a guess.' in text_of(page, "footer")
    paper = page.value("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(243, 245, 247)", "dark": "rgb(15, 18, 21)"}[scheme]
    page.screenshot(tmp_path / "page.png")
    assert Image.open(tmp_path / "page.png").size[0] == width
    assert page.complaints == []


def test_a_face_is_chosen_by_pointer_or_key(browser, served):
    page = browser(served.url)
    page.until(READY)
    assert text_of(page, "#live .who") == "Largest face"
    page.until("document.querySelectorAll('#live .chooser button').length === 3")
    page.value("document.querySelectorAll('#live .chooser button')[2].focus()")
    page.key("Enter", text="\r", windowsVirtualKeyCode=13)
    page.until("document.querySelector('#live .who').textContent === 'Face 2, chosen'")
    shown = page.value("[live.face().track, document.activeElement.getAttribute('aria-pressed')]")
    assert shown == [2, "true"]
    # the larger one, in the middle of where it moves
    where = "(() => { const { x, y, scale } = live.place(), box = live.canvas.getBoundingClientRect();"
    x, y = page.value(f"{where} return [box.x + x + 235 * scale, box.y + y + 225 * scale]; }})()")
    for kind in ("mousePressed", "mouseReleased"):
        page.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    page.until("document.querySelector('#live .who').textContent === 'Face 1, chosen'")
    page.until("/^2 faces: [a-z]+, [a-z]+.$/.test(live.canvas.getAttribute('aria-label'))")
    page.until("/^Largest face: [a-z]+.$/.test(byId('said').textContent)")
    assert page.value("timeline.words()").startswith("In the last 60 seconds: ")


def test_the_state_of_the_source_is_told(browser, film):
    film.people, film.watts = 1, None
    with web.serve(film, ("127.0.0.1", 0), None) as server:
        page = browser(server.url)
        page.until(READY)
        assert text_of(page, "#watts") == "no meter"
        assert page.value("document.querySelector('#live .chooser').hidden")
        film.state = Status("lost", "The camera is gone. It is opened again every second.")
        page.until("byId('banner').checkVisibility()")
        assert text_of(page, "#banner") == "The camera is gone. It is opened again every second."
        page.until("byId('age-title').textContent === 'Since the last picture'")
        page.until("live.host.classList.contains('old')")
        assert text_of(page, "#fps") == "\N{EN DASH}"
        film.state = Status("live", "Pictures come again.")
        page.until("!live.host.classList.contains('old') && byId('banner').hidden")
    page.until("byId('chip').innerText === 'no connection'")
    assert text_of(page, "#banner") == "The program does not answer. This page goes on asking."


def test_the_page_goes_on_with_the_next_run(browser, film):
    with web.serve(film, ("127.0.0.1", 0), None) as server:
        page = browser(server.url)
        page.until("newest?.number > 60")
    page.until("byId('chip').innerText === 'no connection'")
    port = int(server.url.rpartition(":")[2].strip("/"))
    with web.serve(Film(fps=4), ("127.0.0.1", port), None):
        page.until("newest.number < 40 && byId('chip').innerText === 'live'")


def test_without_a_camera_the_viewers_own_picture_comes_first(browser, film, tmp_path):
    film.state = Status("none", "There is no camera here.")
    with web.serve(film, ("127.0.0.1", 0), None) as server:
        page = browser(server.url)
        page.until("!byId('own').hidden")
        assert text_of(page, "#chip") == "no camera"
        assert page.value("byId('tab-own').getAttribute('aria-selected')") == "true"

        Image.effect_noise((300, 400), 90).save(tmp_path / "face.png")
        page.give("#file", tmp_path / "face.png")
        page.until("byId('own-text').textContent.startsWith('One face: happiness. Judged in ')")
        assert film.judged == [(300, 400)]
        page.until("document.querySelector('#own .share').textContent === '88 %'")
        assert text_of(page, "#own .name") == "happiness"
        assert text_of(page, "#own .sure") == "Next: surprise 2 %"
        assert page.value(f"{COLOURS}(document.querySelector('#own canvas'))") > 60

        Image.new("RGB", (32, 32), "red").save(tmp_path / "red.bmp")  # sent as JPEG: the browser can open more kinds
        page.give("#file", tmp_path / "red.bmp")
        page.until("own.size[0] === 32")
        (tmp_path / "letter.txt").write_text("Dear Sir")
        page.give("#file", tmp_path / "letter.txt")
        page.until("byId('own-error').textContent !== ''")
        assert text_of(page, "#own-error") == (
            "letter.txt is no picture that this browser can open. Choose a JPEG or PNG."
        )
        Image.new("RGB", (4, 4)).save(tmp_path / "dot.png")
        page.give("#file", tmp_path / "dot.png")
        page.until("byId('own-error').textContent.startsWith('The picture has 4x4 pixels.')")

        page.value("byId('tab-own').focus()")
        page.key("ArrowLeft")
        assert page.value("document.activeElement.id + !byId('live').hidden") == "tab-livetrue"
        page.until("byId('banner').checkVisibility()")
        assert text_of(page, "#banner") == "There is no camera here."
        assert text_of(page, "#live .veil") == "There is no camera here."


def test_the_browsers_own_camera(browser, served, film):
    page = browser(served.url, 360, 800)
    page.until(READY)
    page.value("select('own'); byId('camera').click()")
    page.until("/^[0-9]+ pictures a second, each judged in /.test(byId('own-text').textContent)")
    page.until("own.face()?.expression === 'happiness'")
    assert text_of(page, "#camera") == "Stop the camera"
    assert page.value("own.mirrored")
    size = film.judged[-1]
    assert max(size) == 640
    assert page.value(f"{COLOURS}(document.querySelector('#own canvas'))") > 7
    page.value("byId('camera').click()")
    page.until("byId('camera').textContent === \"Use this browser's camera\"")
    time.sleep(0.5)
    seen = len(film.judged)
    time.sleep(0.5)
    assert len(film.judged) == seen
    assert page.complaints == []


def test_the_token_comes_in_the_fragment_and_leaves_it(browser, guarded):
    page = browser(guarded.link)
    page.until(READY)
    assert page.value("location.href") == guarded.url
    assert page.value("sessionStorage.getItem('lc2fer-token')") == TOKEN
    assert page.complaints == []
    page.send("Page.reload")
    page.until(READY)


def test_the_token_is_asked_for(browser, guarded):
    page = browser(guarded.url)
    page.until("byId('key').checkVisibility()")
    assert not page.value("byId('main').checkVisibility()")
    assert text_of(page, "#chip") == "locked"
    assert text_of(page, "#key-text").startswith("The program printed an address that ends in #token=.")
    for given, told in (("wrong", True), (TOKEN, False)):
        page.value(f"byId('key-token').value = {given!r}; byId('key').requestSubmit()")
        if told:
            page.until("byId('key-text').textContent.startsWith('The token is wrong.')")
    page.until(READY)
    assert page.value("byId('main').checkVisibility()")
