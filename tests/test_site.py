"""The documents' site builds, with every link in it, and so do the links of the documents that are on no site."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The names that GitHub and MkDocs give to a page's headings."""
    heads = re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_the_site_builds_without_a_dead_link(tmp_path: Path) -> None:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    assert "lc2fer-bench" in (tmp_path / "commands" / "index.html").read_text(encoding="utf-8")
    assert "open_session" in (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
    accuracy = (tmp_path / "accuracy" / "index.html").read_text(encoding="utf-8")
    assert "the model card (<code>lc2fer/weights/C6.md</code>)" in accuracy  # a file outside the site is named
    pages = list(tmp_path.rglob("index.html"))
    assert not [page for page in pages if re.search(r'<(script|link|img)[^>]+(src|href)="https?://', page.read_text())]
    raw = re.compile(r"^\|[ -]", re.MULTILINE)  # rows of a table that no empty line stands before
    texts = {page: re.sub(r"<pre.*?</pre>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL) for page in pages}
    assert not [str(page) for page, text in texts.items() if raw.search(text)]


@pytest.mark.parametrize("folder", [".", "docs", "lc2fer/weights", "benchmarks/baselines", "tests/gpu"])
def test_links_to_files_lead_somewhere(folder: str) -> None:
    """Also those that leave docs/, which MkDocs does not follow."""
    dead = []
    pages = sorted((ROOT / folder).glob("*.md"))
    assert pages
    for page in pages:
        for found in _LINK.finditer(_FENCED.sub("", page.read_text(encoding="utf-8"))):
            target, _, anchor = (found[1] or found[2]).partition("#")
            there = page.parent / target if target else page
            if re.match(r"[a-z]+:", target) or target in ("commands.md", "targets.md", "errors.md"):
                continue  # another site, and pages that are made for this one
            if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
                dead.append(f"{page.relative_to(ROOT)}: {found[1] or found[2]}")
    assert dead == []
