"""Signatures of bundles: Ed25519 over the bytes of bundle.json, which names every other file by its sha256.

Keys are PEM, as openssl makes them: `openssl genpkey -algorithm ed25519 -out key.pem`, and for the device
`openssl pkey -in key.pem -pubout -out pub.pem`. install.sh checks the same signature by openssl alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lc2fer.errors import ArtifactError, UsageError

SIGNATURE = "bundle.sig"  # 64 raw bytes
SIZE = 64
_KEY_LIMIT = 10_000  # bytes


def sign(content: bytes, key: Path) -> bytes:
    """The signature of bundle.json's bytes by the private key in that file; UsageError for a file that holds none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    found = _read(key, "private", lambda data: load_pem_private_key(data, None), Ed25519PrivateKey)
    return bytes(found.sign(content))


def check(content: bytes, signature: bytes | None, key: Path, place: str) -> None:
    """Raise ArtifactError where those bytes were not signed by the owner of the public key in that file.

    Raises UsageError for a file that holds no public key.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    found = _read(key, "public", load_pem_public_key, Ed25519PublicKey)
    if signature is None:
        raise ArtifactError(
            f"{place} is not signed. A signature of the owner of {key} was expected. Ask who made it for a signed one: "
            "lc2fer-deploy bundle --sign."
        )
    try:
        found.verify(signature, content)
    except InvalidSignature:
        raise ArtifactError(
            f"{place} was not signed by the owner of {key}, or was changed since. Their signature was expected. "
            "Do not use it."
        ) from None


def _read(key: Path, which: str, load: Any, kind: type[Any]) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        with key.open("rb") as file:
            found = load(file.read(_KEY_LIMIT))
    except FileNotFoundError:
        raise UsageError(f"{key} is missing. A {which} key in PEM was expected. Check the path.") from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # no PEM; a password; a curve of its own
        raise UsageError(
            f"{key} holds no {which} key that can be read ({str(error).splitlines()[0]}). An Ed25519 key in PEM, "
            "without a password, was expected. Make one with openssl genpkey -algorithm ed25519."
        ) from None
    if not isinstance(found, kind):
        raise UsageError(
            f"{key} holds a key of another kind ({type(found).__name__}). An Ed25519 {which} key was expected. "
            "Make one with openssl genpkey -algorithm ed25519."
        )
    return found
