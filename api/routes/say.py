"""Where the links in alert mails lead: a page that asks, and a button that says.

The link is the credential: whoever has it may say this one word about this one task, key or not. So
nothing is changed by opening it, and no other site can know what to send.
"""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Path
from redis.exceptions import RedisError
from starlette.responses import HTMLResponse, Response

from api.deps import Links
from api.errors import status_of
from api.links import LinkService
from api.routes.feedback import shown
from shared.errors import BrokerUnavailable, ImageNotKept, LinkUsed, ServiceError
from shared.links import Action

router = APIRouter(prefix="/say", include_in_schema=False)

Token = Annotated[str, Path(max_length=400)]

#: the question, the button and the thanks
_WORDS: dict[Action, tuple[str, str, str]] = {
    "scratches": ("Is this surface scratched?", "Yes, it is scratched", "Recorded as scratched."),
    "no_scratches": ("Is this surface clean?", "Yes, it is clean", "Recorded as clean."),
    "retake": (
        "Must this photo be taken again?",
        "Yes, nobody can tell from it",
        "Recorded: it must be taken again.",
    ),
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title} - Scratch detector</title>
<link rel="stylesheet" href="../page/style.css">
<link rel="icon" href="../page/icon.svg">
</head>
<body>
<main class="say">
<h1>{title}</h1>
{body}</main>
</body>
</html>
"""


@router.get("/{token}")
async def ask(token: Token, links: Links) -> HTMLResponse:
    return await _for_people(_asking, links, token)


@router.post("/{token}")
async def say(token: Token, links: Links) -> HTMLResponse:
    return await _for_people(_saying, links, token)


@router.get("/{token}/image")
async def image(token: Token, links: Links) -> Response:
    return shown(await links.image(token))


async def _for_people(
    page: Callable[[LinkService, str], Awaitable[str]], links: LinkService, token: str
) -> HTMLResponse:
    """An error as a page, too."""
    try:
        return HTMLResponse(await page(links, token))
    except ServiceError as error:
        problem = error
    except RedisError:
        problem = BrokerUnavailable()
    title = "Already said" if isinstance(problem, LinkUsed) else "Nothing was recorded"
    return HTMLResponse(_page(title, _text(problem.message)), status_of(problem))


async def _asking(links: LinkService, token: str) -> str:
    link = await links.open(token)
    question, button, _ = _WORDS[link.action]
    try:
        await links.image(token)
        photo = f'<img src="{html.escape(token)}/image" alt="The photo in question">\n'
    except ImageNotKept:
        photo = _text("The photo is not kept.")
    return _page(
        question,
        photo
        + _text(f"Task {link.task_id}; the service says: scratches, {link.prob_scratches:.0%}.")
        + f'<form method="post"><button class="primary">{button}</button></form>\n'
        + _text("This link works once."),
    )


async def _saying(links: LinkService, token: str) -> str:
    link = await links.say(token)
    return _page("Thank you", _text(_WORDS[link.action][2]))


def _text(text: str) -> str:
    return f"<p>{html.escape(text)}</p>\n"


def _page(title: str, body: str) -> str:
    return _PAGE.format(title=html.escape(title), body=body)
