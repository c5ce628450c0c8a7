"""Addresses as they may be shown: no user, password, query or token of one reaches a log, a page or a message.

A password may hold @, / and ?, which no address should, and some cameras want theirs in the path. So only what cannot
be a secret is shown: the scheme, the host where it is certain, and short plain names after it.
"""

from __future__ import annotations

import re

_HIDDEN = "..."
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,24}")  # of a path; a longer one may be a token
_SHORTEST = 3  # characters of a secret that is looked for in other texts


def is_address(text: str) -> bool:
    """Whether a text is meant as an address, right or wrong: rtsp://..., or user:password@host."""
    return "://" in text or bool(re.search(r"[:/][^/]*@", text))


def shown(address: str) -> str:
    """The address without its secrets: rtsp://...@10.0.0.5:554/stream1, http://camera/video?..."""
    scheme, there, rest = address.partition("://")
    if not there or not _SCHEME.fullmatch(scheme):
        return _HIDDEN
    before, at, after = rest.rpartition("@")
    if at and re.search(r"[/?#]", before):  # a password with a slash, or a path with an @: nobody can tell
        return f"{scheme}://{_HIDDEN}"
    match = re.match(r"([^/?#]*)([^?#]*)(.*)", after, re.DOTALL)
    assert match is not None  # it matches everything
    host, path, query = match.groups()
    names = [name if not name or _NAME.fullmatch(name) else _HIDDEN for name in path.split("/")]
    return (
        f"{scheme}://{_HIDDEN + '@' if at else ''}{host if _HOST.fullmatch(host) else _HIDDEN}"
        f"{'/'.join(names)}{query[:1] + _HIDDEN if query else ''}"
    )


def quoted(text: str) -> str:
    """What somebody gave as an address, for a message that says what is wrong with it."""
    return repr(shown(text) if is_address(text) else text)


def without(address: str, text: str) -> str:
    """A text, such as a library's error about the address, without its secrets."""
    text = text.replace(address, shown(address))
    visible = set(re.split(r"[^A-Za-z0-9]+", shown(address)))
    parts = {part for part in re.split(r"[@:/?#&=;,\s]+", address) if len(part) >= _SHORTEST and part not in visible}
    for part in sorted(parts, key=len, reverse=True):
        if part not in shown(address):
            text = text.replace(part, _HIDDEN)
    return text


def unclear(address: str) -> bool:
    """Whether nobody can tell where the password ends: an @ after a slash, a question mark or a hash."""
    return bool(re.search(r"[/?#].*@", address.partition("://")[2], re.DOTALL))
