"""A word by a link in a mail; the history is real, Redis and worker are fakes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from fakeredis import FakeRedis
from redis.asyncio import Redis

from shared.errors import HistoryUnavailable
from shared.history.store import Answered, HistoryStore
from shared.keys import add_key
from shared.links import LINKS_KEY, Action, Link, used_key
from shared.settings import Settings
from tests.fakes_history import answered, keep
from worker.mail_links import MailLinks

Post = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def history(settings: Settings) -> Iterator[HistoryStore]:
    store = HistoryStore(settings)
    yield store
    store.close()


@pytest.fixture
async def kept(history: HistoryStore) -> Answered:
    answer = answered(7, pred="no_scratches")
    await asyncio.to_thread(keep, history, answer)
    return answer


@pytest.fixture
def links_of(redis: Redis) -> Callable[[str], dict[str, str]]:
    """The paths of the links in a mail about a task, as a worker makes them."""

    def of(task_id: str) -> dict[str, str]:
        server = redis.connection_pool.connection_kwargs["server"]
        found = MailLinks(FakeRedis(server=server), "https://x.test/")(task_id, 0.54)
        assert [word for word, _ in found] == ["scratched", "clean", "take it again"]
        return {word: url.removeprefix("https://x.test") for word, url in found}

    return of


def words(history: HistoryStore, task_id: str) -> list[tuple[str | None, str | None, str]]:
    return [(word.label, word.note, word.source) for word in history.words(task_id)]


@pytest.mark.parametrize(
    ("word", "label", "note"),
    [
        ("scratched", "scratches", None),
        ("clean", "no_scratches", None),
        ("take it again", None, "take it again"),
    ],
)
async def test_a_word_is_said_by_the_button_alone_and_once(
    client: httpx.AsyncClient, history: HistoryStore, kept: Answered, links_of: Any, word: str,
    label: str | None, note: str | None,
) -> None:  # fmt: skip
    path = links_of(kept.task_id)[word]
    # Given that a mail scanner opens the link
    for _ in range(2):
        page = await client.get(path)
        assert page.status_code == 200
        assert '<form method="post">' in page.text
        assert "54%" in page.text
    assert words(history, kept.task_id) == []
    # When
    said = await client.post(path)
    # Then
    assert said.status_code == 200 and "Recorded" in said.text
    assert words(history, kept.task_id) == [(label, note, "mail")]
    for again in (await client.post(path), await client.get(path)):
        assert again.status_code == 409 and "has been used" in again.text
        assert "<form" not in again.text
    assert len(words(history, kept.task_id)) == 1
    assert (await client.get(f"{path}/image")).status_code == 409


async def test_the_other_links_of_a_mail_still_work(
    client: httpx.AsyncClient, history: HistoryStore, kept: Answered, links_of: Any
) -> None:
    links = links_of(kept.task_id)
    await client.post(links["scratched"])
    assert (await client.post(links["clean"])).status_code == 200
    assert [label for label, *_ in words(history, kept.task_id)] == ["scratches", "no_scratches"]


async def test_many_clicks_at_once_are_one_word(
    client: httpx.AsyncClient, history: HistoryStore, kept: Answered, links_of: Any
) -> None:
    path = links_of(kept.task_id)["clean"]
    answers = await asyncio.gather(*(client.post(path) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert len(words(history, kept.task_id)) == 1


async def test_the_photo_is_shown_by_the_link_where_keys_are_asked_for(
    client: httpx.AsyncClient, settings: Settings, kept: Answered, links_of: Any
) -> None:
    add_key(settings.keys_file, "line-1")
    path = links_of(kept.task_id)["scratched"]
    assert (await client.get(f"/tasks/{kept.task_id}/image")).status_code == 401

    page = await client.get(path)
    photo = await client.get(f"{path}/image")

    assert f'src="{path.removeprefix("/say/")}/image"' in page.text
    assert photo.headers["content-type"].startswith("image/")
    assert (await client.post(path)).status_code == 200


async def test_a_task_without_a_kept_photo(
    client: httpx.AsyncClient, upload: Post, answering: Any, history: HistoryStore, links_of: Any
) -> None:
    answering()
    task_id = (await upload()).headers["x-task-id"]
    path = links_of(task_id)["scratched"]
    page = await client.get(path)
    assert "not kept" in page.text and "<img" not in page.text
    assert (await client.get(f"{path}/image")).status_code == 404
    assert (await client.post(path)).status_code == 200
    assert words(history, task_id) == [("scratches", None, "mail")]


async def test_a_task_that_nobody_knows_any_more(
    client: httpx.AsyncClient, redis: Redis, links_of: Any
) -> None:
    gone = await client.post(links_of("f" * 32)["clean"])
    assert gone.status_code == 404 and "expired" in gone.text
    assert not await redis.keys("scratch:link:*")  # it was not used


async def test_a_word_that_could_not_be_recorded_may_be_said_again(
    client: httpx.AsyncClient, kept: Answered, links_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise HistoryUnavailable

    path = links_of(kept.task_id)["clean"]
    with monkeypatch.context() as patch:
        patch.setattr(HistoryStore, "say", away)
        assert (await client.post(path)).status_code == 503
    assert (await client.post(path)).status_code == 200


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "%00", "..%2f..%2fetc", "x" * 399])
async def test_what_is_no_link(
    client: httpx.AsyncClient, kept: Answered, links_of: Any, token: str
) -> None:
    for _ in range(2):  # before and after there is a secret
        for answer in (await client.get(f"/say/{token}"), await client.post(f"/say/{token}")):
            assert answer.status_code == 404
        links_of(kept.task_id)


async def test_whoever_deletes_the_secret_ends_all_links(
    client: httpx.AsyncClient, redis: Redis, kept: Answered, links_of: Any
) -> None:
    path = links_of(kept.task_id)["clean"]
    await redis.delete(LINKS_KEY)
    assert (await client.get(path)).status_code == 404
    links_of(kept.task_id)  # the next mail makes another
    assert (await client.get(path)).status_code == 404


async def test_a_used_link_stays_used_as_long_as_it_would_work(
    client: httpx.AsyncClient, redis: Redis, kept: Answered, links_of: Any
) -> None:
    await client.post(links_of(kept.task_id)["clean"])
    action: Action = "no_scratches"
    link = Link(task_id=kept.task_id, action=action, prob_scratches=0.54)
    assert await redis.ttl(used_key(link)) > 6.9 * 86_400


async def test_the_page_lets_nothing_in(
    client: httpx.AsyncClient, kept: Answered, links_of: Any
) -> None:
    page = await client.get(links_of(kept.task_id)["clean"])
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
