"""People judge verdicts and label photos: a real browser, and a real stack with a history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from shared.history.informative import most_informative
from shared.history.store import Answered, HistoryStore
from shared.settings import Settings
from tests.e2e.test_page import CLEAN, SCRATCHED, card, choose, focus_by_tab, inspected, violations
from tests.integration.service import Service, running, wait_until


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("feedback-stack")
    with running(folder, {"SCRATCH_HISTORY_DAYS": "30"}) as service:
        yield service


@pytest.fixture
def history(stack: Service) -> Iterator[HistoryStore]:
    """What the stack keeps; emptied for each test."""
    store = HistoryStore(Settings(_env_file=None, data_dir=stack.folder / ".data"))
    for task_id in (answer.task_id for answer in kept(store)):
        store.forget(task_id)
    yield store
    store.close()


def kept(store: HistoryStore) -> list[Answered]:
    return [*most_informative(store, 1000), *(answer for answer, _ in store.labelled_images())]


def labels(store: HistoryStore) -> list[str]:
    return sorted(label for _, label in store.labelled_images())


def judged(page: Page, photo: Path) -> Locator:
    return card(page, photo.name).locator(".judge")


def test_one_click_says_that_a_verdict_is_wrong_and_another_takes_it_back(
    page: Page, history: HistoryStore
) -> None:
    choose(page, SCRATCHED, CLEAN)
    inspected(page, 2)
    wait_until(lambda: len(kept(history)) == 2)

    wrong = judged(page, SCRATCHED).get_by_role("button", name="Wrong")
    wrong.click()
    expect(judged(page, SCRATCHED).locator(".noted")).to_have_text(
        "Noted as clean. The photo is kept to learn from."
    )
    expect(wrong).to_have_attribute("aria-pressed", "true")
    judged(page, CLEAN).get_by_role("button", name="Right").click()
    expect(judged(page, CLEAN).locator(".noted")).to_contain_text("Noted as clean")
    assert labels(history) == ["no_scratches", "no_scratches"]

    wrong.click()
    expect(judged(page, SCRATCHED).locator(".noted")).to_have_text("Taken back.")
    expect(wrong).to_have_attribute("aria-pressed", "false")
    assert labels(history) == ["no_scratches"]


def test_judging_by_keyboard(page: Page, history: HistoryStore) -> None:
    choose(page, SCRATCHED)
    inspected(page, 1)
    wait_until(lambda: len(kept(history)) == 1)
    right = judged(page, SCRATCHED).get_by_role("button", name="Right")
    expect(right).to_have_accessible_name(f"Right: {SCRATCHED.name} is called scratched")
    focus_by_tab(page, right)
    page.keyboard.press("Enter")
    expect(right).to_have_attribute("aria-pressed", "true")
    expect(right).to_be_focused()

    card(page, SCRATCHED.name).locator(".open").click()
    page.keyboard.press("w")
    noted = page.get_by_role("dialog").locator(".noted")
    expect(noted).to_contain_text("Noted as clean")
    assert labels(history) == ["no_scratches"]
    assert violations(page) == []


def test_what_could_not_be_noted_is_said(page: Page, history: HistoryStore) -> None:
    choose(page, CLEAN)
    inspected(page, 1)
    problem = '{"code": "task_not_found", "detail": "No such task."}'
    page.route("**/feedback", lambda route: route.fulfill(status=404, body=problem))

    judged(page, CLEAN).get_by_role("button", name="Wrong").click()

    expect(judged(page, CLEAN).locator(".noted")).to_have_text("Not noted: No such task.")


def test_labelling_with_single_keys(page: Page, stack: Service, history: HistoryStore) -> None:
    photos = sorted(SCRATCHED.parent.glob("*.jpg"))[:4]
    for photo in photos:
        assert stack.upload(photo.read_bytes()).is_success
    wait_until(lambda: len(kept(history)) == 4)
    page.goto("/label")
    live, photo = page.locator("#label-live"), page.get_by_role("img", name="A photo")
    expect(live).to_have_text("4 unlabelled.")
    expect(photo).to_be_visible()
    assert photo.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    first = photo.get_attribute("src")

    page.keyboard.press("s")
    expect(live).to_contain_text("Noted as scratched. The model says")
    expect(live).to_contain_text("3 unlabelled.")
    page.keyboard.press("u")
    expect(live).to_have_text("Undone. 4 unlabelled.")
    assert photo.get_attribute("src") == first
    assert labels(history) == []
    page.keyboard.press("c")
    expect(live).to_contain_text("Noted as clean")
    page.keyboard.press("x")
    expect(live).to_have_text("Skipped. 3 unlabelled.")
    page.get_by_role("button", name="Scratched").click()
    expect(live).to_contain_text("2 unlabelled.")
    page.keyboard.press("s")
    expect(live).to_contain_text("1 were skipped")
    expect(photo).to_be_hidden()

    assert labels(history) == ["no_scratches", "scratches", "scratches"]


def test_nothing_to_label_is_said(page: Page, history: HistoryStore) -> None:
    page.goto("/label")
    expect(page.locator("#label-live")).to_contain_text("Every photo that is kept is labelled.")


def test_who_may_not_label_is_told_why(page: Page, history: HistoryStore) -> None:
    def refuse(route: Route) -> None:
        route.fulfill(status=403, body='{"code": "not_a_reviewer", "detail": "Not with this key."}')

    page.route("**/labelling*", refuse)
    page.goto("/label")
    expect(page.locator("#label-live")).to_have_text("Not with this key.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_bars_the_way_to_label(
    page: Page, stack: Service, history: HistoryStore, scheme: str, width: int
) -> None:
    page.emulate_media(
        color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
    )
    page.set_viewport_size({"width": width, "height": 800})
    assert stack.upload(CLEAN.read_bytes()).is_success
    wait_until(lambda: len(kept(history)) == 1)
    page.goto("/label")
    expect(page.get_by_role("img", name="A photo")).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
