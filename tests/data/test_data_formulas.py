"""Texts that a spreadsheet takes for formulas: told, and quoted by an option, in every CSV file."""

import csv
import io
import re

import numpy as np
import pandas
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from boltzwalk.cli import app
from boltzwalk.data.readable import formula_note, is_formula, quoted_formula, unquoted_formula
from boltzwalk.study.answers import Sheet, to_csv

DANGEROUS = ["=cmd|' /C calc'!A0", "+1+cmd", "-2+3", "@SUM(A1)", "\t=1+1", "\r=1+1", " =A1"]
DANGEROUS += ["=HYPERLINK(x)", "＝1+1", "-x", "+49 170 1234567", "-1;=1+1", "=1", "- 1 - 2"]
HARMLESS = ["", "-", "--", "---", "+", "a=b", "-1", "+1", "-1.5e-3", "-1,5", "-1.234,5", "- 3"]
HARMLESS += ["-1 234", "-5%", "-inf", "-nan", "1-2", "-.5", "-0.2 to 0.3", "- to -", "x@y"]


@pytest.mark.parametrize("text", DANGEROUS)
def test_a_text_that_is_calculated_is_told_and_quoted(text):
    assert is_formula(text)
    assert quoted_formula(text) == f"'{text}"
    assert not is_formula(quoted_formula(text))
    assert unquoted_formula(f"'{text}") == text
    assert "--quote-formulas" in formula_note([text])[0]


@pytest.mark.parametrize("text", HARMLESS)
def test_numbers_and_dashes_are_left_alone(text):
    assert not is_formula(text)
    assert quoted_formula(text) == text
    assert unquoted_formula(text) == text


@given(st.floats())
def test_no_number_is_quoted(value):
    for text in (repr(value), f"{value:+.3g}", f"{value:.6e}", f"{value:,.2f}", f"{value:.2%}"):
        assert quoted_formula(text) == text


@given(st.text(max_size=12).map(lambda text: f"={text}"))
@example("=1")
def test_a_quoted_text_never_begins_as_a_formula(text):
    quoted = quoted_formula(text)
    assert quoted[0] == "'" or not re.search(r"\w", text)


def test_a_note_names_three_texts_and_counts_the_others():
    note = formula_note(["=a", "=b", "x", "=c", "=d", "=e", "=a"])[0]
    assert "'=a', '=b', '=c' and 2 more texts are formulas" in note
    assert "..." in formula_note(["=" + "a" * 100])[0]


def test_a_table_of_a_study_is_quoted():
    sheet = Sheet("", ("=a", "b"), [("@x", "-1")])
    rows = list(csv.reader(io.StringIO(to_csv(sheet, quote_formulas=True).decode())))
    assert rows == [["'=a", "b"], ["'@x", "-1"]]
    assert to_csv(sheet).decode() == "=a,b\n@x,-1\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on a table with columns and texts that are formulas."""
    path = tmp_path_factory.mktemp("formulas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(rng.normal(size=(200, 2)), columns=["=cmd()", "plain"])
    frame["@text"] = np.where(np.arange(200) % 2, "=1+1", "word")
    frame.to_csv(path / "t.csv", index=False)
    small = ["updates=2", "batch=16", "method.steps=2", "energy.network.widths=[8]", "threads=1"]
    words = ["train", "table_walkers", f"data.path={path / 't.csv'}", "--name=t", *small]
    words += ["pictures=false", "events=false", "--quiet", f"--runs={path}"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code in (0, 3), done.output
    return path


@pytest.mark.parametrize("command", ["sample", "score", "complete"])
def test_every_command_tells_and_quotes_alike(folder, command):
    given = {"sample": ["-n5"], "score": [folder / "t.csv"], "complete": [folder / "holes.csv"]}
    holes = pandas.read_csv(folder / "t.csv", dtype=str).head(4)
    holes.loc[1, "plain"] = ""
    holes.to_csv(folder / "holes.csv", index=False)
    texts = {}
    for option in ([], ["--quote-formulas"]):
        out = folder / f"{command}{len(option)}.csv"
        words = [command, folder / "t", *given[command], *option, f"--out={out}"]
        words += ["-n1", "--steps=2"] if command == "complete" else []
        done = CliRunner().invoke(app, list(map(str, words)))
        assert done.exit_code == 0, done.output
        assert ("write --quote-formulas" in done.output) == (not option)
        texts[bool(option)] = pandas.read_csv(out, dtype=str, keep_default_na=False)
    plain, quoted = texts[False], texts[True]
    assert not any(map(is_formula, [*quoted.columns, *quoted.to_numpy().ravel()]))
    assert any(map(is_formula, [*plain.columns, *plain.to_numpy().ravel()]))
    assert [unquoted_formula(name) for name in quoted.columns] == list(plain.columns)
    assert np.array_equal(
        np.vectorize(unquoted_formula)(quoted.to_numpy(dtype=str)), plain.to_numpy(dtype=str)
    )
    if command == "sample":  # the model knows its columns again
        again = CliRunner().invoke(app, ["score", str(folder / "t"), str(out)])
        assert again.exit_code == 0, again.output
