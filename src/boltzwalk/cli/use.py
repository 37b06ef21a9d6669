"""Commands that use a trained model: samples, scores, completions, codes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import (
    Debug,
    Device,
    Imports,
    Seed,
    Steps,
    Trained,
    app,
    errors,
    import_code,
    run_folder,
)

if TYPE_CHECKING:
    import torch

    from ..completion import Codes
    from ..model import Model

__all__ = ["complete", "interpolate", "reconstruct", "sample", "score"]

Rows = Annotated[
    Path | None,
    typer.Argument(
        help="Whole rows: an image, a folder of images, a table, a .npy or .npz file; default: 16 "
        "held-out rows of the run."
    ),
]


@app.command()
def sample(
    folder: Trained,
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="How many samples.")] = 100,
    steps: Steps = 0,
    seed: Seed = 0,
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
    stop_early: Annotated[
        bool,
        typer.Option(
            "--stop-early",
            help="Of a generalized model: judge its chains on their way, and stop where they are "
            "best.",
        ),
    ] = False,
    device: Device = None,
    imports: Imports = None,
    debug: Debug = False,
) -> None:
    """Draw samples from a trained model, by the sampler it was trained with."""
    with errors(debug):
        import_code(imports)
        from ..training.pictures import write_samples
        from ..training.run import open_model

        model = open_model(folder, device)
        if stop_early:
            steps = _turning_point(model, steps, seed)
        which = "" if label is None else "_" + "".join(c if c.isalnum() else "-" for c in label)
        path = out or run_folder(folder) / "samples" / f"samples{which}_seed{seed}.npz"
        for line in write_samples(model, path, n, steps, seed, noise, label):
            typer.echo(line)


def _turning_point(model: Model, steps: int, seed: int) -> int:
    """The steps after which latent chains are best; says how good they are on their way."""
    from ..evaluation.early_stopping import turning
    from ..rng import generator

    found = turning(model, generator(seed, "turning", 0, model.device), steps)
    typer.echo(found.text)
    if not found.best:
        raise ValueError(
            "some step must make samples better than the base, got none; train the energy on, "
            "learns=energy, lower kernel.step_size, or take the base alone, method.sample_steps=0"
        )
    return found.best


@app.command()
def score(
    folder: Trained,
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
    device: Device = None,
    imports: Imports = None,
    debug: Debug = False,
) -> None:
    """Score rows: energy, log-density where log Z is known, percentile, and a flag for anomalies.

    The percentile is the share of held-out rows with a lower energy. The log-density needs a
    likelihood that `boltzwalk evaluate` found; without one the column is empty.
    """
    with errors(debug):
        import_code(imports)
        from ..evaluation.score import read_for, score_rows, write_scores
        from ..rng import generator
        from ..training.run import open_model

        model = open_model(folder, device)
        model.require_unconditional("a score")
        x = read_for(model, rows, generator(seed, "score", 0, model.device))
        found = score_rows(model, run_folder(folder), x, false_alarm)
        if out in (None, "-"):
            sys.stdout.write(write_scores(found, ".csv").decode())
        else:
            from ..checkpoint import write_atomically

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
    folder: Trained,
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
    steps: Steps = 0,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="A .npz file, or .csv for a table; default: in the run folder."),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="The whole rows, to judge by; default: FILE, if whole.")
    ] = None,
    device: Device = None,
    imports: Imports = None,
    debug: Debug = False,
) -> None:
    """Complete images or rows with missing entries, several times each.

    Where the truth is known, errors are printed beside those of filling in the training mean.
    """
    with errors(debug):
        import_code(imports)
        from ..completion import inputs as given
        from ..completion.variants import Plan, usual_mask
        from ..completion.variants import complete as completed
        from ..completion.write import said_of, table_of, write_completions
        from ..rng import generator
        from ..training.run import open_model

        plan = Plan(variant, n, steps, start)  # type: ignore[arg-type]  # it refuses others
        model = open_model(folder, device)
        data, source = model.data, str(file)
        if file is None:
            whole, source = given.held_out(data)
        else:
            whole = given.read_partial(file, data)
        mask = mask or usual_mask(model, whole)
        known = None if truth is None else given.read_partial(truth, data)
        inputs = given.make_inputs(data, whole, mask, known)
        found = completed(model, inputs, plan, generator(seed, "complete", 0, model.device))
        suffix = ".csv" if len(data.event_shape) == 1 else ".npz"
        name = f"{'held_out' if file is None else file.stem}_{variant}_seed{seed}{suffix}"
        path = out or run_folder(folder) / "completions" / name
        places = write_completions(model, inputs, found, path)
        for line in (said_of(model, inputs, plan, source, seed), *table_of(model, inputs, found)):
            typer.echo(line)
        typer.echo("\n" + "\n".join(places))


@app.command()
def reconstruct(
    folder: Trained,
    file: Rows = None,
    steps: Steps = 0,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="A .npz file; default: in the run folder.")
    ] = None,
    device: Device = None,
    imports: Imports = None,
    debug: Debug = False,
) -> None:
    """Encode rows and decode them again.

    The code is that of the encoder, a draw from the posterior of the generator, or, for short-run
    models, the noise whose chain ends there.
    """
    with errors(debug):
        import_code(imports)
        from ..completion import reconstruct as decoded
        from ..completion import revised
        from ..completion.write import errors_of, write_lines

        model, codes, x, rng, source = _coded(folder, file, steps, seed, device)
        made = {"decoded": decoded(codes, x, rng)}
        if codes.network:
            made["revised"] = revised(model, made["decoded"], steps, rng)
        typer.echo(f"{source}; the code is {codes.name}")
        path = out or run_folder(folder) / "codes" / f"reconstructed_seed{seed}.npz"
        for line in (*errors_of(model, made, x), *write_lines(model, {"truth": x, **made}, path)):
            typer.echo(line)


@app.command()
def interpolate(
    folder: Trained,
    file: Rows = None,
    n: Annotated[int, typer.Option("-n", "--n", min=2, help="Rows on each way, with ends.")] = 8,
    steps: Steps = 0,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="A .npz file; default: in the run folder.")
    ] = None,
    device: Device = None,
    imports: Imports = None,
    debug: Debug = False,
) -> None:
    """Go from one row to another through their codes: the 1st to the 2nd, the 3rd to the 4th."""
    with errors(debug):
        import_code(imports)
        from ..completion import interpolate as between
        from ..completion import revised
        from ..completion.write import write_lines

        model, codes, x, rng, source = _coded(folder, file, steps, seed, device)
        if len(x) < 2:
            raise ValueError(f"an interpolation must have two rows or more, got {len(x)}")
        pairs = len(x) // 2 * 2
        way = between(codes, x[:pairs:2], x[1:pairs:2], n, rng).flatten(0, 1)
        lines = {"revised": revised(model, way, steps, rng)} if codes.network else {"decoded": way}
        typer.echo(f"{source}, {pairs // 2} ways of {n} rows; the code is {codes.name}")
        path = out or run_folder(folder) / "codes" / f"interpolated_seed{seed}.npz"
        for line in write_lines(model, lines, path, columns=n):
            typer.echo(line)


def _coded(
    folder: Path, file: Path | None, steps: int, seed: int, device: str | None
) -> tuple[Model, Codes, torch.Tensor, torch.Generator, str]:
    """The model, its codes, full rows in model units, the source of noise, and the rows' name."""
    from ..completion import codes_of, held_out, read_partial
    from ..rng import generator
    from ..training.run import open_model

    model = open_model(folder, device)
    rows, source = held_out(model.data) if file is None else (None, str(file))
    original = rows if rows is not None else read_partial(Path(source), model.data)
    if bool(original.isnan().any()):
        raise ValueError(
            f"{source} must hold whole rows, got {int(original.isnan().sum())} missing entries; "
            "`boltzwalk complete` fills them"
        )
    x = model.data.from_original(original).to(model.data.train)
    rng = generator(seed, "codes", 0, model.device)
    return model, codes_of(model, steps, seed), x, rng, source
