"""Commands that use a trained model: samples, scores, completions, codes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .arguments import integer, number
from .errors import (
    Debug,
    Device,
    Imports,
    QuoteFormulas,
    Seed,
    Steps,
    Trained,
    app,
    echo,
    errors,
    import_code,
    run_folder,
)

if TYPE_CHECKING:
    import torch

    from ..completion import Codes
    from ..data.new_rows import NewRows
    from ..model import Model

__all__ = ["complete_command", "interpolate_command", "reconstruct_command", "sample", "score"]

Rows = Annotated[
    Path | None,
    typer.Argument(
        help="Full rows: an image, a folder of images, a table, a .npy or .npz file; default: 16 "
        "held-out rows."
    ),
]

CodesFile = Annotated[Path | None, typer.Option(help="The .npz file; default: in the run folder.")]


@app.command()
def sample(
    folder: Trained,
    n: Annotated[
        int,
        typer.Option(
            "-n", "--n", parser=integer(1), metavar="INTEGER", help="The number of samples."
        ),
    ] = 100,
    steps: Steps = 0,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="The .npz, .csv or .png file; default: in the run folder.")
    ] = None,
    noise: Annotated[
        bool, typer.Option("--noise", help="Start from noise instead of stored walkers.")
    ] = False,
    label: Annotated[
        str | None,
        typer.Option(
            "--class", help="The class, by number or name; default: equal numbers of each class."
        ),
    ] = None,
    stop_early: Annotated[
        bool,
        typer.Option(
            "--stop-early",
            help="Generalized models: stop the chains after the number of steps that gives the "
            "best samples.",
        ),
    ] = False,
    quote_formulas: QuoteFormulas = False,
    device: Device = None,
    imports: Imports = None,
    debug: Debug = False,
) -> None:
    """Draw samples from a trained model with the sampler of training."""
    with errors(debug):
        import_code(imports)
        from ..training.pictures import write_samples
        from ..training.run import open_model

        model = open_model(folder, device)
        if stop_early:
            steps = _best_steps(model, steps, seed)
        suffix = "" if label is None else "_" + "".join(c if c.isalnum() else "-" for c in label)
        path = out or run_folder(folder) / "samples" / f"samples{suffix}_seed{seed}.npz"
        for line in write_samples(model, path, n, steps, seed, noise, label, quote_formulas):
            echo(line)


def _best_steps(model: Model, steps: int, seed: int) -> int:
    """The number of steps after which latent chains are best; prints the quality along them."""
    from ..evaluation.early_stopping import best_chain_length
    from ..rng import generator

    chains = best_chain_length(model, generator(seed, "turning", 0, model.device), steps)
    echo(chains.text)
    if not chains.best:
        raise ValueError(
            "some step must make samples better than the base, got none; train the energy on, "
            "learns=energy, lower kernel.step_size, or take the base alone, method.sample_steps=0"
        )
    return chains.best


FalseAlarm = Annotated[
    float,
    typer.Option(
        parser=number(), metavar="NUMBER", help="The share of ordinary rows that may be flagged."
    ),
]


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
        str | None, typer.Option(help="The .csv or .npz file, or - for stdout (default).")
    ] = None,
    false_alarm: FalseAlarm = 0.05,
    seed: Annotated[
        int,
        typer.Option(
            parser=integer(), metavar="INTEGER", help="The seed of the noise of dequantisation."
        ),
    ] = 0,
    quote_formulas: QuoteFormulas = False,
    device: Device = None,
    imports: Imports = None,
    debug: Debug = False,
) -> None:
    """Score rows: energy, log-density where log Z is known, percentile, and a flag for anomalies.

    The percentile is the share of held-out rows with a lower energy. The log-density needs a
    likelihood from `boltzwalk evaluate`; without one the column is empty.
    """
    with errors(debug):
        import_code(imports)
        from ..data.readable import formula_note
        from ..evaluation.score import passed_texts, read_input, score_rows, write_scores
        from ..rng import generator
        from ..training.run import open_model

        model = open_model(folder, device)
        model.require_unconditional("a score")
        given = read_input(model, rows, generator(seed, "score", 0, model.device))
        for line in given.table.lines if given.table else ():
            echo(line, err=True)
        scores = score_rows(model, run_folder(folder), given.x, false_alarm)
        suffix = ".csv" if out in (None, "-") else Path(str(out)).suffix
        _write_scores(write_scores(scores, suffix, given.table, quote_formulas), out)
        notes = formula_note(passed_texts(given.table), quote_formulas) if suffix == ".csv" else []
        for line in notes:
            echo(f"note     {line}", err=True)
        flagged = int(scores.anomaly.sum())
        echo(
            f"{flagged:,} of {len(scores.anomaly):,} rows are flagged; {scores.protocol}",
            err=True,
        )
        if out not in (None, "-"):
            echo(f"scores   {out}", err=True)


def _write_scores(content: bytes, out: str | None) -> None:
    """Writes scores to a file, or to standard output."""
    if out in (None, "-"):
        sys.stdout.write(content.decode())
    else:
        from ..checkpoint import write_atomically

        write_atomically(Path(str(out)), content)


Partial = Annotated[
    Path | None,
    typer.Argument(
        help="An image, a folder of images, a table with empty fields, or a .npy or .npz file with "
        "nan; default: 16 held-out rows."
    ),
]
Mask = Annotated[
    str | None,
    typer.Option(
        help="The hidden part: lower, upper, left, right, center, a box top,left,height,width, a "
        ".npy or .png file (nonzero is hidden), or names of columns; default: the mask of training."
    ),
]
Variant = Annotated[str, typer.Option(help="conditional, encode, kernel or latent.")]
Start = Annotated[str, typer.Option(help="Start of conditional chains: auto, noise, mean or base.")]
Completions = Annotated[
    int,
    typer.Option(
        "-n", "--n", parser=integer(1), metavar="INTEGER", help="Completions of each row."
    ),
]
Completed = Annotated[
    Path | None,
    typer.Option(help="The .npz file, or .csv for a table; default: in the run folder."),
]
Truth = Annotated[
    Path | None, typer.Option(help="The full rows, for errors; default: FILE, if it is full.")
]


@app.command("complete")
def complete_command(
    folder: Trained,
    file: Partial = None,
    mask: Mask = None,
    variant: Variant = "conditional",
    start: Start = "auto",
    n: Completions = 4,
    steps: Steps = 0,
    seed: Seed = 0,
    out: Completed = None,
    truth: Truth = None,
    quote_formulas: QuoteFormulas = False,
    device: Device = None,
    imports: Imports = None,
    debug: Debug = False,
) -> None:
    """Complete images or rows with missing entries, several times each.

    Where the truth is known, errors are printed with those of the training mean.
    """
    with errors(debug):
        import_code(imports)
        import torch

        from ..completion import held_out_examples, make_inputs, read_partial
        from ..completion.variants import CompletionPlan, complete_rows, trained_mask
        from ..completion.write import describe_completions, results_table, write_completions
        from ..data.new_rows import read_new_rows
        from ..rng import generator
        from ..training.run import open_model

        plan = CompletionPlan(variant, n, steps, start)  # type: ignore[arg-type]  # it checks them
        model = open_model(folder, device)
        data, source = model.data, str(file)
        table = None
        if file is None:
            rows, source = held_out_examples(data)
        elif len(data.event_shape) == 1 and file.exists():
            table = read_new_rows(file, data)
            rows = torch.from_numpy(table.values[table.partial])
            for line in (*table.lines, *_passed_over(table)):
                echo(line)
        else:
            rows = read_partial(file, data)
        known = None if truth is None else read_partial(truth, data)
        inputs = make_inputs(data, rows, mask or trained_mask(model, rows), known)
        completed = complete_rows(model, inputs, plan, generator(seed, "complete", 0, model.device))
        suffix = ".csv" if len(data.event_shape) == 1 else ".npz"
        name = f"{'held_out' if file is None else file.stem}_{variant}_seed{seed}{suffix}"
        path = out or run_folder(folder) / "completions" / name
        written = write_completions(model, inputs, completed, path, table, quote_formulas)
        echo(describe_completions(model, inputs, plan, source, seed))
        for line in (*results_table(model, inputs, completed), "", *written):
            echo(line)


def _passed_over(table: NewRows) -> list[str]:
    """The line on rows that cannot be completed; an error where all are such."""
    bad = sorted(set(range(table.table.rows)) - set(table.partial.tolist()))
    if len(bad) == table.table.rows:
        raise ValueError(
            f"{table.table.source} must have a row with a number, got {len(bad):,} rows that are "
            f"empty or have text, the first: {table.notes[0]}"
        )
    if not bad:
        return []
    first = f"{table.table.location(bad[0])} ({table.notes[bad[0]]})"
    return [f"{len(bad):,} rows stay as they are, the first is {first}"]


@app.command("reconstruct")
def reconstruct_command(
    folder: Trained,
    file: Rows = None,
    steps: Steps = 0,
    seed: Seed = 0,
    out: CodesFile = None,
    device: Device = None,
    imports: Imports = None,
    debug: Debug = False,
) -> None:
    """Encode rows and decode them again.

    The code is that of the encoder, a draw from the posterior of the generator, or, for short-run
    models, the noise whose chain ends at the row.
    """
    with errors(debug):
        import_code(imports)
        from ..completion import reconstruct as encode_and_decode
        from ..completion import refine_rows
        from ..completion.write import error_lines, write_rows

        model, codes, x, rng, source = _encoded(folder, file, steps, seed, device)
        rows = {"decoded": encode_and_decode(codes, x, rng)}
        if codes.network:
            rows["revised"] = refine_rows(model, rows["decoded"], steps, rng)
        echo(f"{source}; the code is {codes.name}")
        path = out or run_folder(folder) / "codes" / f"reconstructed_seed{seed}.npz"
        written = write_rows(model, {"truth": x, **rows}, path)
        for line in (*error_lines(model, rows, x), *written):
            echo(line)


@app.command("interpolate")
def interpolate_command(
    folder: Trained,
    file: Rows = None,
    n: Annotated[
        int,
        typer.Option(
            "-n", "--n", parser=integer(2), metavar="INTEGER", help="Rows of a pair, with ends."
        ),
    ] = 8,
    steps: Steps = 0,
    seed: Seed = 0,
    out: CodesFile = None,
    device: Device = None,
    imports: Imports = None,
    debug: Debug = False,
) -> None:
    """Interpolate between pairs of rows by their codes: the 1st and 2nd, the 3rd and 4th."""
    with errors(debug):
        import_code(imports)
        from ..completion import interpolate as interpolate_codes
        from ..completion import refine_rows
        from ..completion.write import write_rows

        model, codes, x, rng, source = _encoded(folder, file, steps, seed, device)
        if len(x) < 2:
            raise ValueError(f"an interpolation must have two rows or more, got {len(x)}")
        pairs = len(x) // 2
        x = x[: 2 * pairs]
        between = interpolate_codes(codes, x[::2], x[1::2], n, rng).flatten(0, 1)
        rows = {"decoded": between}
        if codes.network:
            rows = {"revised": refine_rows(model, between, steps, rng)}
        echo(f"{source}, {pairs} pairs of {n} rows; the code is {codes.name}")
        path = out or run_folder(folder) / "codes" / f"interpolated_seed{seed}.npz"
        for line in write_rows(model, rows, path, columns=n):
            echo(line)


def _encoded(
    folder: Path, file: Path | None, steps: int, seed: int, device: str | None
) -> tuple[Model, Codes, torch.Tensor, torch.Generator, str]:
    """The model, its codes, full rows in model units, the source of noise, and the rows' name."""
    from ..completion import held_out_examples, make_codes, read_partial
    from ..rng import generator
    from ..training.run import open_model

    model = open_model(folder, device)
    if file is None:
        rows, source = held_out_examples(model.data)
    else:
        rows, source = read_partial(file, model.data), str(file)
    if bool(rows.isnan().any()):
        raise ValueError(
            f"{source} must hold full rows, got {int(rows.isnan().sum())} missing entries; "
            "`boltzwalk complete` fills them"
        )
    x = model.data.from_original(rows).to(model.data.train)
    rng = generator(seed, "codes", 0, model.device)
    return model, make_codes(model, steps, seed), x, rng, source
