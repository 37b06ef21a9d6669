"""Commands that train."""

from __future__ import annotations

import glob
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from ..training.progress import shown
from ..training.signals import StopRequest, stop_on_signal
from .arguments import (
    checked_name,
    integer,
    parse_assignments,
    require_recipe,
    run_name,
    summary_lines,
)
from .errors import (
    FAILED_RUN,
    INTERRUPTED,
    Debug,
    Folder,
    Imports,
    Quiet,
    Runs,
    app,
    echo,
    errors,
    import_code,
    import_named,
)

if TYPE_CHECKING:
    from ..data import Dataset
    from ..model import Model
    from ..settings.settings import Settings

    Groups: TypeAlias = list[list[tuple[Settings, Path]]]
    """The runs of a command: each group differs in its seeds only."""

__all__ = ["resume", "train_command"]


REPORT_ERRORS = (AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""The errors by which a report may fail."""

Recipe = Annotated[
    str,
    typer.Argument(
        help="A recipe (see `boltzwalk recipes`), the settings.yaml of a run, or your data: a "
        ".csv, .npy or .npz file, a folder of images, or FILE.py:NAME, code that loads them."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Settings to change, such as kernel.step_size=0.02 or updates=500.",
    ),
]
Name = Annotated[str | None, typer.Option(help="The name of the run folder.")]
TrainingDevice = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
TrainingSeed = Annotated[
    int | None,
    typer.Option(parser=integer(), metavar="INTEGER", help="The seed of everything random."),
]
Precision = Annotated[str | None, typer.Option(help="fp32, bf16 or auto.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the settings and stop.")]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse settings that will probably not work."),
]
Alone = Annotated[bool, typer.Option("--alone", help="Train without the recipes to compare with.")]
Seeds = Annotated[
    int | None,
    typer.Option(
        parser=integer(1),
        metavar="INTEGER",
        help="The number of seeds, from this one on; default: 1.",
    ),
]


@app.command("train", context_settings={"ignore_unknown_options": True})
def train_command(
    recipe: Recipe,
    overrides: Overrides = None,
    name: Name = None,
    runs: Runs = Path("runs"),
    device: TrainingDevice = None,
    seed: TrainingSeed = None,
    precision: Precision = None,
    dry_run: DryRun = False,
    alone: Alone = False,
    seeds: Seeds = None,
    strict: Strict = False,
    imports: Imports = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a model; the same command again resumes it.

    Some recipes train others to compare with, which differ in their method, in separate folders;
    some train several seeds.
    """
    with errors(debug), stop_on_signal() as stop:
        import_code(imports)
        options = {"device": device, "seed": seed, "precision": precision}
        given = [f"{key}={value}" for key, value in options.items() if value is not None]
        assignments = [*parse_assignments(overrides or []), *given]
        import_named([recipe, *assignments])
        require_recipe(recipe)
        from ..recipes.lookup import resolved_settings

        folder = runs / (run_name(recipe) if name is None else checked_name(name))

        if dry_run:
            from ..settings.settings import to_yaml

            settings = resolved_settings(recipe, [*_machine_of(folder), *assignments])
            echo(to_yaml(settings), nl=False)
            return
        from ..recipes import SEEDS

        count = SEEDS.get(recipe, 1) if seeds is None else seeds
        groups = _in_free_folders(partial(_groups_at, recipe, assignments, count, alone), folder)
        if strict:
            _require_sound([its for group in groups for its, _ in group[:1]])
        if len(groups) > 1 or count > 1:
            _train_all(groups, quiet, stop)
        elif not _train(*groups[0][0], quiet, stop):
            raise typer.Exit(FAILED_RUN)


@app.command(context_settings={"ignore_unknown_options": True})
def resume(
    folder: Folder,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings to change, such as updates=5000 or learning_rate=1e-4.",
        ),
    ] = None,
    device: TrainingDevice = None,
    imports: Imports = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Resume a run that was stopped, bit for bit as if it had not been."""
    with errors(debug), stop_on_signal() as stop:
        import_code(imports)
        from ..settings.settings import Settings, resolve_auto
        from ..settings.tree import from_tree, override, to_tree
        from ..training.changes import require_changeable, require_resumable
        from ..training.code import code_needed
        from ..training.description import training_data
        from ..training.folder import read_settings
        from ..training.run import require_trained_on

        given = [] if device is None else [f"device={device}"]
        with code_needed(folder):
            before = read_settings(folder)
        assignments = [*parse_assignments(overrides or []), *given]
        settings = resolve_auto(
            from_tree(Settings, override(Settings, to_tree(before), assignments))
        )
        require_changeable(before, settings)
        require_resumable(folder, before, settings)
        rows = None
        if settings.data != before.data:
            rows = training_data(settings, folder, moved=True).to(settings.device)
            require_trained_on(folder, rows)
        if not _train(settings, folder, quiet, stop, dataset=rows, changed=True):
            raise typer.Exit(FAILED_RUN)


def _require_sound(settings: Sequence[Settings]) -> None:
    """Raises with all advice on settings, where there is any."""
    from ..training.advice import advice

    problems = [line for its in settings for line in advice(its, its.data.load())]
    if problems:
        lines = "\n".join(f"  * {line}" for line in dict.fromkeys(problems))
        raise ValueError(f"--strict refuses settings that will probably not work:\n{lines}")


def _groups_at(
    recipe: str, assignments: Sequence[str], count: int, alone: bool, path: Path
) -> Groups:
    """All runs of a command, where its first folder has that name."""
    from ..recipes.lookup import resolved_settings

    settings = resolved_settings(recipe, [*_machine_of(path), *assignments])
    others = [] if alone else _companions(recipe, settings, path, assignments)
    return [_with_seeds(*run, count) for run in ((settings, path), *others)]


def _in_free_folders(groups_at: Callable[[Path], Groups], folder: Path) -> Groups:
    """The runs of a command in their folders, all numbered where one holds other settings.

    Runs that are compared keep one name, and the same command again comes to the same folders.
    Folders are checked at once, before any run starts.
    """
    from ..training.changes import other_settings, require_usable

    first, number, groups = folder, 1, groups_at(folder)
    other: tuple[Path, list[str]] | None = None
    while taken := [
        (path, changed)
        for group in groups
        for settings, path in group
        if (changed := other_settings(path, settings))
    ]:
        number += 1
        folder = first.with_name(f"{first.name}_{number}")
        groups = groups_at(folder)
        other = other or taken[0]
    if other:
        places = [str(path) for group in groups for _, path in group]
        goes = "this one goes" if len(places) == 1 else "these runs go"
        again = shlex.join(["boltzwalk", "resume", str(other[0])])
        echo(
            f"{other[0]} holds a run with other settings ({'; '.join(other[1][:4])}): {goes} to "
            f"{', '.join(places)}; `{again} key=value` would go on with the other one",
            err=True,
        )
    for settings, path in (run for group in groups for run in group):
        require_usable(path, settings)
    return groups


def _train_all(groups: Groups, quiet: bool, stop: StopRequest) -> None:
    """Trains one run after the other, and prints a table of all.

    The runs of a group differ in their seed only.
    """
    again = f"the same command, {shlex.join(['boltzwalk', *sys.argv[1:]])}"
    from ..training.folder import checkpoints

    runs, failed = [run for group in groups for run in group], []
    for number, (settings, folder) in enumerate(runs):
        if stop.asked:
            echo(f"stopped before {folder}; all that was learnt is saved.\ngo on with: {again}")
            raise typer.Exit(INTERRUPTED)
        echo(f"{folder}, run {number + 1} of {len(runs)}\n")
        try:
            failed += [] if _train(settings, folder, quiet, stop, again) else [folder]
        except FloatingPointError as error:  # the other runs go on
            echo(f"error: {error}", err=True)
            failed.append(folder)
        echo()
    from ..reporting.tables import results_of_runs

    done = [[folder for _, folder in group if checkpoints(folder)] for group in groups]
    if any(done):
        echo(results_of_runs([group for group in done if group]))
    if failed:
        names = ", ".join(map(str, failed))
        echo(f"FAILED: {len(failed)} of {len(runs)} runs gave no model: {names}")
        raise typer.Exit(FAILED_RUN)


def _train(
    settings: Settings,
    folder: Path,
    quiet: bool,
    stop: StopRequest,
    again: str = "",
    dataset: Dataset | None = None,
    changed: bool = False,
) -> bool:
    """Trains, shows progress, and prints the summary; returns whether there is a model."""
    from ..training.advice import advice
    from ..training.description import training_data
    from ..training.execute import execute
    from ..training.folder import checkpoints
    from ..training.run import open_model

    dataset = dataset or training_data(settings, folder).to(settings.device)
    reading = dataset.reading.lines() if dataset.reading else []
    for line in (*reading, *dataset.notes):
        echo(line)
    for line in [] if checkpoints(folder) else advice(settings, dataset):
        echo(f"advice: {line}", err=True)
    last = 0
    progress = execute(settings, folder, stop, dataset, changed=changed)
    for done in shown(progress, settings, folder.name, quiet):
        last = done.update
    if last == 0:
        echo(f"already at {settings.updates} of {settings.updates}, nothing done\n")
    if 0 < last < settings.updates:
        echo(
            f"stopped at update {last} of {settings.updates}; saved.\n"
            f"go on with: {again or shlex.join(['boltzwalk', 'resume', str(folder)])}"
        )
        raise typer.Exit(INTERRUPTED)
    return _conclude(open_model(folder), folder)


def _conclude(finished: Model, folder: Path) -> bool:
    """Prints the summary of a run, first whether it failed, and writes its report."""
    from ..evaluation.answer import failure_line, final_verdict, uses_of
    from ..evaluation.evaluate import known_sections
    from ..reporting.page import write_report
    from ..reporting.summary import summarise
    from ..training.run_pictures import picture_path, try_picture

    training = final_verdict(finished, folder)
    failure = failure_line(training)
    if failure:
        echo(f"{failure}\n")
    is_last = finished.update == finished.settings.updates
    pictures = (folder / "samples.png", picture_path(folder, finished.update))
    if not (is_last and all(path.exists() for path in pictures)):
        try_picture(finished, folder)
    numbers = summarise(finished, folder, training)
    try:
        report = f"\nreport   {write_report(finished, folder, numbers, training)}"
    except REPORT_ERRORS as error:  # the run is saved: no report may cost it
        warnings.warn(
            f"no report ({type(error).__name__}: {error}); the run is saved", stacklevel=2
        )
        report = ""
    for number in numbers:
        for line in summary_lines(number.name, number.text, number.meaning):
            echo(line)
    echo(f"\npicture  {folder / 'samples.png'}{report}")
    quoted = shlex.quote(str(folder))
    if not failure and finished.method.condition.completes:
        echo(f"complete boltzwalk complete {quoted}")
    elif not failure:
        echo(f"samples  boltzwalk sample {quoted} -n 1000")
    uses = uses_of(finished, folder, training, known_sections(finished, folder))
    echo(f"\n{uses.text}")
    return not failure


def _companions(
    recipe: str, settings: Settings, folder: Path, assignments: Sequence[str]
) -> list[tuple[Settings, Path]]:
    """The runs to compare a recipe with: other methods, in folders next to its folder.

    Overrides of the method apply where the other method has such a setting.
    """
    from dataclasses import replace

    from ..recipes import COMPANIONS, RECIPES
    from ..settings.settings import Settings, resolve_auto
    from ..settings.tree import from_tree, override, to_tree

    companions = []
    for other in COMPANIONS.get(recipe, ()):
        path = folder.with_name(folder.name + other.removeprefix(recipe))
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
                echo(f"{other} has no setting {key}: it keeps its default", err=True)
        its = resolve_auto(from_tree(Settings, override(Settings, tree, _machine_of(path))))
        companions.append((its, path))
    return companions


def _with_seeds(settings: Settings, folder: Path, count: int) -> list[tuple[Settings, Path]]:
    """The runs of several seeds, each in a separate folder."""
    from dataclasses import replace

    if count == 1:
        return [(settings, folder)]
    numbers = range(settings.seed, settings.seed + count)
    return [
        (replace(settings, seed=n), folder.with_name(f"{folder.name}_seed{n}")) for n in numbers
    ]


def _machine_of(folder: Path) -> list[str]:
    """The device, precision and threads of a run that exists: the same command keeps them."""
    candidates = [folder, *sorted(folder.parent.glob(f"{glob.escape(folder.name)}_seed*"))]
    existing = [path for path in candidates if (path / "settings.yaml").exists()]
    if not existing:
        return []
    from ..training.folder import read_settings

    saved = read_settings(existing[0])
    return [f"{key}={getattr(saved, key)}" for key in ("device", "precision", "threads")]
