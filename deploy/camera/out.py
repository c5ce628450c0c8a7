"""What a run says while it goes on: lines of JSON or for people, messages, and a word to systemd."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence

from lc2fer.text import print_json

from . import publish
from .publish import Changes, Message, Sender
from .scene import Scene, Status
from .source import Source


class Out:
    """From the loop's thread it gets scenes, from each camera's its states, which systemd is told too."""

    def __init__(
        self,
        sources: Sequence[Source],
        labels: Sequence[str],  # in the order of the probabilities; the first line of JSON brings them
        lines: bool,
        say: Callable[[str], None],
        tell: Callable[[str], None],
    ) -> None:
        self.senders: list[Sender] = []
        self._several = len(sources) > 1
        self._places = {source.name: str(source) for source in sources}
        self._lines = lines
        self._labels = labels
        self._say = say
        self._tell = tell
        self._changes: defaultdict[str, Changes] = defaultdict(Changes)
        self._states: dict[str, str] = {}
        self._lock = threading.Lock()

    def scene(self, scene: Scene) -> None:
        if self._lines:
            self._print({"event": "scene", **scene.to_json()})
        for message in self._changes[scene.source].of(scene):
            self._send(message)
            if not self._lines:
                self._say(f"{scene.source}: {_said(message)}" if self._several else _said(message))

    def status(self, source: str, status: Status) -> None:
        """To be called as often as one likes: only what is new is said."""
        with self._lock:
            if self._states.get(source) == status.state:
                return
            self._states[source] = status.state
        text = status.text if self._places.get(source, source) == source else f"{source}: {status.text}"
        self._tell(text)
        message = publish.of_status(source, status)
        self._send(message)
        if self._lines:
            self._print(message)
        else:
            self._say(text)

    def _send(self, message: Message) -> None:
        for sender in self.senders:
            sender.send(message)

    def _print(self, message: Message) -> None:
        with self._lock:
            if self._labels:
                message, self._labels = {**message, "labels": list(self._labels)}, ()
            print_json(json.dumps(message, separators=(",", ":")))


def _said(message: Message) -> str:
    """A message as a line for people."""
    if message["event"] == "left":
        return f"face {message['track']} left"
    if message["event"] == "picture":
        shown = [f"{face['expression'] or 'unsure'} {max(face['probabilities']):.0%}" for face in message["faces"]]
        return f"{message['name']}: {', '.join(shown) or 'no face'}"
    return f"face {message['track']}: {message['expression'] or 'unsure'} {message['confidence']:.0%}"
