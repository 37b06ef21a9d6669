"""Commands that use a trained model: samples, scores, completions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import errors
from .options import Debug, app, run_folder

__all__ = ["complete", "sample", "score"]


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
    label: Annotated[
        str | None,
        typer.Option(
            "--class", help="The class, by number or name; default: as many of each, where given."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    debug: Debug = False,
) -> None:
    """Draw samples from a trained model, by the sampler it was trained with."""
    with errors(debug):
        from ..train.export import write_samples
        from ..train.run import open_run

        run = open_run(folder, device)
        which = "" if label is None else "_" + "".join(c if c.isalnum() else "-" for c in label)
        path = out or run_folder(folder) / "samples" / f"samples{which}_seed{seed}.npz"
        for line in write_samples(run, path, n, steps, seed, noise, label):
            typer.echo(line)


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
        from ..evaluation.score import read_for, score_rows, write_scores
        from ..rng import generator
        from ..train.run import open_run, refuse_conditions

        run = open_run(folder, device)
        refuse_conditions(run, "a score")
        x = read_for(run, rows, generator(seed, "score", 0, run.settings.device))
        found = score_rows(run, run_folder(folder), x, false_alarm)
        if out in (None, "-"):
            sys.stdout.write(write_scores(found, ".csv").decode())
        else:
            from ..train.checkpoint import write_atomically

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
            "a .npy or .png file (nonzero is hidden), or names of columns; default: what the run "
            "was trained to fill in, where it was."
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
        from ..completion import inputs as given
        from ..completion.variants import Plan, usual_mask
        from ..completion.variants import complete as completed
        from ..completion.write import said_of, table_of, write_completions
        from ..rng import generator
        from ..train.run import open_run

        plan = Plan(variant, n, steps, start)  # type: ignore[arg-type]  # it refuses others
        run = open_run(folder, device)
        data, source = run.dataset, str(file)
        if file is None:
            whole, source = given.held_out(data)
        else:
            whole = given.read_partial(file, data)
        mask = mask or usual_mask(run, whole)
        known = None if truth is None else given.read_partial(truth, data)
        inputs = given.make_inputs(data, whole, mask, known)
        found = completed(run, inputs, plan, generator(seed, "complete", 0, run.settings.device))
        suffix = ".csv" if len(data.event_shape) == 1 else ".npz"
        name = f"{'held_out' if file is None else file.stem}_{variant}_seed{seed}{suffix}"
        path = out or run_folder(folder) / "completions" / name
        places = write_completions(run, inputs, found, path)
        for line in (said_of(run, inputs, plan, source, seed), *table_of(run, inputs, found)):
            typer.echo(line)
        typer.echo("\n" + "\n".join(places))
