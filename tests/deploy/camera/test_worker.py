"""What keeps a static folder's page for when there is no network: deploy/web/worker.js, in a browser."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources

import pytest
from browser import CHROMIUM, Browser


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here to open pages in")
def test_two_models_pages_on_one_server_both_open_without_a_network(tmp_path):
    worker = (resources.files("lc2fer.deploy") / "web" / "worker.js").read_text()
    for name in ("c6", "c8"):
        folder = tmp_path / "served" / name
        folder.mkdir(parents=True)
        (folder / "worker.js").write_text(worker)
        (folder / "files.js").write_text(f'self.VERSION = "of-{name}";\nself.FILES = ["./", "its"];\n')
        (folder / "index.html").write_text(f"<title>{name}</title>")
        (folder / "its").write_text(name)
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = Browser(tmp_path / "user", 800, 600)
        try:
            for name in ("c6", "c8"):
                page.send("Page.navigate", url=f"http://127.0.0.1:{server.server_port}/{name}/")
                page.until(f"document.title === '{name}' && document.readyState === 'complete'")
                page.value(
                    "navigator.serviceWorker.register('worker.js').then(() => navigator.serviceWorker.ready).then()"
                )
                page.until("navigator.serviceWorker.controller !== null")
            server.shutdown()
            server.server_close()
            for name in ("c6", "c8"):
                page.send("Page.navigate", url=f"http://127.0.0.1:{server.server_port}/{name}/")
                page.until(f"document.title === '{name}'")
                assert page.value("fetch('its').then((answer) => answer.text())") == name
        finally:
            page.close()
