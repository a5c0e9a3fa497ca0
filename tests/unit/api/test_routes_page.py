from __future__ import annotations

import re

import pytest


@pytest.mark.parametrize("path", ["/", "/label"])
async def test_the_page_and_all_it_loads_are_ours_and_nothing_is_inline(client, path):
    response = await client.get(path)
    assert response.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in response.headers["content-security-policy"]
    page = response.text
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script[^>]*>[^<]", page)
    assets = [url for url in re.findall(r'(?:src|href)="([^"#]+)"', page) if url != "docs"]
    assets = [url.removeprefix("./") for url in assets]
    assert len(assets) >= 4
    for url in assets:
        assert (await client.get(f"/{url}")).status_code == 200, url


@pytest.mark.parametrize("start", ["main.js", "label.js"])
async def test_every_module_that_a_module_imports_is_there(client, start):
    seen, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        seen.add(name)
        response = await client.get(f"/page/{name}")
        assert response.status_code == 200, name
        assert response.headers["content-type"].startswith("text/javascript")
        waiting += set(re.findall(r'(?:from|import) "\./([^"]+)"', response.text)) - seen
    assert len(seen) >= 5


@pytest.mark.parametrize("name", ["nope.js", "..%2fdocs.js", "%2e%2e/__init__.py"])
async def test_names_are_no_paths(client, name):
    assert (await client.get(f"/page/{name}")).status_code == 404


async def test_the_state_of_queue_and_workers(client, upload):
    await upload(url="/upload_image?wait=false")
    state = (await client.get("/status")).json()
    assert state == {"workers": [], "open_tasks": 1, "queue_limit": 5, "flower_port": 5555}
