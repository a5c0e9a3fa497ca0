"""What a link says, and to whom."""

from __future__ import annotations

import itsdangerous
import pytest

from shared.errors import LinkExpired, LinkInvalid
from shared.links import ACTIONS, LINK_S, Action, Link, Signer, new_secret

TASK = "4fd1b4ddc5d24bd7a5b0c1a0a5d0b7fe"


def link(action: Action = "scratches") -> Link:
    return Link(task_id=TASK, action=action, prob_scratches=0.54)


@pytest.mark.parametrize("action", ACTIONS)
def test_what_was_signed_is_read(action: Action) -> None:
    signer = Signer(new_secret())
    assert signer.read(signer.token(link(action))) == link(action)


def test_a_token_is_fit_for_a_url_and_a_mail() -> None:
    token = Signer(new_secret()).token(link())
    assert len(token) < 200
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_nobody_else_signs() -> None:
    signer = Signer(new_secret())
    token = signer.token(link())
    payload, signed_at, signature = token.split(".")
    other = signer.token(link("no_scratches")).split(".")[0]
    for forged in (
        Signer(new_secret()).token(link()),
        f"{other}.{signed_at}.{signature}",
        f"{payload}.{signed_at}.",
        f"{payload}.AAAAAA.{signature}",
        token[:-4] + "AAAA",
        payload,
        "",
        "...",
        "ä",
    ):
        with pytest.raises(LinkInvalid):
            signer.read(forged)


def test_a_link_lasts_a_week(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = Signer("secret")
    signing = itsdangerous.TimestampSigner
    now = signing("s").get_timestamp()
    monkeypatch.setattr(signing, "get_timestamp", lambda _: now - LINK_S - 1)
    old = signer.token(link())
    monkeypatch.setattr(signing, "get_timestamp", lambda _: now)
    with pytest.raises(LinkExpired):
        signer.read(old)
