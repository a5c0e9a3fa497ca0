"""What a person does on the page, in a real browser against a real stack."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import FileChooser, FilePayload, Locator, Page, Route, expect

SAMPLES = Path(__file__).parents[2] / "docs" / "samples"
SCRATCHED, CLEAN = SAMPLES / "scratched-paint.jpg", SAMPLES / "clean-paint.jpg"
MANY = 200
#: milliseconds for one photo on a busy machine, and what each further one may add
PATIENCE, MORE = 60_000, 1_000


def choose(page: Page, *files: Path) -> None:
    page.locator("#files").set_input_files(list(files))


def card(page: Page, name: str) -> Locator:
    return page.locator(".card", has=page.get_by_text(name, exact=True))


def inspected(page: Page, count: int) -> None:
    expect(page.locator("#live")).to_contain_text(
        f"{count} of {count} inspected", timeout=PATIENCE + count * MORE
    )


def notes(name: str = "notes.jpg") -> FilePayload:
    return {"name": name, "mimeType": "image/jpeg", "buffer": b"these are no pixels"}


def test_a_scratch_is_found_and_marked_where_it_is(page: Page) -> None:
    choose(page, SCRATCHED, CLEAN)
    inspected(page, 2)

    bad, good = card(page, SCRATCHED.name), card(page, CLEAN.name)
    expect(bad.locator(".verdict")).to_have_text("Scratched")
    expect(bad.locator(".detail")).to_contain_text("likely scratched; look")
    for one in (bad, good):  # what the bundled checkpoint can promise is another test's matter
        expect(one.locator(".ruling")).to_be_visible()
        expect(one.locator(".ruling")).to_have_attribute(
            "title", re.compile("missed|alarms|certif")
        )
    expect(bad.locator(".heat")).to_be_visible()
    photo, mark = bad.locator(".photo").bounding_box(), bad.locator(".box").bounding_box()
    assert photo and mark
    assert photo["x"] <= mark["x"] < mark["x"] + mark["width"] <= photo["x"] + photo["width"] + 20
    assert mark["width"] < photo["width"] / 2
    expect(good.locator(".verdict")).to_have_text("Clean")
    expect(good.locator(".heat")).to_have_count(0)

    page.get_by_label("Show where").uncheck()
    expect(bad.locator(".heat")).to_be_hidden()


def test_the_state_of_the_service_is_shown(page: Page) -> None:
    expect(page.locator("#status-text")).to_contain_text("1 worker with scratch-lite")
    expect(page.get_by_role("link", name="Flower")).to_be_visible()


def test_a_file_that_is_no_photo_says_so_and_the_others_go_on(page: Page) -> None:
    page.locator("#files").set_input_files(
        [notes(), {"name": "a.png", "mimeType": "image/png", "buffer": CLEAN.read_bytes()}]
    )
    inspected(page, 2)

    refused = card(page, "notes.jpg")
    expect(refused.locator(".verdict")).to_have_text("Refused")
    expect(refused.locator(".detail")).to_contain_text("not a JPEG")
    expect(refused.get_by_role("button", name="Try again")).to_be_hidden()
    expect(card(page, "a.png").locator(".verdict")).to_have_text("Clean")


@pytest.mark.timeout(300)
def test_two_hundred_photos_at_once(page: Page) -> None:
    """Each a little different; the service sees a few at a time."""
    page.locator("#files").set_input_files([small_photo(number) for number in range(MANY)])
    inspected(page, MANY)

    verdicts = page.locator(".card .verdict").all_text_contents()  # most of them out of sight
    assert len(verdicts) == MANY
    assert set(verdicts) <= {"Scratched", "Clean"}
    page.locator("input[value=scratches]").check(force=True)
    scratched = verdicts.count("Scratched")
    expect(page.locator(".card")).to_have_count(scratched)
    expect(page.locator("[data-count=scratches]")).to_have_text(str(scratched))


def small_photo(number: int) -> FilePayload:
    source = sorted(SAMPLES.glob("*.jpg"))[number % 8]
    buffer = io.BytesIO()
    with Image.open(source) as image:
        image.resize((160 + number, 120)).save(buffer, "JPEG", quality=80)
    return {"name": f"{number}.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}


def test_sorting_and_the_table(page: Page) -> None:
    choose(page, CLEAN, SCRATCHED)
    page.locator("#files").set_input_files([notes("=cmd.jpg")])
    inspected(page, 3)
    page.get_by_label("Sort").select_option("probability")

    assert page.locator(".card .name").all_inner_texts()[0] == SCRATCHED.name
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8-sig"))))
    assert [row["verdict"] for row in rows] == ["scratches", "no_scratches", "failed"]
    assert float(rows[0]["prob_scratches"]) > 0.5 > float(rows[1]["prob_scratches"])
    assert 0 < float(rows[0]["x"]) < 1
    assert rows[2]["file"] == "'=cmd.jpg" and "not a JPEG" in rows[2]["error"]


def test_by_keyboard_alone(page: Page) -> None:
    choosers: list[FileChooser] = []
    # Before the keys: Chromium is told of it in its own time, and would open a dialog of its own.
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    focus_by_tab(page, page.get_by_role("button", name="Choose photos"))
    page.keyboard.press("Enter")
    while not choosers:
        page.wait_for_timeout(50)
    choosers[0].set_files([CLEAN, SCRATCHED])
    inspected(page, 2)

    focus_by_tab(page, card(page, CLEAN.name).locator(".open"))
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text(CLEAN.name)
    page.keyboard.press("ArrowRight")
    expect(dialog.get_by_role("heading")).to_have_text(SCRATCHED.name)
    expect(dialog.locator(".box")).to_be_visible()
    page.keyboard.press("h")
    expect(dialog.locator(".box")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(card(page, SCRATCHED.name).locator(".open")).to_be_focused()


def focus_by_tab(page: Page, target: Locator) -> None:
    for _ in range(20):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError("Tab does not lead there")


def test_a_busy_service_is_asked_again(page: Page) -> None:
    refusals: list[str] = []

    def busy_once(route: Route) -> None:
        if refusals:
            route.continue_()
            return
        refusals.append(route.request.headers["idempotency-key"])
        problem = '{"code": "queue_full", "detail": "The queue is full."}'
        route.fulfill(status=503, headers={"Retry-After": "1"}, body=problem)

    page.route("**/upload_image*", busy_once)
    choose(page, CLEAN)
    inspected(page, 1)

    assert len(refusals) == 1
    expect(card(page, CLEAN.name).locator(".verdict")).to_have_text("Clean")


def test_a_key_is_asked_for_and_used(page: Page) -> None:
    used: list[str] = []

    def guard(route: Route) -> None:
        key = route.request.headers.get("x-api-key")
        if key == "secret":
            used.append(key)
            route.continue_()
        else:
            route.fulfill(status=401, body='{"code": "unauthorized", "detail": "A key, please."}')

    page.route("**/upload_image*", guard)
    choose(page, CLEAN)
    page.get_by_label("API key").fill("guess")
    page.keyboard.press("Enter")
    expect(page.locator("#key-hint")).to_have_text("That key is not accepted.")
    assert violations(page) == []
    page.get_by_label("API key").fill("secret")
    page.keyboard.press("Enter")
    inspected(page, 1)

    assert used == ["secret"]
    expect(card(page, CLEAN.name).locator(".verdict")).to_have_text("Clean")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_bars_the_way_for_assistive_technology(page: Page, scheme: str, width: int) -> None:
    """axe's rules on the empty page, with results, and with a photo opened."""
    page.emulate_media(
        color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
    )
    page.set_viewport_size({"width": width, "height": 800})
    expect(page.locator("#status-text")).to_contain_text("worker")
    assert violations(page) == []
    choose(page, SCRATCHED, CLEAN)
    page.locator("#files").set_input_files([notes()])
    inspected(page, 3)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    card(page, SCRATCHED.name).locator(".open").click()
    assert violations(page) == []


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {[node['html'] for node in rule['nodes']]}" for rule in found]
