"""A browser for the pages."""

import io
import shutil
from pathlib import Path

import pytest

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
    if not BROWSER:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Open a page, given as HTML or as a file; at the end there are no complaints, nothing was asked of the network."""
    contexts, said, asked = [], [], []

    def open_page(html, width=1280, height=1500, scheme="light"):
        file = html
        if isinstance(html, str):
            file = tmp_path / "page.html"
            file.write_text(html, encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(file.as_uri())
        return tab

    open_page.said = said
    yield open_page
    assert said == []
    assert all(url.startswith(("file://", "data:")) for url in asked)
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def accessible():
    """Let axe-core look at an open page; it finds nothing."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def look(tab):
        results = axe.run(tab)
        assert results.violations_count == 0, results.generate_report()

    return look


@pytest.fixture
def save_picture():
    """Save what an open page shows for the documentation, in 128 colours."""
    image = pytest.importorskip("PIL.Image")

    def save(tab, name):
        shown = image.open(io.BytesIO(tab.screenshot()))
        shown.convert("RGB").quantize(128, dither=image.Dither.NONE).save(PICTURES / name, optimize=True)

    return save
