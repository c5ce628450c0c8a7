"""What other programs are told: messages of what changed, by webhook and by MQTT."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from lc2fer.deploy.camera import publish
from lc2fer.deploy.camera.publish import Changes
from lc2fer.deploy.camera.scene import Box, Face, Scene
from mqtt_broker import Broker

from lc2fer.errors import UsageError


def scene(*faces: tuple[int, str | None]) -> Scene:
    found = tuple(Face(track, Box(0, 0, 9, 9), expression, (0.25, 0.75)) for track, expression in faces)
    return Scene("door", 1, 10.0, 64, 48, found, 5.0, {}, 30.0, 0)


def test_messages_tell_what_changed() -> None:
    changes = Changes()
    (first,) = changes.of(scene((1, "anger")))
    assert first == {
        "event": "expression",
        "source": "door",
        "at": 10.0,
        "track": 1,
        "expression": "anger",
        "confidence": 0.75,
    }
    assert changes.of(scene((1, "anger"))) == []
    assert [message["event"] for message in changes.of(scene((2, None)))] == ["expression", "left"]


def test_a_webhook_gets_the_messages() -> None:
    got: list[Any] = []
    known: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            known.append(self.headers["Authorization"])
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        sender = publish.webhook(f"http://me:s%20t@127.0.0.1:{server.server_port}/", print)
        sender.send({"event": "left", "track": 1})
        sender.close()
        server.shutdown()
    assert got == [{"event": "left", "track": 1}]
    assert known == ["Basic bWU6cyB0"]
    assert (sender.delivered, sender.dropped) == (1, 0)


def test_a_receiver_that_is_away_costs_messages_and_says_so_once() -> None:
    said: list[str] = []
    sender = publish.webhook("http://127.0.0.1:9/", said.append)
    for _ in range(3):
        sender.send({})
    sender.close()
    assert sender.dropped == 3
    assert len(said) == 1
    assert said[0].startswith("The webhook at 127.0.0.1 takes no messages (")


def test_what_waits_at_the_end_is_delivered_also_where_the_queue_is_full() -> None:
    got: list[Any] = []
    first = threading.Event()

    def deliver(message: Any) -> None:
        first.wait(5)
        got.append(message)

    sender = publish.Sender("It", deliver, print)
    for number in range(publish._WAITING + 1):  # the first is on its way
        sender.send({"number": number})
        time.sleep(0.01 if number == 0 else 0)
    threading.Timer(0.2, first.set).start()
    sender.close()
    assert [message["number"] for message in got] == list(range(publish._WAITING + 1))
    assert (sender.delivered, sender.dropped) == (publish._WAITING + 1, 0)


def test_what_a_slow_receiver_has_not_got_by_then_counts_as_dropped() -> None:
    end = threading.Event()
    sender = publish.Sender("It", lambda message: end.wait(5), print)
    for number in range(5):
        sender.send({"number": number})
        time.sleep(0.01)
    sender.close()
    assert sender.dropped == 4  # one is on its way
    end.set()
    sender._thread.join(5)
    assert (sender.delivered, sender.dropped) == (1, 4)


def test_a_webhook_that_has_moved_gets_no_messages_and_it_is_said() -> None:
    said: list[str] = []
    asked: list[str] = []

    class Moved(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.command)
            self.send_response(301)
            self.send_header("Location", "/new")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Moved) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sender = publish.webhook(f"http://127.0.0.1:{server.server_port}/old", said.append)
        sender.send({"event": "left", "track": 1})
        sender.close()
        server.shutdown()
    assert asked == ["POST"]
    assert (sender.delivered, sender.dropped) == (0, 1)
    assert said == [
        "The webhook at 127.0.0.1 takes no messages (HTTP Error 301: Moved Permanently). Those are lost; pictures go "
        "on."
    ]


def test_an_mqtt_address_needs_a_topic() -> None:
    with pytest.raises(UsageError, match="--mqtt is 'http://host/x'"):
        publish.mqtt("http://host/x", print)


@pytest.mark.parametrize("topic", ["", "home/#", "home/+/door", "home?x", "home#"])
def test_a_topic_that_nobody_can_publish_to_is_refused(topic: str) -> None:
    with pytest.raises(UsageError, match=r"Expected mqtt://HOST/TOPIC, a topic without #, \+ and \?. Correct the add"):
        publish.mqtt(f"mqtt://me:a+b@host/{topic}", print)


# -- MQTT -------------------------------------------------------------------------------------------------------------


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_a_broker_gets_the_messages_the_first_one_too() -> None:
    pytest.importorskip("paho")
    with Broker() as broker:
        sender = publish.mqtt(f"mqtt://me:s%20t@127.0.0.1:{broker.port}/home/door", print)
        sender.send({"event": "left", "track": 1})
        sender.send({"event": "left", "track": 2})
        sender.close()
        until(lambda: broker.left)
    assert [(topic, json.loads(text)["track"]) for topic, text in broker.published] == [
        ("home/door", 1),
        ("home/door", 2),
    ]
    assert broker.users[0].endswith(b"\x00\x02me\x00\x03s t")
    assert (sender.delivered, sender.dropped) == (2, 0)


def test_a_broker_that_is_away_costs_messages_until_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("paho")
    monkeypatch.setattr(publish, "_TIMEOUT_S", 0.2)
    said: list[str] = []
    with Broker() as broker:
        port = broker.port
    sender = publish.mqtt(f"mqtt://127.0.0.1:{port}/door", said.append)
    sender.send({"event": "left", "track": 1})
    until(lambda: said)
    assert said == [
        "The MQTT broker at 127.0.0.1 takes no messages ([Errno 111] Connection refused). Those are lost; pictures go "
        "on."
    ]
    monkeypatch.setattr(publish, "_TIMEOUT_S", 5.0)  # paho tries again after a second, and then less often
    with Broker(port) as broker:
        sender.send({"event": "left", "track": 2})
        until(lambda: broker.published)
        sender.close()
    assert said[1:] == ["The MQTT broker at 127.0.0.1 takes messages again."]
    assert (sender.delivered, sender.dropped) == (1, 1)


def test_a_broker_that_knows_another_password_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("paho")
    monkeypatch.setattr(publish, "_TIMEOUT_S", 0.5)
    said: list[str] = []
    with Broker(answer=5) as broker:
        sender = publish.mqtt(f"mqtt://me:secret@127.0.0.1:{broker.port}/door", said.append)
        sender.send({"event": "left", "track": 1})
        until(lambda: said)
        sender.close()
    assert said == [
        "The MQTT broker at 127.0.0.1 takes no messages (the broker says: Not authorized). Those are lost; pictures go "
        "on."
    ]


def test_a_program_ends_though_its_brokers_host_is_still_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("paho")
    found = threading.Event()

    def look(*_: Any, **__: Any) -> Any:
        found.wait(30)
        raise OSError("Temporary failure in name resolution")

    monkeypatch.setattr(publish, "_CLOSING_S", 0.2)
    monkeypatch.setattr("socket.getaddrinfo", look)
    sender = publish.mqtt("mqtt://broker.example/door", print)
    sender.send({"event": "left", "track": 1})
    begin = time.monotonic()
    sender.close()
    assert time.monotonic() - begin < 5
    found.set()
    assert sender.dropped <= 1


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example"])
@pytest.mark.parametrize("flag", ["webhook", "mqtt"])
def test_a_host_that_can_be_none_is_refused_at_once(flag: str, host: str) -> None:
    scheme = "http" if flag == "webhook" else flag
    with pytest.raises(UsageError, match=f"--{flag} is .* Expected .* Correct the address."):
        getattr(publish, flag)(f"{scheme}://{host}/door", print)


def test_a_receiver_that_is_too_slow_is_told_of_once_until_it_has_caught_up() -> None:
    said: list[str] = []
    free = threading.Event()
    sender = publish.Sender("It", lambda message: free.wait(10), said.append)
    for number in range(publish._WAITING + 6):
        sender.send({"number": number})
    assert said == ["It takes messages too slowly. The oldest are lost; pictures go on."]
    free.set()
    until(lambda: len(said) > 1)
    sender.close()
    assert said[1:] == ["It takes messages again."]
    assert sender.delivered + sender.dropped == publish._WAITING + 6
