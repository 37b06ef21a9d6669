"""The command line: every command ends by saying where its results are.

Nothing heavy is imported before a command runs, so that `boltzwalk --help` answers at once.
"""

from __future__ import annotations

import shlex
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import INTERRUPTED, errors
from .train.progress import shown
from .train.signals import StopRequest, stop_on_signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .train.run import Run
    from .train.settings import Settings

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Train and sample energy-based models, p(x) = exp(-U(x)) / Z. "
    "(Not Explainable Boosting Machines.)",
    epilog="Begin with: boltzwalk train digits",
)

Runs = Annotated[Path, typer.Option(help="The folder that holds the run folders.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Folder = Annotated[Path, typer.Argument(help="A run folder, such as runs/digits.")]


@app.command(context_settings={"ignore_unknown_options": True})
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe (see `boltzwalk recipes`), the settings.yaml of a run, or your own "
            "data: a .csv, .npy or .npz file, or a folder of images."
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
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a model; the same command again resumes it.

    Some recipes train others beside them, in folders of their own, that differ in their method.
    """
    with errors(debug), stop_on_signal() as stop:
        options = {"device": device, "seed": seed, "precision": precision}
        given = [f"{key}={value}" for key, value in options.items() if value is not None]
        assignments = [*_assignments(overrides or []), *given]
        folder = runs / (name or _title(recipe))
        settings = _settings(recipe, [*_begun_with(folder), *assignments])
        if dry_run:
            from .train.settings import to_yaml

            typer.echo(to_yaml(settings), nl=False)
            return
        others = [] if alone else _beside(recipe, settings, folder, assignments)
        if others:
            _train_all([(settings, folder), *others], quiet, stop)
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
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Go on with a run that was stopped, bit for bit as if it had not been."""
    with errors(debug), stop_on_signal() as stop:
        from .train.folder import change, read_settings
        from .train.settings import Settings, resolve
        from .train.tree import from_tree, override, to_tree

        given = [] if device is None else [f"device={device}"]
        tree = to_tree(read_settings(folder))
        tree = override(Settings, tree, [*_assignments(overrides or []), *given])
        settings = resolve(from_tree(Settings, tree))
        change(folder, settings)
        _train(settings, folder, quiet, stop)


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="A run folder, or one of its checkpoints.")],
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="How many samples.")] = 100,
    steps: Annotated[int, typer.Option(min=0, help="Kernel steps; 0 takes those of training.")] = 0,
    seed: Annotated[int, typer.Option(help="The seed of the noise.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="A .npz, .csv or .png file; default: in the run folder.")
    ] = None,
    noise: Annotated[
        bool, typer.Option("--noise", help="Start from noise, not from walkers that were kept.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    debug: Debug = False,
) -> None:
    """Draw samples from a trained model, by the sampler it was trained with."""
    with errors(debug):
        from .train.export import write_samples
        from .train.run import open_run

        run = open_run(folder, device)
        path = out or _run_folder(folder) / "samples" / f"samples_seed{seed}.npz"
        for line in write_samples(run, path, n, steps, seed, noise):
            typer.echo(line)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="A run folder, or one of its checkpoints.")],
    n: Annotated[int, typer.Option("-n", "--n", min=2, help="How many samples.")] = 10_000,
    parts: Annotated[
        str,
        typer.Option(
            help="Some of training, quality, modes, goodness, anomalies, long_run, likelihood."
        ),
    ] = "all",
    ood: Annotated[
        list[str] | None,
        typer.Option(
            help="What anomalies are: digits, mnist, fashion_mnist, cifar10, or your own file or "
            "folder of images. Can be repeated; noise is always tried."
        ),
    ] = None,
    inception: Annotated[
        Path | None,
        typer.Option(help="The standard Inception weights, for the FID of the literature."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="Seconds for long chains; more seconds go on with them.")
    ] = 60.0,
    chain_steps: Annotated[int, typer.Option(min=1, help="Steps of the long chains.")] = 100_000,
    log_z_seconds: Annotated[
        float, typer.Option(help="log Z: refused where its chains alone would take longer.")
    ] = 900.0,
    walkers: Annotated[int, typer.Option(min=2, help="log Z: walkers of a replicate.")] = 1024,
    replicates: Annotated[int, typer.Option(min=2, help="log Z: independent replicates.")] = 8,
    steps: Annotated[
        int, typer.Option(min=1, help="log Z: steps of the chains that the way back starts from.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="The seed of the noise.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Judge a trained model: its samples, modes, density, anomalies, long chains and likelihood.

    What was judged before is not computed again. `boltzwalk report` shows it.
    """
    with errors(debug):
        from .diagnostics.long_run import LongRun
        from .evaluation.evaluate import PARTS, Plan
        from .evaluation.evaluate import evaluate as judged
        from .evaluation.likelihood import Effort
        from .evaluation.write import lines, write_evaluation
        from .smc.log_z import Annealing
        from .train.run import open_run

        def report(text: str) -> None:
            if not quiet:
                typer.echo(f"... {text}", err=True)

        run = open_run(folder, device)
        annealing = Annealing(walkers=walkers, replicates=replicates)
        plan = Plan(
            samples=n,
            parts=PARTS if parts == "all" else tuple(parts.replace(" ", "").split(",")),
            inception=inception,
            outside=tuple(ood or ()),
            long_run=LongRun(seconds=seconds, steps=chain_steps, report=report),
            effort=Effort(steps=steps, annealing=annealing, seconds=log_z_seconds, report=report),
            seed=seed,
            report=report,
        )
        place, found = _run_folder(folder), {}
        for name, part in judged(run, place, plan):
            found[name] = part
            typer.echo(f"\n{name.replace('_', ' ')}")
            for line in lines(part):
                typer.echo(f"  {line}")
        write_evaluation(found, place / "evaluation.json", {"update": run.update, "seed": seed})
        typer.echo(f"\nnumbers  {place / 'evaluation.json'}")
        typer.echo(f"report   boltzwalk report {place}")


@app.command()
def score(
    folder: Annotated[Path, typer.Argument(help="A run folder, or one of its checkpoints.")],
    rows: Annotated[
        str,
        typer.Argument(
            help="A .csv, .npy or .npz file, a folder of images, or - for a table on stdin."
        ),
    ],
    out: Annotated[
        str | None, typer.Option(help="A .csv or .npz file, or - for stdout (the default).")
    ] = None,
    false_alarm: Annotated[
        float, typer.Option(help="The share of ordinary rows that may be flagged.")
    ] = 0.05,
    seed: Annotated[int, typer.Option(help="The seed of the noise of dequantisation.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    debug: Debug = False,
) -> None:
    """Score rows: energy, log-density where log Z is known, percentile, and a flag for anomalies.

    The percentile is the share of held-out rows with a lower energy. The log-density needs a
    likelihood that `boltzwalk evaluate` found; without one the column is empty.
    """
    with errors(debug):
        from .evaluation.score import read_for, score_rows, write_scores
        from .rng import generator
        from .train.run import open_run

        run = open_run(folder, device)
        x = read_for(run, rows, generator(seed, "score", 0, run.settings.device))
        found = score_rows(run, _run_folder(folder), x, false_alarm)
        if out in (None, "-"):
            sys.stdout.write(write_scores(found, ".csv").decode())
        else:
            from .train.checkpoint import write_atomically

            write_atomically(Path(out), write_scores(found, Path(out).suffix))
        flagged = int(found.anomaly.sum())
        typer.echo(
            f"{flagged:,} of {len(found.anomaly):,} rows are flagged, where {false_alarm:.0%} of "
            f"ordinary rows are; {found.protocol}",
            err=True,
        )
        if out not in (None, "-"):
            typer.echo(f"scores   {out}", err=True)


@app.command()
def complete(
    folder: Annotated[Path, typer.Argument(help="A run folder, or one of its checkpoints.")],
    file: Annotated[
        Path | None,
        typer.Argument(
            help="An image, a folder of images, a table with empty fields, or a .npy or .npz file "
            "with nan; default: 16 held-out rows of the run."
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            help="What is hidden: lower, upper, left, right, center, a box top,left,height,width, "
            "a .npy or .png file (nonzero is hidden), or names of columns."
        ),
    ] = None,
    variant: Annotated[
        str, typer.Option(help="conditional, encode, kernel or latent.")
    ] = "conditional",
    start: Annotated[
        str, typer.Option(help="Where conditional chains start: auto, noise, mean or base.")
    ] = "auto",
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="Completions of each row.")] = 4,
    steps: Annotated[int, typer.Option(min=0, help="Kernel steps; 0 takes those of training.")] = 0,
    seed: Annotated[int, typer.Option(help="The seed of the noise.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="A .npz file, or .csv for a table; default: in the run folder."),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="The whole rows, to judge by; default: FILE, if whole.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    debug: Debug = False,
) -> None:
    """Complete images or rows with missing entries, several times each.

    Where the truth is known, errors are printed beside those of filling in the training mean.
    """
    with errors(debug):
        from .completion import inputs as given
        from .completion.variants import Plan
        from .completion.variants import complete as completed
        from .completion.write import said_of, table_of, write_completions
        from .rng import generator
        from .train.run import open_run

        plan = Plan(variant, n, steps, start)  # type: ignore[arg-type]  # it refuses others
        run = open_run(folder, device)
        data, source = run.dataset, str(file)
        if file is None:
            whole, source = given.held_out(data)
        else:
            whole = given.read_partial(file, data)
        known = None if truth is None else given.read_partial(truth, data)
        inputs = given.make_inputs(data, whole, mask, known)
        found = completed(run, inputs, plan, generator(seed, "complete", 0, run.settings.device))
        suffix = ".csv" if len(data.event_shape) == 1 else ".npz"
        name = f"{'held_out' if file is None else file.stem}_{variant}_seed{seed}{suffix}"
        path = out or _run_folder(folder) / "completions" / name
        places = write_completions(run, inputs, found, path)
        for line in (said_of(run, inputs, plan, source, seed), *table_of(run, inputs, found)):
            typer.echo(line)
        typer.echo("\n" + "\n".join(places))


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Run folders, one or more to compare.")],
    out: Annotated[
        Path | None,
        typer.Option(help="An .html file; default: report.html in the (first) run folder."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Show a run, or several side by side, on one page that needs no network."""
    with errors(debug):
        from .report.compare import write_comparison
        from .report.page import write_report
        from .train.run import open_run

        if len(folders) == 1:
            path = write_report(open_run(folders[0]), folders[0], out=out)
        else:
            path = write_comparison(folders, out or folders[0].parent / "comparison.html")
        typer.echo(f"report   {path}")


@app.command()
def classifier(
    name: Annotated[str, typer.Argument(help="digits, mnist or fashion_mnist.")],
    out: Annotated[
        Path | None, typer.Option(help="A .safetensors file; default: NAME.safetensors here.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Fit the classifier that judges samples of a standard set, as the shipped one was made."""
    with errors(debug):
        import time

        from .metrics.classifier import fit_standard, save_classifier

        began = time.monotonic()
        found = fit_standard(name)
        path = out or Path(f"{name}.safetensors")
        save_classifier(found, path)
        typer.echo(
            f"{found.accuracy:.2%} of held-out images are classified rightly, fitted in "
            f"{time.monotonic() - began:.0f} s\n\nweights  {path}"
        )


@app.command()
def recipes() -> None:
    """List the recipes with what they reach."""
    from rich.console import Console
    from rich.table import Table

    from .recipes import RECIPES

    table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
    table.add_column("recipe", style="cyan", no_wrap=True)
    table.add_column("what it learns, and what it reached")
    for recipe_name, recipe in RECIPES.items():
        text = [" ".join(part.split()) for part in (recipe.__doc__ or "").strip().split("\n\n")]
        reached = [part for part in text if part.startswith("Reached:")]
        table.add_row(
            recipe_name, "\n".join([text[0], *(f"[dim]{part}[/dim]" for part in reached)])
        )
    Console().print(table)
    typer.echo("\nTrain one with: boltzwalk train NAME")


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Print the version."""
    if show:
        from . import __version__

        typer.echo(f"boltzwalk {__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line."""
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    app()


def _run_folder(folder: Path) -> Path:
    """The folder of a run, also where one of its checkpoints is named."""
    return folder.parent.parent if folder.is_file() else folder


def _train_all(runs: list[tuple[Settings, Path]], quiet: bool, stop: StopRequest) -> None:
    """Trains one run after the other, and ends with a table of all."""
    again = f"the same command, {shlex.join(['boltzwalk', *sys.argv[1:]])}"
    for number, (settings, folder) in enumerate(runs):
        if stop.asked:
            typer.echo(
                f"stopped before {folder}; all that was learnt is saved.\ngo on with: {again}"
            )
            raise typer.Exit(INTERRUPTED)
        typer.echo(f"{folder}, run {number + 1} of {len(runs)}\n")
        _train(settings, folder, quiet, stop, again)
        typer.echo()
    from .report.beside import table_beside

    typer.echo(table_beside([folder for _, folder in runs]))


def _train(
    settings: Settings, folder: Path, quiet: bool, stop: StopRequest, again: str = ""
) -> None:
    """Trains, shows progress, and ends with numbers, picture and report."""
    from .train.execute import execute
    from .train.run import open_run

    last = 0
    for done in shown(execute(settings, folder, stop), settings, folder.name, quiet):
        last = done.update
    if 0 < last < settings.updates:
        typer.echo(
            f"stopped at update {last} of {settings.updates}; saved.\n"
            f"go on with: {again or f'boltzwalk resume {folder}'}"
        )
        raise typer.Exit(INTERRUPTED)
    _conclude(open_run(folder), folder)


def _conclude(finished: Run, folder: Path) -> None:
    """Judges the samples of a finished run and writes its report."""
    from .report.page import write_report
    from .report.summary import summarise
    from .train.execute import draw_picture

    if not (folder / "samples.png").exists():
        draw_picture(finished, folder)
    numbers = summarise(finished, folder)
    report = write_report(finished, folder, numbers)
    for number in numbers:
        typer.echo(f"{number.name:<28} {number.text:<22} {number.meaning}")
    typer.echo(f"\npicture  {folder / 'samples.png'}\nreport   {report}")
    typer.echo(f"samples  boltzwalk sample {folder} -n 1000")


def _settings(recipe: str, assignments: Sequence[str]) -> Settings:
    """The resolved settings that a recipe name or a path stands for."""
    from .recipes import RECIPES
    from .train.settings import Settings, from_yaml, resolve
    from .train.tree import from_tree, override, to_tree

    path = Path(recipe)
    if recipe in RECIPES:
        base = RECIPES[recipe]()
    elif path.suffix in (".yaml", ".yml"):
        base = from_yaml(path.read_text(), path)
    elif (path / "settings.yaml").exists():
        raise ValueError(f"{path} is a run; go on with it by `boltzwalk resume {path}`")
    elif path.exists():
        base = RECIPES["images" if path.is_dir() or _holds_images(path) else "table"]()
        assignments = [f"data.path={path.absolute()}", *assignments]
    else:
        raise ValueError(_no_recipe(recipe, list(RECIPES)))
    tree = override(Settings, to_tree(base), assignments)
    return resolve(from_tree(Settings, tree))


def _beside(
    recipe: str, settings: Settings, folder: Path, assignments: Sequence[str]
) -> list[tuple[Settings, Path]]:
    """What is trained beside a recipe: the same but for the method, in folders next to its own.

    Overrides of the method are made where the other method has such a setting. A folder that is
    there already is looked at now, not when its turn comes.
    """
    from dataclasses import replace

    from .recipes import BESIDE, RECIPES
    from .train.folder import prepare
    from .train.settings import Settings, resolve
    from .train.tree import from_tree, override, to_tree

    found = []
    for other in BESIDE.get(recipe, ()):
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
        its = resolve(from_tree(Settings, override(Settings, tree, _begun_with(place))))
        if (place / "settings.yaml").exists():
            prepare(place, its)
        found.append((its, place))
    return found


def _title(recipe: str) -> str:
    """The name of a run: that of its recipe, its data, or the run whose settings it takes."""
    path = Path(recipe).absolute()
    if path.name in ("settings.yaml", "settings.yml"):
        return path.parent.name
    return path.name.split(".")[0] or path.name


def _begun_with(folder: Path) -> list[str]:
    """The device, precision and threads of a run that is there, which the same command keeps."""
    if not (folder / "settings.yaml").exists():
        return []
    from .train.folder import read_settings

    begun = read_settings(folder)
    return [f"{key}={getattr(begun, key)}" for key in ("device", "precision", "threads")]


def _holds_images(path: Path) -> bool:
    """Whether an array in a .npy or .npz file has more dimensions than a table."""
    if path.suffix not in (".npy", ".npz"):
        return False
    import numpy as np

    found = np.load(path, allow_pickle=False)
    arrays = [found[name] for name in found.files] if path.suffix == ".npz" else [found]
    return any(array.ndim >= 3 for array in arrays)


def _no_recipe(recipe: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(recipe, known, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
    return f"no recipe and no file is called {recipe!r}; {hint}"


def _assignments(words: Sequence[str]) -> list[str]:
    """Turns `key=value`, `--key=value` and `--key value` into `key=value`."""
    found: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word.startswith("--") and "=" not in word:
            if not left:
                raise ValueError(f"{word} needs a value: write {word.removeprefix('--')}=...")
            word = f"{word}={left.pop(0)}"
        found.append(word.removeprefix("--"))
    return found
