"""Runs and models in MLflow: the only file that imports it.

A store that does not answer costs a warning, never a model.
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlflow.entities import Metric, Param
from mlflow.entities.model_registry import ModelVersion
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
)
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from shared.model.manifest import Manifest, load_manifest
from shared.settings import get_settings
from training.params import Params
from training.train import Calibration
from training.workspace import Workspace, stage_parser, start

#: of the experiment, and of the registered model whose versions are our checkpoints
NAME = "scratch-detector"
CHAMPION, CHALLENGER = "champion", "challenger"
#: seconds; a server that is away must not hold up training
_TIMEOUT_S = 10
#: characters of an error that are shown
_REASON = 200
_log = logging.getLogger(__name__)


def log_run(checkpoint: Path, params: Params, work: Workspace) -> str | None:
    """Records a run and its checkpoint as the new challenger; its version, None where it failed."""
    with _forgiving("this run is not recorded"):
        client = _client()
        manifest = load_manifest(checkpoint)
        run = client.create_run(
            _experiment(client), run_name=manifest.title, tags=_tags(manifest, checkpoint)
        )
        client.log_batch(run.info.run_id, metrics=_metrics(manifest, work), params=_params(params))
        client.log_artifacts(run.info.run_id, str(checkpoint), "checkpoint")
        client.log_text(run.info.run_id, card(manifest), "model-card.md")
        for file in sorted(p for p in work.root.rglob("*") if p.suffix in _SHOWN):
            folder = file.parent.relative_to(work.root).as_posix()
            client.log_artifact(run.info.run_id, str(file), f"reports/{folder}".rstrip("/."))
        client.set_terminated(run.info.run_id)
        return _register(client, run.info.run_id, f"{run.info.artifact_uri}/checkpoint", manifest)
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    """Records what `dvc repro` made, once: a stage itself depends on no server."""
    _, params, work = start(stage_parser(__doc__), arguments)
    checkpoint = Path("ckpts") / params.export.name
    manifest = load_manifest(checkpoint)
    with _forgiving("this run is not recorded"):
        if not _recorded(_client(), manifest.name, manifest.revision):
            log_run(checkpoint, params, work)


def set_champion(name: str, version: str) -> bool:
    """Moves the alias to the checkpoint NAME of revision `version` (as in its title NAME@VERSION).

    False, with a warning, where no such model is recorded or MLflow does not answer.
    """
    with _forgiving(f"{name}@{version} is not marked as champion"):
        client = _client()
        found = _recorded(client, name, version)
        if not found:
            raise LookupError(f"it has no run of {name}@{version}")
        newest = max(found, key=lambda model: int(model.version))
        client.set_registered_model_alias(NAME, CHAMPION, newest.version)
        return True
    return False


def _recorded(client: MlflowClient, name: str, revision: str) -> list[ModelVersion]:
    wanted = f"name = '{NAME}' and tags.revision = '{revision}' and tags.checkpoint = '{name}'"
    return list(client.search_model_versions(wanted))


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or a file of our own."""
    settings = get_settings()
    return settings.mlflow_tracking_uri or f"sqlite:///{settings.data_dir.resolve()}/mlflow.db"


def card(manifest: Manifest) -> str:
    """What the checkpoint is, for people."""
    measured = "\n".join(f"| {name} | {value:g} |" for name, value in manifest.metrics.items())
    data = ", ".join(f"{key}: {value}" for key, value in manifest.data.items())
    return (
        f"# Model card: {manifest.title}\n\n"
        f"Tells scratched from unscratched surfaces. Tower {manifest.backbone.model}, views of "
        f"{manifest.preprocess.size} pixels, grids {list(manifest.preprocess.grids)}; "
        f"temperature {manifest.temperature:g}, threshold {manifest.threshold:g}.\n\n"
        f"Learned from: {data}.\n\n"
        f"| on photos it has not learned from | |\n| --- | --- |\n{measured}\n\n"
        "It says little about surfaces that it has not seen.\n"
    )


_SHOWN = {".json", ".html", ".png", ".svg", ".csv"}


@contextmanager
def _forgiving(consequence: str) -> Iterator[None]:
    try:
        yield
    except (MlflowException, LookupError, OSError) as error:
        uri = tracking_uri()
        reason = str(error).replace(uri, _shown(uri)).splitlines()[0][:_REASON]
        _log.warning("MLflow at %s: %s; %s", _shown(uri), reason, consequence)


def _shown(uri: str) -> str:
    """Without the password that it may carry."""
    scheme, separator, rest = uri.partition("://")
    return scheme + separator + rest.rpartition("@")[2]


def _client() -> MlflowClient:
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(1)
    MLFLOW_HTTP_REQUEST_TIMEOUT.set(_TIMEOUT_S)
    uri = tracking_uri()
    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _experiment(client: MlflowClient) -> str:
    found = client.get_experiment_by_name(NAME)
    if found is not None:
        return str(found.experiment_id)
    place = None
    if tracking_uri().startswith("sqlite:///"):  # a server decides by itself
        place = (get_settings().data_dir.resolve() / "mlflow").as_uri()
    return str(client.create_experiment(NAME, artifact_location=place))


def _tags(manifest: Manifest, checkpoint: Path) -> dict[str, str]:
    return {
        "checkpoint": manifest.name,
        "revision": manifest.revision,
        "data_sha256": str(manifest.data.get("sha256", "")),
        "mlflow.source.name": str(checkpoint),
        "mlflow.source.git.commit": _git("rev-parse", "HEAD"),
        "git_dirty": str(bool(_git("status", "--porcelain", "--untracked-files=no"))).lower(),
    }


def _git(*arguments: str) -> str:
    """Empty outside of a repository."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10)  # noqa: S607
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _metrics(manifest: Manifest, work: Workspace) -> list[Metric]:
    now = int(time.time() * 1000)
    calibration = Calibration.model_validate_json(work.calibration.read_text())
    losses = [Metric("loss", loss, now, step) for step, loss in enumerate(calibration.losses)]
    return losses + [Metric(name, value, now, 0) for name, value in manifest.metrics.items()]


def _params(params: Params) -> list[Param]:
    return [Param(name, str(value)) for name, value in _flat(params.model_dump(mode="json"))]


def _flat(tree: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _register(client: MlflowClient, run_id: str, source: str, manifest: Manifest) -> str:
    try:
        client.create_registered_model(NAME)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {"checkpoint": manifest.name, "revision": manifest.revision}
    version = client.create_model_version(NAME, source, run_id=run_id, tags=tags).version
    client.set_registered_model_alias(NAME, CHALLENGER, version)
    return str(version)


if __name__ == "__main__":
    main()
