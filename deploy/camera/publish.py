"""What happens, for other programs: a message when a face's expression changes, to an MQTT broker or a web address.

A network that is slow or away costs messages, never pictures: each receiver has a thread and a short queue that drops
its oldest message.
"""

from __future__ import annotations

import importlib
import json
import queue
import sys
import threading
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from lc2fer.errors import TargetUnavailable, UsageError

from .address import quoted, unclear, without
from .scene import Scene, Status

_WAITING = 100  # messages
_TIMEOUT_S = 5.0
_CLOSING_S = 1.0
_PORTS = {"mqtt": 1883, "mqtts": 8883}

Message = dict[str, Any]


class Changes:
    """Makes messages of one source's scenes: a face that appears, changes its expression or leaves."""

    def __init__(self) -> None:
        self._shown: dict[int, str | None] = {}

    def of(self, scene: Scene) -> list[Message]:
        """The messages since the scene before; a picture of a folder is a message of its own."""
        if scene.name is not None:
            return [{"event": "picture", **scene.to_json()}]
        now = {face.track: face for face in scene.faces}
        where = {"source": scene.source, "at": scene.captured_at}
        found: list[Message] = []
        for track, face in now.items():
            if track not in self._shown or self._shown[track] != face.expression:
                said = {"expression": face.expression, "confidence": round(max(face.probabilities), 4)}
                found.append({"event": "expression", **where, "track": track, **said})
        found += [{"event": "left", **where, "track": track} for track in self._shown if track not in now]
        self._shown = {track: face.expression for track, face in now.items()}
        return found


def of_status(source: str, status: Status) -> Message:
    """The message of a source that changed its state."""
    return {"event": "source", "source": source, **status.to_json()}


class Sender:
    """A receiver of messages behind a thread; that some are lost is said once, until all are delivered again."""

    def __init__(
        self,
        name: str,
        deliver: Callable[[Message], None],
        say: Callable[[str], None],
        leave: Callable[[], object] = lambda: None,
    ) -> None:
        self.delivered = 0
        self.dropped = 0
        self._name = name
        self._deliver = deliver
        self._say = say
        self._leave = leave
        self._failing = False
        self._late = False  # more messages come than it takes
        self._queue: queue.Queue[Message | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def send(self, message: Message) -> None:
        """Queue a message; the oldest is dropped where the queue is full."""
        while True:
            try:
                self._queue.put_nowait(message)
                return
            except queue.Full:
                try:
                    self._queue.get_nowait()
                    self.dropped += 1
                except queue.Empty:
                    continue
                if not self._failing and not self._late:
                    self._say(f"{self._name} takes messages too slowly. The oldest are lost; pictures go on.")
                self._late = True

    def close(self) -> None:
        """Deliver what waits, for a second at most; what waits then is dropped."""
        until = time.monotonic() + _CLOSING_S
        with suppress(queue.Full):
            self._queue.put(None, timeout=_CLOSING_S)
        self._thread.join(max(0.0, until - time.monotonic()))
        with suppress(queue.Empty):
            while True:
                self.dropped += self._queue.get_nowait() is not None
        with suppress(queue.Full):
            self._queue.put_nowait(None)  # which ends the thread, if it ever comes back
        self._leave()

    def _run(self) -> None:
        while (message := self._queue.get()) is not None:
            try:
                self._deliver(message)
            except Exception as error:  # whatever a network or a client library can think of
                self.dropped += 1
                if not self._failing:
                    self._say(f"{self._name} takes no messages ({error}). Those are lost; pictures go on.")
                self._failing = True
                continue
            self.delivered += 1
            if self._failing or (self._late and self._queue.empty()):
                self._say(f"{self._name} takes messages again.")
            self._failing = False
            self._late = self._late and not self._queue.empty()


def _split(flag: str, url: str, schemes: tuple[str, ...], expected: str) -> SplitResult:
    """The parts of a receiver's address; raises UsageError, without its secrets, for another or an unclear one."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        (parts.hostname or "").encode("idna")  # as who looks the host up does
    except ValueError:  # its port is none, a bracket is missing, or its host has an empty or a long part
        usable = False
    if unclear(url):
        raise UsageError(
            f"--{flag} is {quoted(url)}, with an @ after its first slash. A user and a password were expected before "
            "it, with %40 for @, %2F for /, %3F for ? and %23 for #. Correct the address."
        )
    if not usable:
        raise UsageError(f"--{flag} is {quoted(url)}. Expected {expected}. Correct the address.")
    return parts


class _Staying(urllib.request.HTTPRedirectHandler):
    """Follows no address to another one: what is posted would be asked for there, without the message."""

    def redirect_request(self, *_: Any) -> None:
        return None


def webhook(url: str, say: Callable[[str], None]) -> Sender:
    """Posts each message as JSON; raises UsageError for an address that is not http or https."""
    parts = _split("webhook", url, ("http", "https"), "http://HOST/... or https://HOST/...")
    headers = {"Content-Type": "application/json"}
    if parts.username is not None:
        known = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(known.encode()).decode()}"
    target = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
    opener = urllib.request.build_opener(_Staying)

    def deliver(message: Message) -> None:
        request = urllib.request.Request(target, json.dumps(message).encode(), headers)
        try:
            with opener.open(request, timeout=_TIMEOUT_S):
                pass
        except Exception as error:
            raise OSError(without(url, str(error))) from None

    return Sender(f"The webhook at {parts.hostname}", deliver, say)


def mqtt(url: str, say: Callable[[str], None]) -> Sender:
    """Publishes each message as JSON, quality of service 0, to mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC.

    Raises UsageError for another address and TargetUnavailable without the package paho-mqtt.
    """
    parts = _split("mqtt", url, tuple(_PORTS), "mqtt://HOST/TOPIC")
    topic = parts.path.strip("/")
    if not topic or set("#?+") & set(url.partition("://")[2].rpartition("@")[2]):
        raise UsageError(
            f"--mqtt is {quoted(url)}. Expected mqtt://HOST/TOPIC, a topic without #, + and ?. Correct the address."
        )
    try:
        paho = importlib.import_module("paho.mqtt.client")
    except ImportError:
        raise TargetUnavailable(
            "MQTT cannot be used here: the package paho-mqtt is not installed. It speaks to the broker. "
            "Run: pip install paho-mqtt."
        ) from None
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    if parts.username:
        client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
    if parts.scheme == "mqtts":
        client.tls_set()
    silent = "the broker does not answer"
    why = [silent]  # there is no connection, as was heard last

    def heard(client: Any, its: Any, flags: Any, reason: Any, properties: Any) -> None:
        why[0] = f"the broker says: {reason}" if reason.is_failure else silent

    def failed(client: Any, its: Any) -> None:
        why[0] = without(url, str(sys.exc_info()[1] or silent))  # paho calls this where it caught the error

    client.on_connect, client.on_connect_fail = heard, failed
    client.connect_async(parts.hostname, parts.port or _PORTS[parts.scheme])
    client.loop_start()

    def deliver(message: Mapping[str, Any]) -> None:
        until = time.monotonic() + _TIMEOUT_S  # the first message is often earlier than the connection
        while not client.is_connected():
            if time.monotonic() > until:
                raise OSError(why[0])
            time.sleep(0.02)
        sent = client.publish(topic, json.dumps(message))
        sent.wait_for_publish(_TIMEOUT_S)
        if not sent.is_published():
            raise OSError(silent)

    def leave() -> None:
        client.disconnect()
        # Its thread may be looking for a host that no name server knows, which nothing ends.
        ending = threading.Thread(target=client.loop_stop, name="goodbye", daemon=True)
        ending.start()
        ending.join(_CLOSING_S)

    return Sender(f"The MQTT broker at {parts.hostname}", deliver, say, leave)
