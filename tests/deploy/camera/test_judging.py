"""The page of a running pipeline: a picture of the viewer's own is judged, or refused."""

import json
import socket
import struct
import threading
import time
import zlib

import pytest
from client import ask, encoded, refusal
from PIL import Image

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
web = pytest.importorskip("lc2fer.deploy.camera.web")


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
        (b"no picture", "The picture cannot be read: it is no JPEG, PNG, WebP, BMP, TIFF, GIF or PPM."),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "The picture cannot be read: it is no JPEG, PNG, WebP, BMP, TIFF, GIF or PPM.",
        ),
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
