"""A real Chromium on a real stack."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.integration.service import PATIENCE_S, Service, running

expect.set_options(timeout=PATIENCE_S * 1000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's: Playwright's own is not on PyPI.

    Ends with its module: while it is there, this thread's event loop runs, and no other can.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        missing = "Chromium is not installed here (apt-get install chromium)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, chromium_sandbox=False)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("page-stack")) as service:
        yield service


@pytest.fixture
def page(browser: Browser, stack: Service) -> Iterator[Page]:
    """The page, opened; an error in a script or against the content policy fails the test."""
    context = browser.new_context(base_url=str(stack.http.base_url))
    page = context.new_page()
    page.set_default_timeout(PATIENCE_S * 1000)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "console",
        lambda message: troubles.append(message.text) if "Content Security" in message.text else 0,
    )
    page.goto("/")
    yield page
    context.close()
    assert troubles == []
