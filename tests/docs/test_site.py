"""The site is built without a warning, in both languages, and every link in it leads somewhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

pytest.importorskip("sphinx", reason="the site is built by Sphinx, of the docs extra")
pytestmark = pytest.mark.deep
DOCS = Path(__file__).parents[2] / "docs"
LANGUAGES = {"en": (DOCS, []), "zh": (DOCS / "zh", ["-c", DOCS, "-t", "zh"])}


class Page(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.loaded = [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.anchors.add(known.get("id"))
        if tag == "a" and known.get("href"):
            self.links.append(known["href"])
        if tag in ("script", "link", "img"):
            self.loaded += [known[name] for name in ("src", "href") if known.get(name)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    for lang, (source, options) in LANGUAGES.items():
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "-d", folder / f"trees-{lang}", *options, source]
        out = folder / "site" / ("zh" if lang == "zh" else "")
        run = subprocess.run([*command, out], capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, run.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_link_leads_somewhere(site, pages):
    lost = []
    for path, page in pages.items():
        for link in page.links:
            if re.match("[a-z]+:", link) or "_modules" in path.parts:
                continue
            target, _, anchor = link.partition("#")
            file = (path.parent / unquote(target)).resolve() if target else path
            if not file.exists() or (anchor and file in pages and unquote(anchor) not in pages[file].anchors):
                lost.append((path.relative_to(site).as_posix(), link))
    assert lost == []


def test_nothing_is_loaded_from_elsewhere(pages):
    assert not [link for page in pages.values() for link in page.loaded if re.match("(https?:)?//", link)]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_documented_equation_leads_to_its_code(site, lang):
    page = site / ("zh" if lang == "zh" else "") / "equations.html"
    sections = re.split(r'<section id="d(\d+)', page.read_text(encoding="utf-8"))
    found = {int(number): text for number, text in zip(sections[1::2], sections[2::2], strict=True)}
    assert set(found) == set(range(1, 22))
    for number in range(1, 18):
        assert "<math" in found[number]
        assert re.search(r"_modules/chalkgrad/[a-z_/]+\.html#\w+", found[number]), number
