"""From an answer for review to a mail, a link, a click and a label: nothing is played here."""

from __future__ import annotations

import email.policy
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from shared.history.store import HistoryStore
from shared.keys import add_key
from shared.model.manifest import Bound, Certificate
from shared.settings import Settings
from tests.integration.service import BUNDLED, PATIENCE_S, Service, running, wait_until
from tests.photos import jpeg
from tests.smtp import IMPLICIT_TLS, Smtp

pytestmark = pytest.mark.filterwarnings(IMPLICIT_TLS)

BOUND = Bound(rate=0.01, images=500, needed=300)
#: nothing is below the first or above the second: all is too close to call
CERTIFICATE = Certificate(
    confidence=0.95, missed=BOUND, false_alarms=BOUND, unlike=0.01, clean_below=0, scratched_from=2
)


@dataclass
class Reviewed:
    stack: Service
    task_id: str
    #: as the mail has them, by what they say
    links: dict[str, str]

    def labels(self) -> list[str | None]:
        history = HistoryStore(Settings(_env_file=None, data_dir=self.stack.folder / ".data"))
        try:
            return [word.label for word in history.words(self.task_id)]
        finally:
            history.close()


@pytest.fixture(scope="module")
def reviewed(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    """A stack that asks for keys, and what the mail about its first answer says."""
    folder = tmp_path_factory.mktemp("say")
    unsure = shutil.copytree(BUNDLED, folder / "unsure")
    manifest = json.loads((unsure / "manifest.json").read_text())
    manifest["certificates"] = dict.fromkeys(manifest["tolerance"], CERTIFICATE.model_dump())
    (unsure / "manifest.json").write_text(json.dumps(manifest))
    key = {"X-API-Key": add_key(folder / ".data" / "api-keys", "line-1")}
    smtp = Smtp("tls", folder)
    environment = {
        "SCRATCH_CKPT": str(unsure), "SCRATCH_HISTORY_DAYS": "1",
        "SCRATCH_PUBLIC_URL": "https://scratch.test",
        "ALERT_EMAIL": "a@x.test", "ALERT_APP_PASSWORD": "app password", "ALERT_TO": "b@x.test",
        "SCRATCH_SMTP_HOST": "localhost", "SCRATCH_SMTP_PORT": str(smtp.port),
        "SCRATCH_SMTP_CA_FILE": str(smtp.ca_file), "SCRATCH_ALERT_WINDOW_S": "0.2",
    }  # fmt: skip
    try:
        with running(folder, environment) as stack:
            answer = stack.http.post("/upload_image", files={"file": jpeg()}, headers=key)
            task_id = answer.headers["x-task-id"]
            assert smtp.mailbox.arrived.wait(PATIENCE_S)
            url = f"/tasks/{task_id}/image"
            wait_until(lambda: stack.http.get(url, headers=key).is_success)  # it is kept by now
            yield Reviewed(stack, task_id, links_in(smtp.mailbox.messages[0]))
    finally:
        smtp.controller.stop()


def links_in(mail: bytes) -> dict[str, str]:
    message = email.message_from_bytes(mail, policy=email.policy.default)
    text = message.get_content().replace("\r\n", "\n")
    assert "too close to call" in text
    return dict(re.findall(r"^    (.+): https://scratch\.test(\S+)$", text, re.MULTILINE))


@pytest.fixture
def page(browser: Browser, reviewed: Reviewed) -> Iterator[Page]:
    context = browser.new_context(base_url=str(reviewed.stack.http.base_url))
    page = context.new_page()
    page.set_default_timeout(60_000)
    refused: list[str] = []
    page.on(
        "console",
        lambda message: refused.append(message.text) if "Content Security" in message.text else 0,
    )
    yield page
    context.close()
    assert refused == []


def test_a_reader_of_the_mail_says_what_the_photo_shows(reviewed: Reviewed, page: Page) -> None:
    page.goto(reviewed.links["scratched"])
    expect(page.get_by_role("heading")).to_have_text("Is this surface scratched?")
    photo = page.get_by_role("img")
    expect(photo).to_be_visible()
    assert photo.evaluate("image => image.complete && image.naturalWidth") > 0
    assert reviewed.labels() == []

    page.get_by_role("button").click()

    expect(page.get_by_text("Recorded as scratched.")).to_be_visible()
    assert reviewed.labels() == ["scratches"]
    page.goto(reviewed.links["scratched"])
    expect(page.get_by_text("This link has been used")).to_be_visible()
    assert page.get_by_role("button").count() == 0


def test_a_photo_to_be_taken_again_has_no_label(reviewed: Reviewed, page: Page) -> None:
    page.goto(reviewed.links["take it again"])
    page.get_by_role("button").click()
    expect(page.get_by_text("it must be taken again")).to_be_visible()
    assert reviewed.labels()[-1] is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_the_page(reviewed: Reviewed, page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(reviewed.links["clean"])
    expect(page.get_by_role("button")).to_be_visible()
    assert Axe().run(page).response["violations"] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
