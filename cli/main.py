"""The `scratch` command. Each subcommand imports what it needs when it runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from shared.settings import Settings

app = typer.Typer(
    help="Tells from photos whether surfaces are scratched.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

keys = typer.Typer(help="API keys: who may ask.", no_args_is_help=True)
app.add_typer(keys, name="keys")

KeyName = Annotated[str, typer.Argument(help="Who or what has this key.")]
Paths = Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line for each file.")]


def _settings() -> Settings:
    """Exits with 2 and one sentence a mistake."""
    from pydantic import ValidationError

    from shared.settings import get_settings

    try:
        return get_settings()
    except ValidationError as error:
        for mistake in error.errors():
            name = ".".join(str(part) for part in mistake["loc"]) or "settings"
            typer.echo(f"scratch: {name}: {mistake['msg']}", err=True)
        raise typer.Exit(2) from None


@app.command()
def predict(
    paths: Paths,
    json: Json = False,
    ckpt: Annotated[
        Path | None, typer.Option(help="Checkpoint folder [default: SCRATCH_CKPT].")
    ] = None,
    explain: Annotated[
        Path | None, typer.Option(help="Folder for copies that show where the evidence lies.")
    ] = None,
) -> None:
    """Classify photos in this process, without a queue. Exits with 1 if a file was refused."""
    from cli.predict import predict as run

    raise typer.Exit(run(paths, _settings(), ckpt=ckpt, as_json=json, explain=explain))


@app.command()
def submit(
    paths: Paths,
    json: Json = False,
    url: Annotated[
        str | None, typer.Option(help="The service [default: http://127.0.0.1:PORT].")
    ] = None,
) -> None:
    """Send photos to a running service; answers are printed as they come.

    Where it asks for an API key, set SCRATCH_API_KEY.
    """
    from cli.submit import submit as run

    settings = _settings()
    url = url or f"http://127.0.0.1:{settings.port}"
    key = settings.api_key.get_secret_value()
    raise typer.Exit(run(paths, url, api_key=key, as_json=json))


@app.command()
def watch(
    folder: Annotated[Path, typer.Argument(help="Photos arrive here, at any depth.")],
    move: Annotated[
        bool, typer.Option("--move", help="Sort photos into folders instead of tagging them.")
    ] = False,
    json: Json = False,
    url: Annotated[
        str | None, typer.Option(help="The service [default: http://127.0.0.1:PORT].")
    ] = None,
) -> None:
    """Inspect what arrives in a folder, until Ctrl-C; a restart goes on where this ended.

    Each photo gets a file PHOTO.scratch.json, or moves to scratches/, no_scratches/ or refused/.
    """
    from cli.watch import watch as run

    settings = _settings()
    url = url or f"http://127.0.0.1:{settings.port}"
    key = settings.api_key.get_secret_value()
    raise typer.Exit(run(folder, url, api_key=key, move=move, as_json=json))


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="The .pth file of the original service.")],
    backbone: Annotated[str, typer.Option(help="open_clip's name of the model in it.")],
    name: Annotated[
        str | None, typer.Option(help="Of the new checkpoint [default: as the file].")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of checkpoints.")] = Path("ckpts"),
) -> None:
    """Make a checkpoint of the original service's file, which then answers as it did."""
    from cli.training import import_original as run

    raise typer.Exit(run(file, backbone=backbone, out=out, name=name or file.stem))


@app.command()
def limits(
    clean: Annotated[Path, typer.Option(help="Folder of photos without scratches.")],
    ckpt: Annotated[
        str | None, typer.Option(help="Checkpoint: its folder or its name [default: SCRATCH_CKPT].")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Scratches of each width and contrast.")] = 120,
    json: Annotated[bool, typer.Option("--json", help="All of it as one JSON object.")] = False,
) -> None:
    """Say how thin a scratch is still found, by drawing scratches on your own clean photos."""
    from cli.training import limits as run

    folder = _settings().ckpt if ckpt is None else Path(ckpt)
    if not folder.exists() and (Path("ckpts") / folder).is_dir():
        folder = Path("ckpts") / folder
    raise typer.Exit(run(folder, clean, trials=trials, as_json=json))


@app.command()
def train(
    folder: Annotated[Path, typer.Argument(help="With scratches/ and no_scratches/.")],
    name: Annotated[
        str | None, typer.Option(help="Of the checkpoint [default: the folder's].")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of checkpoints.")] = Path("ckpts"),
    params: Annotated[Path, typer.Option(help="What the stages do.")] = Path("params.yaml"),
) -> None:
    """Learn from your own photos; says how good the new checkpoint is."""
    from cli.train import train as run

    raise typer.Exit(run(folder, _settings(), name=name, out=out, params_file=params))


@app.command()
def mlflow(port: Annotated[int, typer.Option(help="On 127.0.0.1 alone.")] = 5000) -> None:
    """Look at training runs and models, until Ctrl-C."""
    from cli.train import show_runs as run

    raise typer.Exit(run(_settings(), port))


@app.command()
def serve() -> None:
    """Run everything on this machine: Redis, worker, api and Flower, until Ctrl-C."""
    from cli.serve import serve as run

    raise typer.Exit(run(_settings()))


@keys.command("add")
def add_key(name: KeyName) -> None:
    """Make a key and print it. From the first key on, every request needs one."""
    from cli.keys import add

    add(_settings(), name)


@keys.command("list")
def list_keys() -> None:
    """Print the names of the keys."""
    from cli.keys import show

    show(_settings())


@keys.command("remove")
def remove_key(name: KeyName) -> None:
    """Remove a key; it is refused from now on."""
    from cli.keys import remove

    remove(_settings(), name)


Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for the workers to change over.")]


@app.command()
def promote(
    name: Annotated[str | None, typer.Argument(help="A checkpoint in SCRATCH_CKPTS.")] = None,
    back: Annotated[bool, typer.Option("--back", help="Return to the champion before.")] = False,
    wait: Wait = 120,
) -> None:
    """Make a checkpoint the champion: running workers prove it, then change over."""
    from cli.models import promote as run
    from cli.models import refusing, roll_back

    if bool(name) == back:
        raise typer.BadParameter("give either NAME or --back")
    settings = _settings()
    if name:
        raise typer.Exit(refusing(lambda: run(name, settings, wait_s=wait)))
    raise typer.Exit(refusing(lambda: roll_back(settings, wait_s=wait)))


@app.command()
def models() -> None:
    """Show champion and challenger, and which worker serves what."""
    from cli.models import refusing, show

    raise typer.Exit(refusing(lambda: show(_settings())))


ab = typer.Typer(help="Try a challenger beside the champion.", no_args_is_help=True)
app.add_typer(ab, name="ab")


@ab.command("start")
def start_trial(
    name: Annotated[str, typer.Argument(help="A checkpoint in SCRATCH_CKPTS.")],
    share: Annotated[
        float, typer.Option(min=0.001, max=0.999, help="Of the clients, who get its answers.")
    ] = 0.1,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="It judges everything and answers nobody.")
    ] = False,
    wait: Wait = 120,
) -> None:
    """Put a challenger beside the champion; a trial that runs ends."""
    from cli.ab import start as run
    from cli.models import refusing

    settings = _settings()
    raise typer.Exit(refusing(lambda: run(name, settings, share=share, shadow=shadow, wait_s=wait)))


@ab.command("stop")
def stop_trial(wait: Wait = 120) -> None:
    """End the trial; the champion goes on alone."""
    from cli.ab import stop as run
    from cli.models import refusing

    raise typer.Exit(refusing(lambda: run(_settings(), wait_s=wait)))


@ab.command("report")
def report_trial(
    trial: Annotated[str | None, typer.Option(help="[default: the one that runs]")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Compare the two, and say: promote, keep, or not enough evidence yet."""
    from cli.ab import report as run
    from cli.models import refusing

    raise typer.Exit(refusing(lambda: run(_settings(), trial_id=trial, as_json=json)))


class Said(StrEnum):
    SCRATCHES = "scratches"
    NO_SCRATCHES = "no_scratches"


@ab.command("label")
def label_task(task_id: str, said: Said) -> None:
    """Say what a task's photo really shows; the trial learns from it."""
    from cli.ab import label as run
    from cli.models import refusing

    raise typer.Exit(refusing(lambda: run(task_id, said.value, _settings())))


dataset = typer.Typer(
    help="Photos that the service keeps, and what people say of them.", no_args_is_help=True
)
app.add_typer(dataset, name="dataset")


@dataset.command("export")
def export_dataset(
    folder: Annotated[Path, typer.Argument(help="Gets scratches/ and no_scratches/.")],
) -> None:
    """Bring a folder up to date with the labelled photos, to train from."""
    from cli.dataset import export as run
    from cli.models import refusing

    raise typer.Exit(refusing(lambda: run(folder, _settings())))


@dataset.command("queue")
def labelling_queue(
    count: Annotated[int, typer.Option("-n", min=1, help="At most.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the unlabelled photos that would teach a model the most."""
    from cli.dataset import queue as run
    from cli.models import refusing

    raise typer.Exit(refusing(lambda: run(_settings(), count=count, as_json=json)))


@dataset.command("forget")
def forget_task(task_id: str) -> None:
    """Remove a task's photo and all that was said of it, for good."""
    from cli.dataset import forget as run
    from cli.models import refusing

    raise typer.Exit(refusing(lambda: run(task_id, _settings())))


@dataset.command("prune")
def prune_dataset() -> None:
    """Remove now what SCRATCH_HISTORY_DAYS and SCRATCH_LABELLED_DAYS do not keep."""
    from cli.dataset import prune_now as run
    from cli.models import refusing

    raise typer.Exit(refusing(lambda: run(_settings())))


@app.command()
def retrain(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of photos [default: `dvc repro`, or else params.yaml]."),
    ] = None,
    pull: Annotated[bool, typer.Option("--pull", help="First, `dvc pull`.")] = False,
    if_drift: Annotated[
        bool, typer.Option("--if-drift", help="Only if the photos have lastingly changed.")
    ] = False,
    report: Annotated[Path, typer.Option(help="Folder of retrain.md and retrain.json.")] = Path(
        ".data/retrain"
    ),
) -> None:
    """Train a candidate and hold it against SCRATCH_CKPT: is it better beyond noise?"""
    from cli.models import refusing
    from cli.retrain import retrain as run
    from cli.retrain import retrain_if_drifted

    settings = _settings()
    if if_drift:
        train = lambda: run(settings, data=data, pull=pull, report=report)  # noqa: E731
        raise typer.Exit(refusing(lambda: retrain_if_drifted(settings, train)))
    raise typer.Exit(run(settings, data=data, pull=pull, report=report))


@app.command()
def drift(
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say whether photos or the rate of scratches have changed, as the workers saw it last."""
    from cli.drift import show
    from cli.models import refusing

    raise typer.Exit(refusing(lambda: show(_settings(), as_json=json)))


@app.command()
def recall(
    model: Annotated[
        str | None, typer.Option(help="A checkpoint in SCRATCH_CKPTS [default: SCRATCH_CKPT].")
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Judge kept images where embeddings do not help.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON lines instead of CSV.")] = False,
) -> None:
    """List answers of the history that this model would give otherwise, the worst first."""
    from cli.recall import recall as run

    settings = _settings()
    folder = settings.ckpts / model if model else settings.ckpt
    raise typer.Exit(run(folder, settings, images=images, as_json=json))


if __name__ == "__main__":
    app()
