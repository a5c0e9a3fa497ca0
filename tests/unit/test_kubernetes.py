"""deploy/kubernetes: KEDA's kinds by KEDA's schemas, and what the manifests take for granted of us.

`make lint` holds the other kinds to Kubernetes' own schemas.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloudcoil.models.keda import v1alpha1 as keda

from api.routes import health
from docs.generate import page
from shared.contract import QUEUE_INSPECT

ROOT = Path(__file__).parents[2]
MANIFESTS = [
    manifest
    for file in sorted((ROOT / "deploy" / "kubernetes").glob("*.yml"))
    for manifest in yaml.safe_load_all(file.read_text())
]
#: what docs/deployment.md says to put into the secret
SECRET = set(re.findall(r"--from-literal=(\w+)=", (ROOT / "docs" / "deployment.md").read_text()))


def of_kind(kind: str) -> dict[str, Any]:
    return {each["metadata"]["name"]: each for each in MANIFESTS if each["kind"] == kind}


def containers() -> list[dict[str, Any]]:
    pods = [each["spec"]["template"]["spec"] for each in of_kind("Deployment").values()]
    return [container for pod in pods for container in pod["containers"]]


@pytest.mark.parametrize(
    "manifest",
    [each for each in MANIFESTS if "keda" in each["apiVersion"]],
    ids=lambda m: m["kind"],
)
def test_kedas_schemas_know_all_that_is_there(manifest: dict[str, Any]) -> None:
    read = getattr(keda, manifest["kind"]).model_validate(manifest)

    # a field that they do not know would not come back
    assert read.model_dump(by_alias=True, exclude_unset=True, mode="json") == manifest


def test_workers_are_scaled_by_the_queue_that_they_empty() -> None:
    (scaled,) = of_kind("ScaledObject").values()
    worker = of_kind("Deployment")[scaled["spec"]["scaleTargetRef"]["name"]]
    assert "replicas" not in worker["spec"], "kubectl apply would undo the scaling"
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["metadata"]["listName"] == QUEUE_INSPECT
    asked = of_kind("TriggerAuthentication")[trigger["authenticationRef"]["name"]]
    found = {ref["parameter"]: ref["key"] for ref in asked["spec"]["secretTargetRef"]}
    assert found == {"address": "REDIS_ADDRESS", "password": "REDIS_PASSWORD"}
    assert set(found.values()) <= SECRET


def test_settings_exist() -> None:
    known = set(re.findall(r"^\| `([A-Z_]+)` \|", page(), re.MULTILINE))
    (settings,) = of_kind("ConfigMap").values()

    assert settings["data"].keys() <= known
    assert "REDIS_URL" in SECRET & known


def test_probes_ask_for_what_there_is() -> None:
    paths = {getattr(route, "path", None) for route in health.router.routes}
    probes = [
        probe for container in containers() for name, probe in container.items() if "Probe" in name
    ]
    assert len(probes) == 3
    for probe in probes:
        if "httpGet" in probe:
            assert probe["httpGet"]["path"] in paths
        else:
            assert probe["exec"]["command"][:2] == ["python", "-m"]
            assert importlib.util.find_spec(probe["exec"]["command"][2])


def test_no_container_may_write_or_do_more_than_it_needs() -> None:
    for container in containers():
        assert container["securityContext"] == {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
