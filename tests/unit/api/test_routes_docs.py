from __future__ import annotations

import re

import pytest


async def test_the_page_loads_only_what_we_serve_and_nothing_inline(client):
    page = (await client.get("/docs")).text
    urls = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(urls) == 4
    for url in urls:
        response = await client.get(f"/{url}")
        assert (response.status_code, len(response.content) > 100) == (200, True), url
    assert "<style" not in page
    assert not re.search(r"<script[^>]*>[^<]", page)


async def test_it_shows_our_own_description(client):
    script = (await client.get("/docs/start.js")).text
    assert 'url: "openapi.json"' in script
    assert (await client.get("/openapi.json")).json()["openapi"].startswith("3.1")


@pytest.mark.parametrize("name", ["nope.js", "..%2f..%2fdocs.py", "%2e%2e/__init__.py", "/etc"])
async def test_names_are_no_paths(client, name):
    assert (await client.get(f"/docs/{name}")).status_code == 404
