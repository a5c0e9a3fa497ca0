"""`/` and `/label`: the pages for people. Plain files, nothing to build."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse

_FOLDER = Path(str(files("api"))) / "static" / "page"
_ASSETS = {file.name: file for file in _FOLDER.iterdir()}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> FileResponse:
    return FileResponse(_FOLDER / "index.html")


@router.get("/label")
async def label() -> FileResponse:
    return FileResponse(_FOLDER / "label.html")


@router.get("/page/{name}")
async def asset(name: str) -> FileResponse:
    """Not cached: all of it is some 30 KB, and files of two versions must not meet."""
    if name not in _ASSETS:
        raise HTTPException(404)
    return FileResponse(_ASSETS[name])
