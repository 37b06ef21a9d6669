"""Commands that evaluate trained models and write reports, and the list of recipes."""

from __future__ import annotations

import inspect
import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .arguments import integer, number
from .errors import (
    Debug,
    Device,
    Imports,
    Quiet,
    QuoteFormulas,
    Seed,
    Trained,
    app,
    echo,
    errors,
    import_code,
    run_folder,
)

if TYPE_CHECKING:
    from ..evaluation.evaluate import EvaluationPlan
    from ..model import Model

__all__ = ["classifier", "evaluate_command", "recipes", "report_command", "version"]


Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="data.path=FILE", help="The path of the training data, if it changed."),
]
Samples = Annotated[
    int,
    typer.Option("-n", "--n", parser=integer(2), metavar="INTEGER", help="The number of samples."),
]
Sections = Annotated[
    str,
    typer.Option(
        "--sections",
        "--parts",
        help="Some of training, quality, base, modes, goodness, anomalies, long_run, partition, "
        "likelihood; default: all.",
    ),
]
Outside = Annotated[
    list[str] | None,
    typer.Option(
        help="Anomalies: digits, mnist, fashion_mnist, cifar10, or a file or folder of images or "
        "rows. Can be repeated; noise is always tried."
    ),
]
Inception = Annotated[
    Path | None,
    typer.Option(help="The standard Inception weights, for the FID of the literature."),
]
Seconds = Annotated[
    float,
    typer.Option(
        parser=number(0),
        metavar="NUMBER",
        help="Seconds for long chains; a later call with more continues them.",
    ),
]
ChainSteps = Annotated[
    int, typer.Option(parser=integer(1), metavar="INTEGER", help="Steps of the long chains.")
]
LogZSeconds = Annotated[
    float,
    typer.Option(
        parser=number(0),
        metavar="NUMBER",
        help="Time limit for log Z; above it the estimate is refused.",
    ),
]
Replicates = Annotated[
    int, typer.Option(parser=integer(2), metavar="INTEGER", help="log Z: independent replicates.")
]
ReplicateWalkers = Annotated[
    int, typer.Option(parser=integer(2), metavar="INTEGER", help="log Z: walkers of a replicate.")
]
BackwardSteps = Annotated[
    int,
    typer.Option(
        parser=integer(1),
        metavar="INTEGER",
        help="log Z: steps of the chains that start the way back.",
    ),
]


@app.command("evaluate")
def evaluate_command(
    folder: Trained,
    overrides: Overrides = None,
    n: Samples = 10_000,
    sections: Sections = "all",
    ood: Outside = None,
    inception: Inception = None,
    seconds: Seconds = 60.0,
    chain_steps: ChainSteps = 100_000,
    log_z_seconds: LogZSeconds = 900.0,
    walkers: ReplicateWalkers = 1024,
    replicates: Replicates = 8,
    steps: BackwardSteps = 1000,
    seed: Seed = 0,
    device: Device = None,
    imports: Imports = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Evaluate a trained model: samples, modes, density, anomalies, long chains, likelihood.

    Sections that are known are not computed again. `boltzwalk report` shows them.
    """
    with errors(debug):
        import_code(imports)
        from ..evaluation.evaluate import SECTIONS, EvaluationPlan
        from ..evaluation.long_run import LongRun
        from ..evaluation.preflight import check_files, check_inputs
        from ..smc.from_samples import Effort
        from ..smc.log_z import Annealing
        from ..training.run import open_run

        def report(text: str) -> None:
            if not quiet:
                echo(f"... {text}", err=True)

        check_files(inception, ood or ())
        run = open_run(folder, device, changes=overrides or ())
        annealing = Annealing(walkers=walkers, replicates=replicates)
        plan = EvaluationPlan(
            samples=n,
            sections=SECTIONS if sections == "all" else tuple(sections.replace(" ", "").split(",")),
            inception=inception,
            outside=tuple(ood or ()),
            long_run=LongRun(seconds=seconds, steps=chain_steps, report=report),
            effort=Effort(steps=steps, annealing=annealing, seconds=log_z_seconds, report=report),
            seed=seed,
            report=report,
        )
        model = run.judged_on(run.dataset, run_folder(folder))
        check_inputs(model, plan)
        _evaluate(model, run_folder(folder), plan)


def _evaluate(model: Model, folder: Path, plan: EvaluationPlan) -> None:
    """Evaluates, prints each section when it is known, and writes all."""
    from ..diagnostics.verdict import model_verdict
    from ..evaluation.answer import uses_of
    from ..evaluation.cache import format_lines, write_evaluation
    from ..evaluation.evaluate import NOTHING, evaluate_sections, known_sections
    from ..evaluation.preflight import expected_time

    plan.report(expected_time(model, folder, plan))
    sections, empty = {}, []
    for name, section in evaluate_sections(model, folder, plan):
        sections[name], title = section, name.replace("_", " ")
        lines = format_lines(section)
        if not lines:
            empty.append(f"{title}: {NOTHING.get(name, 'nothing to compute')}")
            continue
        echo("\n".join(["", title, *(f"  {line}" for line in lines)]))
    if empty:
        echo(f"\nleft out  {'; '.join(empty)}")
    path, protocol = folder / "evaluation.json", {"update": model.update, "seed": plan.seed}
    known = known_sections(model, folder) | sections
    write_evaluation(known, path, protocol)
    run = shlex.quote(str(folder))
    echo(f"\nnumbers  {path}\nreport   boltzwalk report {run}")
    echo(f"\n{uses_of(model, folder, model_verdict(model, folder), known).text}")


@app.command("report")
def report_command(
    folders: Annotated[
        list[Path], typer.Argument(help="Run folders, several to compare them; or a study folder.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The .html file; default: report.html in the run folder, or "
            "comparison.html next to it."
        ),
    ] = None,
    quote_formulas: QuoteFormulas = False,
    imports: Imports = None,
    debug: Debug = False,
) -> None:
    """Write the report of a run, or a comparison of several: one page that needs no network."""
    with errors(debug):
        import_code(imports)
        from ..reporting.compare import differing_settings, write_comparison
        from ..reporting.page import write_report
        from ..training.run import open_model

        uses = ""
        if (folders[0] / "study.yaml").is_file():
            from ..study.report import write_study_report

            path = write_study_report(folders[0], out, quote_formulas=quote_formulas)[0]
        elif len(folders) == 1:
            from ..diagnostics.verdict import model_verdict
            from ..evaluation.answer import uses_of
            from ..evaluation.evaluate import known_sections

            model = open_model(folders[0])
            path = write_report(model, folders[0], out=out)
            training, known = model_verdict(model, folders[0]), known_sections(model, folders[0])
            uses = uses_of(model, folders[0], training, known).text
        else:
            typer.echo("\n".join([*differing_settings(folders), ""]))
            path = write_comparison(folders, out or folders[0].parent / "comparison.html")
        echo(f"report   {path}")
        if uses:
            echo(f"\n{uses}")


@app.command()
def classifier(
    name: Annotated[str, typer.Argument(help="digits, mnist or fashion_mnist.")],
    out: Annotated[
        Path | None, typer.Option(help="The .safetensors file; default: NAME.safetensors here.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Fit the classifier that evaluates samples of a standard data set, like the shipped one."""
    with errors(debug):
        import time

        from ..metrics.classifier import fit_standard, save_classifier

        began = time.monotonic()
        fitted = fit_standard(name)
        path = out or Path(f"{name}.safetensors")
        save_classifier(fitted, path)
        echo(
            f"{fitted.accuracy:.2%} of held-out images are classified correctly, fitted in "
            f"{time.monotonic() - began:.0f} s\n\nweights  {path}"
        )


@app.command()
def recipes(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="Only recipes with these words; they are shown with their results."),
    ] = None,
    debug: Debug = False,
) -> None:
    """List the recipes, one line each; with words, the recipes that have them and their results."""
    with errors(debug):
        from ..recipes.index import recipe_texts

        texts = {name: inspect.cleandoc(text) for name, text in recipe_texts().items()}
        wanted = [word.lower() for word in words or ()]
        matches = {
            name: text
            for name, text in texts.items()
            if all(word in f"{name} {text}".lower() for word in wanted)
        }
        if not matches:
            raise ValueError(
                f"some recipe must have the words {' '.join(words or ())!r}, got none of "
                f"{len(texts)}; `boltzwalk recipes` lists all"
            )
        width = max(map(len, matches))
        for name, text in matches.items():
            first, *rest = [" ".join(part.split()) for part in text.split("\n\n")]
            echo(f"{name:<{width}}  {textwrap.shorten(first, 98 - width, placeholder=' ...')}")
            for row in textwrap.wrap(" ".join(rest), 98 - width) if wanted else ():
                echo(f"{'':<{width}}  {row}")
        more = "" if wanted else "; its result: boltzwalk recipes NAME"
        echo(f"\nTrain one with: boltzwalk train NAME{more}")


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Print the version."""
    if show:
        from .. import __version__

        echo(f"boltzwalk {__version__}")
        raise typer.Exit
