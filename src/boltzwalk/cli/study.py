"""Commands that make many runs: a study, and tuning."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..training.signals import stop_on_signal
from .arguments import integer, parse_assignments, run_name
from .errors import INTERRUPTED, Debug, Quiet, QuoteFormulas, Runs, app, echo, errors

if TYPE_CHECKING:
    from ..study.analysis import LoadedAnalysis
    from ..study.spec import Study
    from ..study.tune import TuningResult
    from ..study.workers import WorkerJob

__all__ = ["studies", "study", "tune"]

Studies = Annotated[
    Path, typer.Option("--studies", help="The folder that holds the study folders.")
]
MaxTrials = Annotated[
    int,
    typer.Option(
        "--max-trials",
        "--most",
        parser=integer(0),
        metavar="INTEGER",
        help="Maximum number of trials; 0: all.",
    ),
]
Workers = Annotated[
    int, typer.Option(parser=integer(1), metavar="INTEGER", help="Processes, one for each core.")
]

STUDIES_HINT = "shipped studies are in the folder studies/ of the source repository"


@app.command(context_settings={"ignore_unknown_options": True})
def study(
    spec: Annotated[
        str,
        typer.Argument(
            help="A study's .yaml file, a study folder, or the word report and a study folder."
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings of the study, such as seeds=[0] or budget=500000, or of its recipe.",
        ),
    ] = None,
    workers: Workers = 1,
    max_trials: MaxTrials = 0,
    name: Annotated[str | None, typer.Option(help="The name of the study folder.")] = None,
    into: Studies = Path("studies"),
    budget: Annotated[
        str, typer.Option("--time", help="Stop after a time, such as 30m or 2h.")
    ] = "",
    storage: Annotated[
        str, typer.Option(help="A database for Optuna's samplers, such as postgresql://...")
    ] = "",
    analysis: Annotated[
        Path | None,
        typer.Option(help="For a study folder: the Python file of the study's own analysis."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="report: the .html or .md file to write.")
    ] = None,
    quote_formulas: QuoteFormulas = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Map which settings work: many runs, one report. The same command again continues or joins in.

    `boltzwalk study report FOLDER` writes the report again, from the present results.
    """
    with errors(debug), stop_on_signal() as stop:
        if spec == "report":
            _report(_report_folder(overrides or []), out, _load(analysis), quote_formulas)
            return
        words = parse_assignments(overrides or [])
        specified, folder, neighbour = _specified(spec, words, into, name)
        loaded = _load(analysis or neighbour)
        job = _job(folder, max_trials, storage, budget)
        from ..study.workers import run_study

        run_study(specified, job, workers, stop, quiet, loaded.record if loaded else None)
        if stop.asked:
            _stopped()
        _report(folder, out, loaded, quote_formulas)


def _job(folder: Path, max_trials: int, storage: str, budget: str) -> WorkerJob:
    """The job of the workers of a study, with the time at which they stop."""
    import time

    from ..study.tune import parse_duration
    from ..study.workers import WorkerJob

    deadline = time.time() + parse_duration(budget) if budget else 0.0
    return WorkerJob(folder, max_trials, storage, deadline)


@app.command(context_settings={"ignore_unknown_options": True})
def tune(
    recipe: Annotated[
        str, typer.Argument(help="A recipe, a settings.yaml, or your own data, as for train.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings that are not tuned."),
    ] = None,
    budget: Annotated[str, typer.Option(help="The time, such as 5m, 20m or 2h.")] = "20m",
    workers: Workers = 2,
    name: Annotated[str | None, typer.Option(help="The name of the run folder.")] = None,
    runs: Runs = Path("runs"),
    into: Studies = Path("studies"),
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find better settings within a given time, and end with a model trained at them."""
    with errors(debug), stop_on_signal() as stop:
        from ..study.tune import parse_duration, run_tuning

        name = name or f"{run_name(recipe)}_tuned"
        folder, model = into / name, runs / name
        fixed = parse_assignments(overrides or [])
        duration = parse_duration(budget)
        result = run_tuning(recipe, fixed, duration, folder, model, workers, stop, quiet)
        if result is None:
            _stopped()
        else:
            _conclude(recipe, fixed, result)
            echo(f"trials   boltzwalk study report {folder}")


@app.command()
def studies(
    folder: Annotated[Path, typer.Argument(help="A folder of .yaml files.")] = Path("studies"),
    debug: Debug = False,
) -> None:
    """List the studies of a folder, with their descriptions."""
    with errors(debug):
        from rich.console import Console
        from rich.table import Table

        from ..study.spec_file import read_study

        paths = _study_files(folder)
        if not paths:
            raise ValueError(f"{folder} must hold studies as .yaml files, got none; {STUDIES_HINT}")
        table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
        table.add_column("study", style="cyan", no_wrap=True)
        table.add_column("question and results")
        for path in paths:
            about = read_study(path).about.strip()
            parts = [" ".join(part.split()) for part in about.split("\n\n")]
            table.add_row(str(path), "\n".join([parts[0], *(f"[dim]{p}[/dim]" for p in parts[1:])]))
        Console().print(table)
        echo("\nRun one with: boltzwalk study FILE --workers 2")


def _study_files(folder: Path) -> list[Path]:
    """The specifications in a folder and in its subfolders, not those of study folders."""
    paths = [*folder.glob("*.yaml"), *folder.glob("*/*.yaml")]
    return sorted(path for path in paths if not (path.parent / "results").is_dir())


def _specified(
    spec: str, changes: Sequence[str], into: Path, name: str | None
) -> tuple[Study, Path, Path | None]:
    """The study of a file or a folder, its folder, and the analysis next to a user's file."""
    import difflib

    from ..study.spec import with_changes
    from ..study.spec_file import read_study
    from ..study.storage import open_study

    path = Path(spec)
    if path.name == "study.yaml" and (path.parent / "results").is_dir():
        path = path.parent
    if (path / "study.yaml").is_file():
        return with_changes(open_study(path), changes), path, None
    if path.suffix in (".yaml", ".yml") and path.is_file():
        specified = read_study(path, changes)
        analysis = path.parent / specified.analysis if specified.analysis else None
        return specified, into / (name or path.stem), analysis
    known = {file.stem: str(file) for file in _study_files(Path("studies"))}
    near = [known[stem] for stem in difflib.get_close_matches(path.stem, known, 3)]
    hint = f"did you mean {' or '.join(near)}?" if near else STUDIES_HINT
    raise ValueError(f"a study must be a .yaml file or a study folder, got {spec!r}; {hint}")


def _load(path: Path | None) -> LoadedAnalysis | None:
    """Runs an analysis file that the user has named, or that lies next to the user's study."""
    from ..study.analysis import load_analysis

    return load_analysis(path) if path else None


def _report_folder(words: Sequence[str]) -> Path:
    if len(words) != 1:
        raise ValueError(f"report takes one study folder, got {' '.join(words) or 'none'}")
    return Path(words[0])


def _report(
    folder: Path, out: Path | None, loaded: LoadedAnalysis | None, quote_formulas: bool
) -> None:
    """Writes the report of a study, and prints its answers."""
    from ..study.recommend import recommended_points
    from ..study.report import write_study_report
    from ..study.sheets import effect_lines
    from ..study.workers import count_labels

    written = write_study_report(folder, out, loaded, quote_formulas)
    path, specified, outcomes, analysis, note = written
    echo(f"{len(outcomes)} trials: {count_labels([o.result for o in outcomes])}\n")
    for answer in next(iter(analysis.answers.values()), ()):
        echo(f"{answer.name:<3} {answer.claim}: {answer.label}\n    {answer.reason}")
    if not analysis.answers:
        for line in effect_lines(specified, outcomes):
            echo(line)
    for best in recommended_points(specified, outcomes)[-1:]:
        echo(f"\nbest     quality {best.quality:.4g}\n         {best.command(specified)}")
    if note:
        echo(f"\nnote     {note}")
    echo(f"\ntables   {path.parent}/*.csv\nreport   {path}")


def _stopped() -> None:
    """Ends an interrupted command with the one that continues it."""
    again = shlex.join(["boltzwalk", *sys.argv[1:]])
    echo(f"stopped; the trials are saved.\ncontinue with: {again}")
    raise typer.Exit(INTERRUPTED)


def _conclude(recipe: str, fixed: Sequence[str], result: TuningResult) -> None:
    """Evaluates and reports the model of a tuning."""
    from ..reporting.page import write_report
    from ..reporting.summary import summarise
    from ..training.run import open_model

    run = open_model(result.folder)
    numbers = summarise(run, result.folder)
    report = write_report(run, result.folder, numbers)
    for number in numbers:
        echo(f"{number.name:<28} {number.text:<22} {number.meaning}")
    known = not math.isnan(result.baseline)
    baseline = f", of the recipe itself {result.baseline:.4g}" if known else ""
    quality = f"{result.quality_name} of new samples {result.quality:.4g}{baseline}"
    echo(f"\n{result.trials} trials; {quality}")
    if result.note:
        echo(result.note)
    changed = {change.partition("=")[0] for change in result.changes}
    fixed = [word for word in fixed if word.partition("=")[0] not in changed]  # such as updates
    words = ["boltzwalk", "train", recipe, *fixed, *result.changes]
    echo(f"settings {shlex.join(words)}")
    echo(f"picture  {result.folder / 'samples.png'}\nreport   {report}")
