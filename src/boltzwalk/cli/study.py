"""Commands that make many runs: a study, and tuning."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..recipes.lookup import assigned, title
from ..train.process import stop_on_signal
from .errors import INTERRUPTED, Debug, Quiet, Runs, app, errors

if TYPE_CHECKING:
    from ..study.spec import Study
    from ..study.tune import Tuned

__all__ = ["studies", "study", "tune"]

Studies = Annotated[
    Path, typer.Option("--studies", help="The folder that holds the study folders.")
]
Workers = Annotated[int, typer.Option(min=1, help="Processes, one for each core.")]


@app.command(context_settings={"ignore_unknown_options": True})
def study(
    spec: Annotated[
        str,
        typer.Argument(
            help="A shipped study (see `boltzwalk studies`), a .yaml file, the folder of a study, "
            "or the word report and the folder of a study."
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
    most: Annotated[int, typer.Option(min=0, help="Begin so many trials in all; 0: all.")] = 0,
    name: Annotated[str | None, typer.Option(help="The name of the study folder.")] = None,
    into: Studies = Path("studies"),
    budget: Annotated[
        str, typer.Option("--time", help="Stop after a time, such as 30m or 2h.")
    ] = "",
    storage: Annotated[
        str, typer.Option(help="A database for Optuna's samplers, such as postgresql://...")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="report: the .html or .md file to write.")
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Map which settings work: many runs, one report. The same command again goes on, or joins in.

    `boltzwalk study report FOLDER` writes the report anew, of what is there by now.
    """
    with errors(debug), stop_on_signal() as stop:
        if spec == "report":
            _report(overrides or [], out)
            return
        import time

        from ..study.manage import conduct
        from ..study.tune import seconds
        from ..study.worker import Job

        asked, folder = _asked(spec, assigned(overrides or []), into, name)
        until = time.time() + seconds(budget) if budget else 0.0
        conduct(asked, Job(folder, most, storage, until), workers, stop, quiet)
        if stop.asked:
            again = shlex.join(["boltzwalk", *sys.argv[1:]])
            typer.echo(f"stopped; all that was learnt is saved.\ngo on with: {again}")
            raise typer.Exit(INTERRUPTED)
        _report([str(folder)], out)


@app.command(context_settings={"ignore_unknown_options": True})
def tune(
    recipe: Annotated[
        str, typer.Argument(help="A recipe, a settings.yaml, or your own data, as for train.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings that are kept at a value."),
    ] = None,
    budget: Annotated[str, typer.Option(help="The time, such as 5m, 20m or 2h.")] = "20m",
    workers: Workers = 2,
    name: Annotated[str | None, typer.Option(help="The name of the run folder.")] = None,
    runs: Runs = Path("runs"),
    into: Studies = Path("studies"),
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find better settings in a given time, and end with a model trained at them."""
    with errors(debug), stop_on_signal() as stop:
        from ..study.tune import seconds
        from ..study.tune import tune as tuned

        name = name or f"{title(recipe)}_tuned"
        place = into / name
        kept = assigned(overrides or [])
        found = tuned(recipe, kept, seconds(budget), place, runs / name, workers, stop, quiet)
        if found is None:
            again = shlex.join(["boltzwalk", *sys.argv[1:]])
            typer.echo(f"stopped; all that was learnt is saved.\ngo on with: {again}")
            raise typer.Exit(INTERRUPTED)
        _conclude(recipe, kept, found)
        typer.echo(f"trials   boltzwalk study report {place}")


@app.command()
def studies() -> None:
    """List the studies that are shipped, with what they found."""
    from rich.console import Console
    from rich.table import Table

    from ..study.shipped import STUDIES

    table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
    table.add_column("study", style="cyan", no_wrap=True)
    table.add_column("what it asks, and what it found")
    for study_name, shipped in STUDIES.items():
        text = [" ".join(part.split()) for part in (shipped.__doc__ or "").strip().split("\n\n")]
        table.add_row(study_name, "\n".join([text[0], f"[dim]{text[-1]}[/dim]"]))
    Console().print(table)
    typer.echo("\nMake one with: boltzwalk study NAME --workers 2")


def _asked(spec: str, changes: Sequence[str], into: Path, name: str | None) -> tuple[Study, Path]:
    """The study that a name or a path stands for, and its folder."""
    import difflib

    from ..study.folder import open_study
    from ..study.shipped import STUDIES
    from ..study.spec import changed, from_yaml

    path = Path(spec)
    if spec in STUDIES:
        return changed(STUDIES[spec](), changes), into / (name or spec)
    if (path / "study.yaml").is_file():
        return changed(open_study(path), changes), path
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return from_yaml(path.read_text(), changes, path), into / (name or path.stem)
    near = difflib.get_close_matches(spec, STUDIES, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(STUDIES)}"
    raise ValueError(f"no study and no .yaml file is called {spec!r}; {hint}")


def _report(words: Sequence[str], out: Path | None) -> None:
    """Writes the report of a study, and says what it answers."""
    if len(words) != 1:
        raise ValueError(f"report takes one study folder, got {' '.join(words) or 'none'}")
    from ..study.claims import four_claims
    from ..study.folder import open_study
    from ..study.manage import summary
    from ..study.outcome import outcomes
    from ..study.recommend import recommended
    from ..study.report import write_study_report

    folder = Path(words[0])
    written = write_study_report(folder, out)
    asked = open_study(folder)
    found = outcomes(asked, folder)
    typer.echo(f"{len(found)} trials: {summary([outcome.result for outcome in found])}\n")
    for answer in four_claims(asked, found):
        typer.echo(f"{answer.name:<3} {answer.claim}: {answer.label}\n    {answer.reason}")
    for best in recommended(asked, found)[-1:]:
        typer.echo(f"\nbest     quality {best.quality:.4g}\n         {best.command(asked)}")
    typer.echo(f"\ntables   {written[0].parent}/*.csv\nreport   {written[0]}")


def _conclude(recipe: str, kept: Sequence[str], found: Tuned) -> None:
    """Judges and shows the model that tuning has found."""
    from ..report.page import write_report
    from ..report.summary import summarise
    from ..train.run import open_run

    run = open_run(found.folder)
    numbers = summarise(run, found.folder)
    report = write_report(run, found.folder, numbers)
    for number in numbers:
        typer.echo(f"{number.name:<28} {number.text:<22} {number.meaning}")
    beside = "" if math.isnan(found.default) else f", the recipe as it is {found.default:.4g}"
    what = f"{found.quality_name} of new samples {found.quality:.4g}{beside}"
    typer.echo(f"\n{found.trials} trials; {what}")
    if found.note:
        typer.echo(found.note)
    changed = {change.partition("=")[0] for change in found.changes}
    kept = [word for word in kept if word.partition("=")[0] not in changed]  # such as updates
    words = ["boltzwalk", "train", recipe, *kept, *found.changes]
    typer.echo(f"settings {shlex.join(words)}")
    typer.echo(f"picture  {found.folder / 'samples.png'}\nreport   {report}")
