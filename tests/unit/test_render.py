"""render.yaml against what Render's published schema of blueprints allows, and against ourselves.

No package ships that schema, and it says under no licence that we may: the fields and words of it
that we use are written down here. Whether a plan still exists, Render alone knows.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.routes import health
from api.server import _GRACE_S
from docs.generate import page

ROOT = Path(__file__).parents[2]
BLUEPRINT = yaml.safe_load((ROOT / "render.yaml").read_text())
SERVICES = {service["name"]: service for service in BLUEPRINT["services"]}
#: fields by type: those that must be there, and all that we know
_SERVER = {"type", "name", "runtime"}
_ALLOWED = {
    "keyvalue": ({"type", "name", "ipAllowList"}, {"plan", "region", "maxmemoryPolicy"}),
    "web": (
        _SERVER,
        {"plan", "region", "image", "healthCheckPath", "maxShutdownDelaySeconds", "envVars"},
    ),
    "worker": (_SERVER, {"plan", "region", "image", "maxShutdownDelaySeconds", "envVars"}),
}
_PLANS = {"free", "starter", "standard", "pro", "pro plus", "pro max", "pro ultra"}
_REGIONS = {"oregon", "ohio", "frankfurt", "singapore", "virginia"}


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_fields_are_those_of_its_type(service: dict[str, Any]) -> None:
    needed, more = _ALLOWED[service["type"]]

    assert needed <= service.keys() <= needed | more
    assert service["plan"] in _PLANS
    assert service["region"] in _REGIONS
    assert service.get("maxmemoryPolicy", "noeviction") == "noeviction"
    assert 1 <= service.get("maxShutdownDelaySeconds", 1) <= 300


def test_variables_are_settings_and_lead_where_they_say() -> None:
    known = set(re.findall(r"^\| `([A-Z_]+)` \|", page(), re.MULTILINE))
    for service in SERVICES.values():
        for variable in service.get("envVars", []):
            assert variable["key"] in known
            (kind,) = variable.keys() - {"key"}
            if kind == "fromService":
                asked = variable["fromService"]
                assert asked["property"] == "connectionString"
                assert SERVICES[asked["name"]]["type"] == asked["type"] == "keyvalue"
            elif kind == "sync":
                assert variable["sync"] is False
            else:
                assert isinstance(variable["value"], str)


def test_the_api_is_asked_for_its_health_and_given_time_to_end() -> None:
    api = SERVICES["scratch-api"]

    assert api["healthCheckPath"] in {
        getattr(route, "path", None) for route in health.router.routes
    }
    assert api["maxShutdownDelaySeconds"] > _GRACE_S


def test_images_are_those_that_the_workflow_pushes() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "images.yml").read_text())
    pushed = {
        each["image"] + each["suffix"]
        for each in workflow["jobs"]["push"]["strategy"]["matrix"]["include"]
    }
    for service in SERVICES.values():
        if "image" in service:
            name, _, tag = service["image"]["url"].rpartition("/")[2].partition(":")
            assert service["runtime"] == "image"
            assert name in pushed
            assert tag == "latest"
