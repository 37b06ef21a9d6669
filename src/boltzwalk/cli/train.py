"""Commands that train."""

from __future__ import annotations

import glob
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..training.progress import shown
from ..training.signals import StopRequest, stop_on_signal
from .arguments import parse_assignments, run_name
from .errors import (
    INTERRUPTED,
    Debug,
    Folder,
    Imports,
    Quiet,
    Runs,
    app,
    errors,
    import_code,
    import_named,
)

if TYPE_CHECKING:
    from ..model import Model
    from ..settings.settings import Settings

__all__ = ["resume", "train"]


@app.command(context_settings={"ignore_unknown_options": True})
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe (see `boltzwalk recipes`), the settings.yaml of a run, or your data: a "
            ".csv, .npy or .npz file, a folder of images, or FILE.py:NAME, code that loads them."
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings to change, such as kernel.step_size=0.02 or updates=500.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The name of the run folder.")] = None,
    runs: Runs = Path("runs"),
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    seed: Annotated[int | None, typer.Option(help="The seed of everything random.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or auto.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the settings and do nothing.")
    ] = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="Leave out the recipes that are trained to compare.")
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Train so many times, with this seed and the next; default: 1."),
    ] = None,
    imports: Imports = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a model; the same command again resumes it.

    Some recipes train others beside them, in folders of their own, that differ in their method, and
    some train with several seeds.
    """
    with errors(debug), stop_on_signal() as stop:
        import_code(imports)
        options = {"device": device, "seed": seed, "precision": precision}
        given = [f"{key}={value}" for key, value in options.items() if value is not None]
        assignments = [*parse_assignments(overrides or []), *given]
        import_named([recipe, *assignments])
        from ..recipes.lookup import resolved_settings

        folder = runs / (name or run_name(recipe))
        settings = resolved_settings(recipe, [*_begun_with(folder), *assignments])
        if dry_run:
            from ..settings.settings import to_yaml

            typer.echo(to_yaml(settings), nl=False)
            return
        from ..recipes import SEEDS

        others = [] if alone else _beside(recipe, settings, folder, assignments)
        times = SEEDS.get(recipe, 1) if seeds is None else seeds
        groups = [_with_seeds(its, place, times) for its, place in [(settings, folder), *others]]
        if others or times > 1:
            _train_all(groups, quiet, stop)
        else:
            _train(settings, folder, quiet, stop)


@app.command(context_settings={"ignore_unknown_options": True})
def resume(
    folder: Folder,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings to go on with, such as updates=5000 or learning_rate=1e-4.",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    imports: Imports = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Go on with a run that was stopped, bit for bit as if it had not been."""
    with errors(debug), stop_on_signal() as stop:
        import_code(imports)
        from ..settings.settings import Settings, resolve_auto
        from ..settings.tree import from_tree, override, to_tree
        from ..training.code import code_needed
        from ..training.folder import change, read_settings

        given = [] if device is None else [f"device={device}"]
        with code_needed(folder):
            tree = to_tree(read_settings(folder))
        tree = override(Settings, tree, [*parse_assignments(overrides or []), *given])
        settings = resolve_auto(from_tree(Settings, tree))
        change(folder, settings)
        _train(settings, folder, quiet, stop)


def _train_all(groups: list[list[tuple[Settings, Path]]], quiet: bool, stop: StopRequest) -> None:
    """Trains one run after the other, and ends with a table of all.

    The runs of a group differ in their seed only.
    """
    again = f"the same command, {shlex.join(['boltzwalk', *sys.argv[1:]])}"
    runs = [run for group in groups for run in group]
    for number, (settings, folder) in enumerate(runs):
        if stop.asked:
            typer.echo(
                f"stopped before {folder}; all that was learnt is saved.\ngo on with: {again}"
            )
            raise typer.Exit(INTERRUPTED)
        typer.echo(f"{folder}, run {number + 1} of {len(runs)}\n")
        _train(settings, folder, quiet, stop, again)
        typer.echo()
    typer.echo(_table(groups))


def _table(groups: list[list[tuple[Settings, Path]]]) -> str:
    """The table of finished runs that suits what they learnt."""
    from ..bases.flow_energy import FlowEnergy
    from ..reporting.tables import table_beside, table_of_densities

    if isinstance(groups[0][0][0].energy, FlowEnergy):
        return table_of_densities([[folder for _, folder in group] for group in groups])
    return table_beside([folder for group in groups for _, folder in group])


def _train(
    settings: Settings, folder: Path, quiet: bool, stop: StopRequest, again: str = ""
) -> None:
    """Trains, shows progress, and ends with numbers, picture and report."""
    from ..training.execute import execute
    from ..training.run import open_model

    last = 0
    for done in shown(execute(settings, folder, stop), settings, folder.name, quiet):
        last = done.update
    if 0 < last < settings.updates:
        typer.echo(
            f"stopped at update {last} of {settings.updates}; saved.\n"
            f"go on with: {again or f'boltzwalk resume {folder}'}"
        )
        raise typer.Exit(INTERRUPTED)
    _conclude(open_model(folder), folder)


def _conclude(finished: Model, folder: Path) -> None:
    """Judges the samples of a finished run and writes its report."""
    from ..reporting.page import write_report
    from ..reporting.summary import summarise
    from ..training.execute import draw_picture

    is_last = finished.update == finished.settings.updates
    if not (is_last and (folder / "samples.png").exists()):
        draw_picture(finished, folder)
    numbers = summarise(finished, folder)
    report = write_report(finished, folder, numbers)
    for number in numbers:
        typer.echo(f"{number.name:<28} {number.text:<22} {number.meaning}")
    typer.echo(f"\npicture  {folder / 'samples.png'}\nreport   {report}")
    if finished.method.condition.completes:
        typer.echo(f"complete boltzwalk complete {folder}")
    else:
        typer.echo(f"samples  boltzwalk sample {folder} -n 1000")


def _beside(
    recipe: str, settings: Settings, folder: Path, assignments: Sequence[str]
) -> list[tuple[Settings, Path]]:
    """What is trained beside a recipe: the same but for the method, in folders next to its own.

    Overrides of the method are made where the other method has such a setting.
    """
    from dataclasses import replace

    from ..recipes import COMPANIONS, RECIPES
    from ..settings.settings import Settings, resolve_auto
    from ..settings.tree import from_tree, override, to_tree

    found = []
    for other in COMPANIONS.get(recipe, ()):
        place = folder.with_name(folder.name + other.removeprefix(recipe))
        tree = to_tree(replace(settings, method=RECIPES[other]().method))
        for assignment in assignments:
            key = assignment.split("=")[0]
            if key in ("method", "method.kind"):
                continue
            try:
                tried = override(Settings, tree, [assignment])
                from_tree(Settings, tried)
                tree = tried
            except ValueError:
                typer.echo(f"{other} has no such {key}, and keeps its own", err=True)
        its = resolve_auto(from_tree(Settings, override(Settings, tree, _begun_with(place))))
        found.append((its, place))
    return found


def _with_seeds(settings: Settings, folder: Path, times: int) -> list[tuple[Settings, Path]]:
    """The same with so many seeds, in folders of their own.

    A folder that is there already is looked at now, not when its turn comes.
    """
    from dataclasses import replace

    from ..training.folder import prepare

    found = [(settings, folder)]
    if times > 1:
        numbers = range(settings.seed, settings.seed + times)
        found = [
            (replace(settings, seed=n), folder.with_name(f"{folder.name}_seed{n}")) for n in numbers
        ]
    for its, place in found:
        if (place / "settings.yaml").exists():
            prepare(place, its)
    return found


def _begun_with(folder: Path) -> list[str]:
    """The device, precision and threads of a run that is there, which the same command keeps."""
    candidates = [folder, *sorted(folder.parent.glob(f"{glob.escape(folder.name)}_seed*"))]
    there = [place for place in candidates if (place / "settings.yaml").exists()]
    if not there:
        return []
    from ..training.folder import read_settings

    begun = read_settings(there[0])
    return [f"{key}={getattr(begun, key)}" for key in ("device", "precision", "threads")]
