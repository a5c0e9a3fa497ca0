"""Makes docs/page*.png and docs/label.png: a stack, Chromium and the samples; `make pictures`."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from tests.integration.service import ROOT, Service, running, wait_until

SAMPLES = [
    ROOT / "docs" / "samples" / f"{kind}-{surface}.jpg"
    for surface in ("glass", "metal", "paint", "plastic")
    for kind in ("scratched", "clean")
]
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
WIDE: ViewportSize = {"width": 1180, "height": 850}
PHONE: ViewportSize = {"width": 390, "height": 844}
_GAP = 20


def main() -> None:
    os.chdir(ROOT)
    program = shutil.which("chromium") or "chromium"
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), {"SCRATCH_HISTORY_DAYS": "1"}) as service,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, chromium_sandbox=False) as browser,
    ):
        save("page", page(browser, service, "light", WIDE))
        save("page-dark", page(browser, service, "dark", WIDE))
        light, dark = (page(browser, service, scheme, PHONE) for scheme in SCHEMES)
        both = Image.new("RGB", (2 * light.width + _GAP, light.height), "#888888")
        both.paste(light, (0, 0))
        both.paste(dark, (light.width + _GAP, 0))
        save("page-phone", both)
        save("label", label(browser, service))


def opened(browser: Browser, service: Service, scheme: Scheme, size: ViewportSize) -> Page:
    context = browser.new_context(
        base_url=str(service.http.base_url),
        color_scheme=scheme,
        viewport=size,
        has_touch=size is PHONE,
        is_mobile=size is PHONE,
        reduced_motion="reduce",
    )
    return context.new_page()


def page(browser: Browser, service: Service, scheme: Scheme, size: ViewportSize) -> Image.Image:
    page = opened(browser, service, scheme, size)
    page.goto("/")
    page.locator("#files").set_input_files(SAMPLES)
    expect(page.locator("#live")).to_contain_text("8 of 8 inspected", timeout=60_000)
    expect(page.locator(".card .heat")).to_have_count(4)
    wait_until(lambda: service.http.get("/labelling").json()["unlabelled"] > 0)
    page.get_by_role("button", name="Right: scratched-glass.jpg").click()
    expect(page.locator(".noted", has_text="kept to learn from")).to_be_visible()
    page.evaluate("scrollTo(0, 0)")
    expect(page.locator("#status-text")).to_contain_text("0 of 1000", timeout=10_000)
    return shot(page)


def label(browser: Browser, service: Service) -> Image.Image:
    page = opened(browser, service, "light", WIDE)
    page.goto("/label")
    expect(page.locator("#label-live")).to_contain_text("unlabelled.")
    page.keyboard.press("s")
    expect(page.locator("#label-live")).to_contain_text("The model says")
    page.wait_for_timeout(500)  # the next photo is drawn
    return shot(page)


def shot(page: Page) -> Image.Image:
    picture = Image.open(io.BytesIO(page.screenshot(scale="css"))).convert("RGB")
    page.context.close()
    return picture


def save(name: str, picture: Image.Image) -> None:
    picture.quantize(256).save(ROOT / "docs" / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
