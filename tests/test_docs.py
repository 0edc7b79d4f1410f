"""The site: builds without a warning, leads nowhere that is not there, and asks no other host for anything."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import yaml

from tests.conftest import ROOT

pytest.importorskip("sphinx")
pytestmark = pytest.mark.slow
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
LOADED = {"script", "link", "img", "source", "iframe", "video", "audio", "embed", "object"}
"""Elements whose address is fetched when the page is opened, without a click."""


class Page(HTMLParser):
    """What a page links to or loads, the anchors in it, and the text that is neither code nor formula."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.figures: list[str | None] = []
        self.anchors, self.text, self.inside = {""}, "", ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        self.links += [(tag, values[name]) for name in ("href", "src", "data", "poster") if values.get(name)]
        self.figures += [values.get("alt")] if tag == "img" else []
        is_formula = "math" in (values.get("class") or "").split()
        if not self.inside and (tag in ("pre", "code", "script", "style") or is_formula):
            self.inside = tag

    def handle_endtag(self, tag):
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data):
        self.text += "" if self.inside else data


def build(root: Path, out: Path) -> dict[str, Page]:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", f"{out}_doctrees", "-c", "docs", "."]
    done = subprocess.run([*command, str(out)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {path.relative_to(out).as_posix(): Page(path.read_text(encoding="utf-8")) for path in out.rglob("*.html")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("site") / "html"


@pytest.fixture(scope="module")
def pages(folder):
    return build(ROOT, folder)


def test_every_notebook_has_a_page_that_the_front_page_lists(pages):
    places = {f"notebooks/{path.stem}.html" for path in NOTEBOOKS}
    assert len(places) >= 8
    assert places <= pages.keys()
    assert {f"../{place}" for place in places} <= {link for _, link in pages["docs/index.html"].links}


def test_no_link_and_no_anchor_is_broken(pages, folder):
    links = [(place, urlsplit(link)) for place, page in pages.items() for _, link in page.links]
    ours = [(place, link) for place, link in links if not (link.scheme or link.netloc)]
    assert len(ours) > 1000
    for place, link in ours:
        path = unquote(link.path)
        target = os.path.normpath(os.path.join(os.path.dirname(place), path)) if path else place
        assert (folder / target).is_file(), f"{place}: {link}"
        assert target not in pages or unquote(link.fragment) in pages[target].anchors, f"{place}: {link}"


def test_nothing_is_loaded_from_another_host(pages, folder):
    loaded = [(place, link) for place, page in pages.items() for tag, link in page.links if tag in LOADED]
    sheets = {str(path): path.read_text() for path in folder.rglob("*.css")}
    styles = [(path, url) for path, text in sheets.items() for url in re.findall(r"url\(['\"]?([^'\")]+)", text)]
    assert len(loaded) > 100
    assert styles
    assert [(where, link) for where, link in loaded + styles if re.match(r"(https?:)?//", link)] == []


def test_no_formula_is_left_as_source(pages):
    assert "similarity" in pages["docs/equations.html"].text
    assert [place for place, page in pages.items() if "$" in page.text or r"\frac" in page.text] == []


def test_a_figure_is_described_in_words(pages):
    figures = [(place, alt) for place, page in pages.items() for alt in page.figures]
    assert len(figures) > 20
    assert [(place, alt) for place, alt in figures if not alt or "_images/" in alt] == []


def test_colab_and_folders_are_linked_once_there_is_an_address(tmp_path):
    (tmp_path / "notebooks").mkdir()
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.md", "_build", "*.png"))
    lesson = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A lesson")])
    nbformat.write(lesson, tmp_path / "notebooks" / NOTEBOOKS[0].name)
    front = "# Front\n\n[all](../notebooks)\n\n```{toctree}\n:glob:\n../notebooks/*\n```\n"
    (tmp_path / "docs" / "index.md").write_text(front)
    urls = '[project.urls]\nRepository = "https://github.com/someone/project"\n'
    (tmp_path / "pyproject.toml").write_text(f'[project]\nversion = "1"\n{urls}')
    pages = build(tmp_path, tmp_path / "html")
    colab = f"https://colab.research.google.com/github/someone/project/blob/main/notebooks/{NOTEBOOKS[0].name}"
    assert ("a", colab) in pages[f"notebooks/{NOTEBOOKS[0].stem}.html"].links
    assert ("a", "https://github.com/someone/project/tree/main/notebooks") in pages["docs/index.html"].links


def test_the_workflow_runs_what_is_there_and_may_write_only_where_it_publishes():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "site.yml").read_text())
    steps = [step for job in jobs["jobs"].values() for step in job["steps"]]
    assert {".ci/run", "make docs"} <= {step.get("run") for step in steps}
    assert jobs["permissions"] == {"contents": "read"}
    assert [name for name, job in jobs["jobs"].items() if "permissions" in job] == ["publish"]
    (uploaded,) = [step["with"]["path"] for step in steps if "upload" in step.get("uses", "")]
    assert re.search(rf"^docs:.*\n.*-m sphinx .* {uploaded}$", (ROOT / "Makefile").read_text(), re.MULTILINE)
