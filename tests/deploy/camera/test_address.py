"""What is shown of addresses: never a user, a password, a query or a token, wherever they stand and however written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from lc2fer.deploy.camera import publish
from lc2fer.deploy.camera import source as camera
from lc2fer.deploy.camera.address import is_address, quoted, shown, without

from lc2fer.errors import UsageError

PASSWORDS = (
    "KEY",
    "p@KEY",
    "KEY@",
    "KEY/RET",
    "/KEY",
    "KEY?RET",
    "KEY#RET",
    "KEY:RET",
    "K%40KEY",
    "KEY&a=b",
    "KEY RET",
)
PLACES = ("10.0.0.5", "10.0.0.5:554/stream1", "camera.local/live/ch0", "[fe80::1]:554/x", "h/v?a=1", "h/@user")


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https", "rtmp", "mqtt"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_is_never_shown(scheme: str, password: str, place: str) -> None:
    text = shown(f"{scheme}://USER:{password}@{place}")
    assert text.startswith(f"{scheme}://...")
    assert not [secret for secret in ("KEY", "RET", "USER") if secret in text], text


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("rtsp://10.0.0.5:554/stream1", "rtsp://10.0.0.5:554/stream1"),
        ("rtsp://cam:KEY@10.0.0.5:554/stream1", "rtsp://...@10.0.0.5:554/stream1"),
        ("rtsp://cam:p@KEY@10.0.0.5:554/stream1", "rtsp://...@10.0.0.5:554/stream1"),
        ("rtsp://KEY@host", "rtsp://...@host"),
        ("rtsp://cam:SEC/KEY@127.0.0.1:9/x", "rtsp://..."),
        ("http://127.0.0.1:9/v?token=KEY", "http://127.0.0.1:9/v?..."),
        ("http://127.0.0.1:9/v?token=a@KEY", "http://..."),
        ("http://127.0.0.1:9?token=KEY", "http://127.0.0.1:9?..."),
        ("http://host/v#KEY", "http://host/v#..."),
        ("http://host/v?", "http://host/v?..."),
        ("rtsp://h:554/user=admin_password=KEY_channel=1_stream=0.sdp", "rtsp://h:554/..."),
        ("https://hooks.example/services/T01/K3YK3YK3YK3YK3YK3YK3YK3YK3Y", "https://hooks.example/services/T01/..."),
        ("http://host/v;session=KEY", "http://host/..."),
        ("rtsp://[::1]:554/a", "rtsp://[::1]:554/a"),
        ("rtsp://KEY KEY/x", "rtsp://.../x"),
        ("rtsp:/cam:KEY@host/x", "..."),
        ("cam:KEY@host", "..."),
        ("://KEY", "..."),
    ],
)
def test_what_is_shown(address: str, text: str) -> None:
    assert is_address(address)
    assert shown(address) == text
    assert "KEY" not in without(address, f"cannot open '{address}', nor {address.partition('://')[2]}")


@pytest.mark.parametrize("name", ["film.mp4", "me@home.mp4", "a/b.avi", "C:film.avi", "usb:9", "50%.avi", ""])
def test_a_file_is_no_address(name: str) -> None:
    assert not is_address(name)


def test_a_librarys_words_lose_the_secrets_and_keep_the_rest() -> None:
    address = "http://cam:s3cret@host:81/v?token=abcdef"
    text = "InvalidURL: nonnumeric port: 's3cret@host:81' in /v?token=abcdef at host"
    assert without(address, text) == "InvalidURL: nonnumeric port: '...@host:81' in /v?...=... at host"


@pytest.mark.parametrize("address", ["rtmp://cam:KEY@h/x", "cam:KEY@h/x", "rtsp:/cam:KEY@h/x", "ftp://h/x?token=KEY"])
def test_a_source_that_is_refused(address: str) -> None:
    with pytest.raises(UsageError) as refused:
        camera.parse(address)
    assert str(refused.value).startswith(f"There is no source {quoted(address)}. Expected csi:0")
    assert "KEY" not in str(refused.value)


def test_a_source_is_not_told_by_its_representation() -> None:
    source = camera.parse("rtsp://cam:KEY@h/x")
    assert (source.place, str(source), repr(source)) == (
        "rtsp://cam:KEY@h/x",
        "rtsp://...@h/x",
        "Source(kind='stream', given_name=None)",
    )


@pytest.mark.parametrize("flag", ["webhook", "mqtt"])
@pytest.mark.parametrize("address", ["x://me:KEY@h/x", "http:me:KEY@h", "mqtt://me:KEY@h:99999/x", "mqtt://me:KEY@/x"])
def test_a_receiver_that_is_refused(flag: str, address: str) -> None:
    with pytest.raises(UsageError, match=rf"^--{flag} is .* Correct the address\.$") as refused:
        getattr(publish, flag)(address, print)
    assert "KEY" not in str(refused.value)


@pytest.mark.parametrize("password", ["SEC/KEY", "KEY?x", "KEY#x"])
def test_a_password_that_no_address_may_hold_is_to_be_quoted(password: str) -> None:
    with pytest.raises(UsageError) as refused:
        publish.webhook(f"http://me:{password}@h/x", print)
    assert str(refused.value) == (
        "--webhook is 'http://...', with an @ after its first slash. A user and a password were expected before it, "
        "with %40 for @, %2F for /, %3F for ? and %23 for #. Correct the address."
    )


def test_a_run_says_none_of_its_secrets(model: Path) -> None:
    """Status lines, the last line's document, argparse and its own errors: on both outputs, in one process each."""
    for arguments in (
        ["--source", "rtsp://USER:p@KEY@127.0.0.1:9/x", "--seconds", "1", "--json"],
        ["--source", "http://127.0.0.1:9/v?token=KEY", "--seconds", "1", "--webhook", "http://USER:KEY@127.0.0.1:9/h"],
        ["rtsp://USER:KEY@127.0.0.1:9/x"],
    ):
        program = "import sys; from lc2fer.cli import deploy; sys.exit(deploy())"
        done = subprocess.run(
            [sys.executable, "-c", program, "run", str(model), *arguments], capture_output=True, text=True, timeout=120
        )
        assert done.returncode in (2, 3)
        assert "127.0.0.1:9" in done.stdout + done.stderr
        assert not [secret for secret in ("KEY", "USER") if secret in done.stdout + done.stderr]


def test_the_pages_status_has_none_either(model: Path) -> None:
    program = "import sys; from lc2fer.cli import deploy; sys.exit(deploy())"
    source = ["--source", "http://USER:KEY@127.0.0.1:9/v?token=KEY", "--web", "127.0.0.1:0"]
    with subprocess.Popen(
        [sys.executable, "-c", program, "run", str(model), *source], stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        page = next(line for line in running.stderr if line.startswith("The page: ")).split()[-1]
        with urlopen(f"{page}api/status", timeout=20) as answer:
            text = answer.read().decode()
        running.terminate()
        said = running.stderr.read()
    assert "http://...@127.0.0.1:9/v?..." in text
    assert not [secret for secret in ("KEY", "USER") if secret in text + said]
