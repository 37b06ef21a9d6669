"""A table as an analyst has it, from the file to scores and completions, by the commands.

pandas is the oracle of the files.
"""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from boltzwalk.cli import app

SHORT = (
    "updates=20",
    "normal_mixtures=[1]",
    "plain_mixtures=[1]",
    "bandwidths=[0.5]",
    "energy.network.widths=[16]",
    "threads=1",
    "--quiet",
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command in a folder of its own; returns its output and its messages."""
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == code, done.output
        return done.stdout, done.stderr

    return run


def measurements(n=1200):
    """An index column, a text column, 4 % of the fields empty, 1 % outliers."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4)) @ rng.normal(size=(4, 4)) + [20, 1013, 5, 100]
    x[rng.random(n) < 0.01] *= 8
    frame = pd.DataFrame(x.round(3), columns=["temperature", "pressure", "flow", "load"])
    frame = frame.mask(rng.random(frame.shape) < 0.04)
    frame.insert(0, "station", rng.choice(["north", "south", "east"], n))
    return frame


def test_measurements_csv_works_at_the_first_try(tmp_path, run):
    frame = measurements()
    frame.to_csv(tmp_path / "measurements.csv")
    numbers = frame.drop(columns="station")
    gaps = numbers.isna().any(axis=1)
    output, _ = run("train", "measurements.csv", *SHORT)
    assert "read measurements.csv: 1,200 rows, 4 columns, with a header" in output
    assert "left out: column0 (row numbers), station (text such as" in output
    assert f"{gaps.sum():,} rows with gaps left out, {(~gaps).sum():,} rows used" in output
    # Rows that cannot be scored are marked, in their place; other columns are passed on.
    _, messages = run("score", "runs/measurements", "measurements.csv", "--out", "s.csv")
    assert f"{gaps.sum():,} of 1,200 rows have gaps or text" in messages
    scores = pd.read_csv(tmp_path / "s.csv", keep_default_na=True)
    assert scores["row"].tolist() == list(range(1200))
    np.testing.assert_array_equal(scores["station"], frame["station"])
    np.testing.assert_array_equal(scores["energy"].isna(), gaps)
    np.testing.assert_array_equal(scores["note"].notna(), gaps)
    first = numbers.columns[numbers.loc[gaps.idxmax()].isna()]
    assert scores["note"][gaps.idxmax()] == "; ".join(f"missing {name}" for name in first)
    # Completion keeps all that was given, in its place.
    run("complete", "runs/measurements", "measurements.csv", "--n", "1", "--steps", "2",
        "--out", "c.csv")  # fmt: skip
    completed = pd.read_csv(tmp_path / "c.csv", index_col=0)
    assert list(completed.columns) == list(frame.columns)
    assert not completed.isna().any(axis=None)
    assert completed.where(frame.notna()).equals(frame)


def test_new_files_are_read_by_the_options_of_training(tmp_path, run):
    """Key, header, separator, decimal sign, categories, dates: none of them is repeated."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "400": rng.normal(size=200).round(4),
            "day": pd.date_range("2024-01-01", periods=200).strftime("%d.%m.%Y"),
            "410": rng.normal(size=200).round(4),
            "city": rng.choice(["Rom", "Bonn", "Ulm"], 200),
        }
    )
    frame.to_csv(tmp_path / "t.txt", sep="|", decimal=",", index=False)
    options = ["data.separator=|", "data.decimal=,", "data.header=true"]
    options += ["data.categories=city", "data.dates=day"]
    output, _ = run("train", "t.txt", "--name", "t", *options, *SHORT)
    assert "one-hot: city (Bonn = 0, Rom, Ulm)" in output
    assert "dates: day, in days since 1970-01-01" in output
    frame.loc[3, "city"] = "Wien"
    frame.loc[5, "day"] = "soon"
    frame.to_csv(tmp_path / "new.txt", sep="|", decimal=",", index=False)
    run("score", "runs/t", "new.txt", "--out", "s.csv")
    scores = pd.read_csv(tmp_path / "s.csv")
    assert scores["note"].dropna().to_dict() == {
        3: "unknown level 'Wien' of city",
        5: "no number 'soon' in day",
    }
    # The same rows as commas and points, and in another order, have the same energies.
    other = frame[["city", "410", "400", "day"]]
    other.to_csv(tmp_path / "other.csv", index=False)
    run("score", "runs/t", "other.csv", "--out", "o.csv")
    np.testing.assert_allclose(
        pd.read_csv(tmp_path / "o.csv")["energy"], scores["energy"], rtol=1e-5
    )
    gaps = frame.drop([3, 5]).head(8).copy()
    gaps.loc[1, "city"] = None
    gaps.loc[2, "day"] = None
    gaps.to_csv(tmp_path / "gaps.csv", index=False)
    run("complete", "runs/t", "gaps.csv", "--n", "1", "--steps", "2", "--out", "c.csv")
    completed = pd.read_csv(tmp_path / "c.csv", dtype=str)
    assert completed["city"][1] in ("Rom", "Bonn", "Ulm")
    assert pd.to_datetime(completed["day"][2]) is not pd.NaT
    np.testing.assert_array_equal(completed["day"].drop(2), gaps["day"].drop(2))


def test_one_array_of_several(tmp_path, run):
    x = np.random.default_rng(0).normal(size=(200, 3))
    np.savez(tmp_path / "t.npz", x=x, y=2 * x)
    run("train", "t.npz", "data.key=x", *SHORT)
    run("score", "runs/t", "t.npz", "--out", "s.csv")
    assert len(pd.read_csv(tmp_path / "s.csv")) == 200


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"<html></html>", "a saved web page"),
        ("a.npy", b"\x80\x04\x95pickle", "a pickle, which is never loaded"),
        ("a.npz", b"PK\x03\x04broken", "complete .npy or .npz file"),
        ("a.parquet", b"a,b\n1,2\n", "must be a Parquet file, got text"),
        ("a.xlsx", b"PK\x03\x04broken", "must be a complete workbook of Excel"),
    ],
)
def test_files_of_another_kind_are_told(tmp_path, run, name, content, words):
    (tmp_path / name).write_bytes(content)
    output, messages = run("train", name, code=2)
    text = " ".join((output + messages).replace("│", " ").split())
    assert words in text
    assert "allow_pickle" not in text
