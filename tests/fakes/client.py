"""A client of the page's server: what it sends, and what it is answered."""

import io
import json
import urllib.error
import urllib.request


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


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
