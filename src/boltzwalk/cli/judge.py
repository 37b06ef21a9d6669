"""Commands that judge a trained model, and show what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .errors import (
    Debug,
    Device,
    Imports,
    Quiet,
    Seed,
    Trained,
    app,
    errors,
    import_code,
    run_folder,
)

__all__ = ["classifier", "evaluate", "recipes", "report", "version"]


@app.command()
def evaluate(
    folder: Trained,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="data.path=FILE", help="Where the training data are now, if they moved."
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", "--n", min=2, help="How many samples.")] = 10_000,
    parts: Annotated[
        str,
        typer.Option(
            help="Some of training, quality, base, modes, goodness, anomalies, long_run, "
            "likelihood; all of them by default."
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
    seed: Seed = 0,
    device: Device = None,
    imports: Imports = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Judge a trained model: its samples, modes, density, anomalies, long chains and likelihood.

    What was judged before is not computed again. `boltzwalk report` shows it.
    """
    with errors(debug):
        import_code(imports)
        from ..evaluation.cache import lines, write_evaluation
        from ..evaluation.evaluate import PARTS, Plan, evaluated
        from ..evaluation.evaluate import evaluate as judged
        from ..evaluation.long_run import LongRun
        from ..smc.from_samples import Effort
        from ..smc.log_z import Annealing
        from ..training.run import open_run

        def report(text: str) -> None:
            if not quiet:
                typer.echo(f"... {text}", err=True)

        run = open_run(folder, device, changes=overrides or ())
        model = run.judged_on(run.dataset, run_folder(folder))
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
        place, found = run_folder(folder), {}
        for name, part in judged(model, place, plan):
            found[name] = part
            typer.echo(f"\n{name.replace('_', ' ')}")
            for line in lines(part):
                typer.echo(f"  {line}")
        known = evaluated(model, place) | found
        write_evaluation(known, place / "evaluation.json", {"update": model.update, "seed": seed})
        typer.echo(f"\nnumbers  {place / 'evaluation.json'}")
        typer.echo(f"report   boltzwalk report {place}")


@app.command()
def report(
    folders: Annotated[
        list[Path], typer.Argument(help="Run folders, one or more to compare; or that of a study.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="An .html file; default: report.html in the (first) run folder."),
    ] = None,
    imports: Imports = None,
    debug: Debug = False,
) -> None:
    """Show a run, or several side by side, on one page that needs no network."""
    with errors(debug):
        import_code(imports)
        from ..reporting.compare import write_comparison
        from ..reporting.page import write_report
        from ..training.run import open_model

        if (folders[0] / "study.yaml").is_file():
            from ..study.report import write_study_report

            path = write_study_report(folders[0], out)[0]
        elif len(folders) == 1:
            path = write_report(open_model(folders[0]), folders[0], out=out)
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

        from ..metrics.classifier import fit_standard, save_classifier

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

    from ..recipes import RECIPES

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
        from .. import __version__

        typer.echo(f"boltzwalk {__version__}")
        raise typer.Exit
