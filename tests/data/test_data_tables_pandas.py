"""Text tables, frames, Parquet and Excel are read as pandas reads them, or refused with reasons.

pandas is the oracle: of what a file holds, not of the message.
"""

import datetime
import gzip
import io
import json
import string
import warnings

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from boltzwalk.data import Dataset, Table
from boltzwalk.data.dialect import MISSING
from boltzwalk.data.reading import TableReading

MARKS = ["", "NA", "NaN", "nan", "null", "N/A", "n/a", "NULL", "None", "?", "-", "<NA>", "#N/A"]
SEPARATORS = {",": ",", ";": ";", "tab": "\t", "|": "|", "space": " "}


def chosen(path, **options):
    return Table(str(path), **{"whitening": "none", "missing": "auto", **options}).choose()


def number_text(value, decimals, decimal, scientific):
    text = f"{value:.{decimals}e}" if scientific else f"{value:.{decimals}f}"
    return text.replace(".", decimal)


@st.composite
def tables(draw):
    """The bytes of a table, and the options that a user would know."""
    rows, width = draw(st.integers(3, 30)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    separator = draw(st.sampled_from([",", ";", "tab", "|", "space"]))
    decimal = draw(st.sampled_from([".", ".", ","])) if separator != "," else "."
    header = draw(st.booleans())
    names = draw(
        st.lists(
            st.text(string.ascii_letters + "_", min_size=1, max_size=6).filter(
                lambda name: name.lower() not in MISSING | {"inf", "infinity", "nan", "e"}
            ),
            min_size=width,
            max_size=width,
            unique=True,
        )
    )
    gaps = draw(st.sampled_from([0.0, 0.0, 0.1]))
    marks = draw(st.lists(st.sampled_from(MARKS), min_size=1, max_size=3))
    if separator == "space":
        marks = [mark or "NA" for mark in marks]
    kinds = [draw(st.sampled_from(["float", "float", "integer", "text"])) for _ in range(width)]
    decimals, scientific = draw(st.integers(1, 6)), draw(st.booleans())
    words = ["north", "x y" if separator != "space" else "xy", "Ω", f"a{SEPARATORS[separator]}b"]
    words += ["two\nlines", 'say "so"'] if separator != "space" else []
    quoted = draw(st.booleans())
    lines = []
    for _ in range(rows):
        fields = []
        for kind in kinds:
            if rng.random() < gaps:
                fields.append(str(rng.choice(marks)))
            elif kind == "float":
                value = rng.normal() * 10.0 ** rng.integers(-3, 4)
                fields.append(number_text(value, decimals, decimal, scientific))
            elif kind == "integer":
                fields.append(str(rng.integers(-1000, 1000)))
            else:
                fields.append(str(rng.choice(words)))
        lines.append(fields)
    text = io.StringIO()
    quoting = 1 if quoted else 0
    frame = pd.DataFrame(lines, columns=names)
    end = draw(st.sampled_from(["\n", "\r\n"]))
    frame.to_csv(
        text, sep=SEPARATORS[separator], index=False, header=header, quoting=quoting,
        lineterminator=end,
    )  # fmt: skip
    content = text.getvalue()
    if draw(st.booleans()):
        content = content.rstrip("\r\n")
    if draw(st.booleans()) and separator != "space":
        content = content.replace(end, end + end, 1)  # a blank line
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16"]))
    return content.encode(encoding), separator, decimal, header, names, encoding


def by_pandas(content, separator, decimal, header, encoding):
    return pd.read_csv(
        io.BytesIO(content),
        sep=SEPARATORS[separator],
        decimal=decimal,
        header=0 if header else None,
        na_values=["?", "-"],
        skipinitialspace=True,
        encoding=encoding,
        **({} if pd.__version__ >= "3" else {"float_precision": "round_trip"}),
    )


def compare(path, table, reading_options):
    """The outcome of a table: "read" as by pandas, or "refused" with reasons."""
    content, separator, decimal, header, _, encoding = table
    path.write_bytes(content)
    try:
        result = chosen(path, **reading_options)
    except ValueError as error:  # with the name of the file, and a reason
        return f"refused: {error}" if str(path) in str(error) else f"without a name: {error}"
    reading = result.reading
    # Read by the options that were announced, pandas has the same columns and numbers.
    frame = by_pandas(content, reading.separator, reading.decimal, reading.header, encoding)
    assert len(frame) == reading.rows_read
    frame.columns = reading.names if not reading.header else [str(c) for c in frame.columns]
    frame.columns = [f"column{i}" if f"Unnamed: {i}" == name else name
                     for i, name in enumerate(frame.columns)]  # fmt: skip
    assert list(frame.columns) == list(reading.names)
    used = frame[list(reading.inputs)]
    for name, reason in reading.left_out:
        column = frame[name]
        text = not pd.api.types.is_numeric_dtype(column) or column.dtype == bool
        if reason.startswith(("text", "true")):
            assert text, (name, reason)
        elif reason == "row numbers":
            assert (column.diff().dropna() == 1).all()
        else:
            assert column.isna().mean() > 0.5, (name, reason)
    assert all(pd.api.types.is_numeric_dtype(used[name]) for name in used)
    expected = used.to_numpy(dtype=float)
    gap = np.isnan(expected).any(1)
    assert reading.gap_rows == gap.sum()
    if reading.missing == "drop":
        np.testing.assert_array_equal(result.kept_rows, np.flatnonzero(~gap))
        np.testing.assert_array_equal(result.values, expected[~gap])
    else:
        filled = used.fillna(used.median()).to_numpy(dtype=float)
        np.testing.assert_array_equal(result.values, filled)
    # The options that were announced are those of the writer, where they make a difference.
    assert reading.header == header
    if len(reading.names) > 1:
        assert reading.separator == separator
    if decimal == "," and reading.decimal == ".":
        assert all(float(v).is_integer() for v in expected[~gap].flatten())
    return "read"


OUTCOMES = []


def run_differential(path, table):
    """Without options; where that is refused, with those that the message may ask for."""
    _, separator, decimal, header, _, _ = table
    first = compare(path, table, {})
    if first != "read":
        known = {"separator": separator, "decimal": decimal, "header": header}
        second = compare(path, table, known)
        assert first.startswith("refused: ")
        # With the options of the writer only a table without numbers is refused.
        assert second == "read" or "a column of numbers, got none" in second, second
        OUTCOMES.append((first, second))
        return
    OUTCOMES.append((first, first))


QUICK = settings(
    max_examples=100, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@QUICK
@given(table=tables())
def test_generated_tables_are_read_as_by_pandas_or_refused(tmp_path_factory, table):
    run_differential(tmp_path_factory.getbasetemp() / "generated.csv", table)


@pytest.mark.slow
@settings(QUICK, max_examples=500)
@given(table=tables())
def test_more_generated_tables_are_read_as_by_pandas_or_refused(tmp_path_factory, table):
    run_differential(tmp_path_factory.getbasetemp() / "more.csv", table)


# One kind of file each, against pandas.


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


NUMBERS = "\n".join(",".join(f"{v:.4f}" for v in row)
                    for row in np.random.default_rng(0).normal(size=(1000, 3)))  # fmt: skip


@pytest.mark.parametrize("first", ["400,410,420", "0,1,2", "2019,2020,2021", "1,2,3", "name,7,8"])
def test_a_first_line_of_numbers_unlike_the_others_is_asked_for(tmp_path, first):
    path = write(tmp_path / "t.csv", f"{first}\n{NUMBERS}\n")
    with pytest.raises(ValueError, match=r"first line may name.*data\.header=true or"):
        chosen(path)
    named = chosen(path, header=True)
    assert named.reading.columns == tuple(first.split(","))
    expected = pd.read_csv(path)
    np.testing.assert_array_equal(named.values, expected.to_numpy())
    if first != "name,7,8":
        rows = chosen(path, header=False)
        np.testing.assert_array_equal(rows.values, pd.read_csv(path, header=None).to_numpy())


def test_ordinary_first_lines_are_not_asked_for(tmp_path):
    """60 tables of numbers without a header, of several shapes and roundings."""
    rng = np.random.default_rng(1)
    for i in range(60):
        width, decimals = int(rng.integers(1, 6)), int(rng.integers(0, 5))
        x = rng.standard_t(4, size=(200, width)) * 10.0 ** rng.integers(-1, 4, width)
        x = np.abs(x) if i % 2 else x
        path = tmp_path / "t.csv"
        np.savetxt(path, x, f"%.{decimals}f", ",")
        options = {"decimal": "."} if width == 2 else {}
        assert chosen(path, **options).reading.header is False, path.read_text()[:100]


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", ["", "Unnamed: 0", "index", "id", "ID"])
def test_row_numbers_are_left_out(tmp_path, start, name):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=["a", "b"])
    frame.index = frame.index + start
    frame.to_csv(tmp_path / "t.csv", index_label=name)
    result = chosen(tmp_path / "t.csv")
    assert result.reading.columns == ("a", "b")
    assert result.reading.left_out[0][1] == "row numbers"
    np.testing.assert_array_equal(result.values, frame.to_numpy())
    assert chosen(tmp_path / "t.csv", index="keep").values.shape == (30, 3)


def test_an_index_with_holes_or_shuffled_is_left_out_where_it_has_no_name(tmp_path):
    frame = pd.DataFrame({"a": np.random.default_rng(0).normal(size=50)})
    for part in (frame[frame.a > 0], frame.sample(frac=1, random_state=0)):
        part.to_csv(tmp_path / "t.csv")
        assert chosen(tmp_path / "t.csv").reading.columns == ("a",)
    # With a name it is a measurement, such as the year of each row.
    frame.assign(year=range(1950, 2000)).to_csv(tmp_path / "t.csv", index=False)
    assert chosen(tmp_path / "t.csv").reading.columns == ("a", "year")


def test_row_numbers_of_a_file_without_a_header(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)))
    frame.to_csv(tmp_path / "t.csv", header=False)
    assert chosen(tmp_path / "t.csv").reading.inputs == ("column1", "column2")


def test_decimal_commas(tmp_path):
    path = write(tmp_path / "t.csv", "1,5\n2,5\n")
    with pytest.raises(ValueError, match=r"1,5 may be one number.*data\.decimal=\",\""):
        chosen(path)
    assert chosen(path, decimal=",").values.tolist() == [[1.5], [2.5]]
    assert chosen(path, decimal=".").values.tolist() == [[1, 5], [2, 5]]
    write(path, "length\n1,5\n2,75\n")
    result = chosen(path)
    assert (result.reading.columns, result.values.tolist()) == (("length",), [[1.5], [2.75]])
    for text in ("a;b\n1,5;2\n2,25;3\n", 'a,b\n"1,5","2"\n"2,25","3"\n', "a\tb\n1,5\t2\n2,25\t3\n"):
        assert chosen(write(path, text)).values.tolist() == [[1.5, 2], [2.25, 3]]
    # A file with both signs is not guessed at.
    write(path, "a;b\n1,5;2.5\n2,25;3.5\n")
    with pytest.raises(ValueError, match=r"column 'a' must hold numbers.*data\.decimal=\",\""):
        chosen(path)


def test_a_decimal_comma_far_below_is_met(tmp_path):
    """The first block of the file has whole numbers only."""
    lines = [f"{i};{i + 1}" for i in range(60_000)]
    path = write(tmp_path / "t.csv", "\n".join(["a;b", *lines, "1,5;7"]))
    result = chosen(path)
    expected = pd.read_csv(path, sep=";", decimal=",").to_numpy()
    np.testing.assert_array_equal(result.values, expected)


def test_thousands(tmp_path):
    path = write(tmp_path / "t.csv", 'a,b\n"1,234.5",2\n"12,000",3\n')
    with pytest.raises(ValueError, match=r"'1,234.5' in line 2.*write data\.thousands=\",\""):
        chosen(path)
    result = chosen(path, thousands=",")
    expected = pd.read_csv(path, thousands=",").to_numpy()
    np.testing.assert_array_equal(result.values, expected)
    write(path, "a;b\n1.234,5;2\n12.000,25;3\n")
    with pytest.raises(ValueError, match=r'data\.thousands="\." data\.decimal=","'):
        chosen(path)
    result = chosen(path, thousands=".", decimal=",")
    expected = pd.read_csv(path, sep=";", thousands=".", decimal=",").to_numpy()
    np.testing.assert_array_equal(result.values, expected)
    write(path, "a;b\n1,234;2\n5,678;3\n")
    with pytest.raises(ValueError, match=r"decimal comma or groups of three digits"):
        chosen(path)


def test_all_problems_are_in_one_message(tmp_path):
    lines = ["a,b,c,d", "1,2,x,4", "inf,2,3,4", "1,2,3", "2,2,4,12345678901234567"]
    with pytest.raises(ValueError) as info:
        chosen(write(tmp_path / "t.csv", "\n".join(lines)), whitening="pca", missing="refuse")
    text = str(info.value)
    for words in (
        "5 problems",
        "4 fields as the first has, got 3 in line 4",
        "column 'a' must hold finite numbers, got inf in line 3",
        "column 'c' must hold numbers, got text, 'x' in line 2",
        "column 'd' must hold numbers that float64 can tell apart",
        "b has one value only",
    ):
        assert words in text, words


def measurements(n=1200, seed=0):
    """A table as an analyst has it: an index, text, gaps, outliers."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)) @ rng.normal(size=(4, 4)) + [20, 1013, 5, 100]
    x[rng.random(n) < 0.01] *= 8
    frame = pd.DataFrame(x.round(3), columns=["temperature", "pressure", "flow", "load"])
    frame = frame.mask(rng.random(frame.shape) < 0.04)
    frame.insert(0, "station", rng.choice(["north", "south", "east"], n))
    frame["open"] = rng.random(n) < 0.3
    frame["day"] = pd.date_range("2024-01-01", periods=n).strftime("%Y-%m-%d")
    return frame


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet", "xlsx", "frame"])
def test_a_table_as_analysts_have_it(tmp_path, kind):
    frame = measurements()
    path = tmp_path / f"m.{kind}"
    options = {"categories": ("station", "open"), "dates": ("day",)}
    if kind == "frame":
        frame["day"] = pd.to_datetime(frame["day"])
        with pytest.warns(UserWarning, match="left out: station"):
            data = Dataset.of(frame)
        with pytest.warns(UserWarning, match="rows with gaps left out"):
            coded = Dataset.of(frame, **options)
    else:
        if kind.startswith("csv"):
            frame.to_csv(path)
        else:
            getattr(frame, {"parquet": "to_parquet", "xlsx": "to_excel"}[kind])(path)
        data = Table(str(path), whitening="none").load()
        coded = Table(str(path), whitening="none", **options).load()
    numbers = frame[["temperature", "pressure", "flow", "load"]]
    expected = numbers.dropna()
    rows = torch.cat([data.to_original(x) for x in (data.train, data.validation, data.test)])
    assert data.columns == tuple(numbers.columns)
    columns = list(numbers.columns)
    result = pd.DataFrame(rows.numpy(), columns=columns).sort_values(columns)
    np.testing.assert_allclose(result, expected.astype("f4").sort_values(columns), rtol=1e-6)
    reasons = dict(data.reading.left_out)
    assert reasons["station"] == f"text such as {frame['station'][0]!r}"
    assert reasons["open"].startswith("true or false")
    assert reasons["day"].startswith("dates")
    assert dict(data.reading.gaps) == dict(numbers.isna().sum())
    assert data.reading.rows == len(expected)
    assert coded.columns[-2:] == ("open=True", "day")
    assert coded.columns[:2] == ("station=north", "station=south")
    one_hot = pd.get_dummies(frame["station"]).iloc[expected.index]
    for name in ("north", "south"):
        column = coded.columns.index(f"station={name}")
        parts = (coded.train, coded.validation, coded.test)
        total = sum(float((part[:, column] > 0.5).sum()) for part in parts)
        assert total == one_hot[name].sum()
    days = pd.to_datetime(frame["day"]).iloc[expected.index]
    first = (days.min() - pd.Timestamp("1970-01-01")).days
    assert float(torch.cat([coded.train, coded.validation, coded.test])[:, -1].min()) == first


def test_rows_with_gaps_by_each_treatment(tmp_path):
    frame = measurements()[["temperature", "pressure", "flow", "load"]]
    frame["rare"] = np.where(np.arange(len(frame)) % 10, np.nan, 1.0 * np.arange(len(frame)))
    path = tmp_path / "m.csv"
    frame.to_csv(path, index=False)
    result = chosen(path)
    assert dict(result.reading.left_out) == {"rare": "90 % empty"}
    np.testing.assert_array_equal(result.values, frame.drop(columns="rare").dropna())
    result = chosen(path, missing="drop")
    np.testing.assert_array_equal(result.values, frame.dropna())
    result = chosen(path, missing="median")
    np.testing.assert_array_equal(result.values, frame.fillna(frame.median()))
    with pytest.raises(ValueError, match=r"data\.drop=rare leaves out a column mostly empty"):
        chosen(path, missing="refuse")
    # Many columns with gaps: most rows have one, and are filled in, aloud.
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(300, 30)))
    wide = wide.mask(np.random.default_rng(1).random(wide.shape) < 0.04).add_prefix("x")
    wide.to_csv(path, index=False)
    result = chosen(path)
    np.testing.assert_array_equal(result.values, wide.fillna(wide.median()))
    assert "false peak" in "\n".join(result.reading.lines())


def test_missing_marks_of_a_file(tmp_path):
    path = write(tmp_path / "t.csv", "a,b\n1,-999\n2,3\n4,error\n5,6\n7,8\n")
    with pytest.raises(ValueError, match=r"'error' in line 4; write data\.missing_marks=error"):
        chosen(path)
    result = chosen(path, missing_marks=("error", "-999"))
    frame = pd.read_csv(path, na_values=["error", "-999"]).dropna()
    np.testing.assert_array_equal(result.values, frame)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html>\n<html><body>no</body></html>", "a saved web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"\x80\x04\x95rest", "a pickle, which is never loaded"),
        (b"%PDF-1.7", "a PDF"),
        (b"PAR1rest", r"suffix \.parquet"),
        (b"\x93NUMPY\x01\x00", r"suffix \.npy"),
        (b'{"a": [1, 2]}', "JSON"),
        (b"\xd0\xcf\x11\xe0rest", "old Excel"),
        ("a,b\n1,2\n".encode("utf-16-le"), "data.encoding=utf-16-le"),
        (b"\x00\x01\x02\x03" * 10, "a binary file"),
        (b"SQLite format 3\x00", "SQLite"),
    ],
)
def test_other_files_are_told_by_their_kind(tmp_path, content, words):
    with pytest.raises(ValueError, match=words):
        chosen(write(tmp_path / "t.csv", content))
    if not content.startswith((b"PK", b"\x93NUMPY")):
        with pytest.raises(ValueError, match=rf"complete .npy or .npz.*{words.split(' (')[0]}"):
            chosen(write(tmp_path / "t.npy", content))


def test_encodings(tmp_path):
    text = "größe,ort\n1.5,Köln\n2.5,Zürich\n4,Zürich\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        result = chosen(write(tmp_path / "t.csv", text.encode(encoding)))
        assert result.reading.columns == ("größe",)
    path = write(tmp_path / "t.csv", text.encode("cp1252"))
    with pytest.raises(
        ValueError, match=r"text in UTF-8, got the byte 0xf6.*data\.encoding=cp1252"
    ):
        chosen(path)
    assert chosen(path, encoding="cp1252").values[:, 0].tolist() == [1.5, 2.5, 4]


@pytest.mark.parametrize("text", ['a,b\n1,"2\n3,4\n', 'a,b\n1,"2"x\n3,4\n'])
def test_a_quote_that_is_not_closed_swallows_nothing(tmp_path, text):
    with pytest.raises(ValueError, match="is a quote not closed"):
        chosen(write(tmp_path / "t.csv", text))


@pytest.mark.parametrize(
    "field", ["1_000", "１２", "0x10", "1e", "1 2", "1.2.3", "--1", "+", "1d5"]
)
def test_only_numbers_are_numbers(tmp_path, field):
    path = write(tmp_path / "t.csv", f"a,b\n1,2\n3,4\n{field},5\n")
    assert pd.read_csv(path)["a"].dtype == object or pd.read_csv(path)["a"].dtype == "str"
    with pytest.raises(ValueError, match=r"column 'a' must hold numbers, got text"):
        chosen(path)


def test_packed_files_have_a_limit_and_are_streamed(tmp_path):
    path = tmp_path / "big.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(4):
            file.write(b"1.5,2.5\n" * 125_000)
    with pytest.raises(ValueError, match=r"at most 0.002 GB, got more; write data\.unpacked_gb"):
        chosen(path, unpacked_gb=0.002)
    assert chosen(path).reading.rows == 500_000
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(66):
            file.write(b"1" * (1 << 20))
    with pytest.raises(ValueError, match="lines of at most 67,108,864 characters"):
        chosen(path)


def test_a_reading_goes_through_a_file_and_back(tmp_path):
    frame = measurements(60)
    frame.to_csv(tmp_path / "m.csv")
    reading = chosen(tmp_path / "m.csv", categories=("station",), dates=("day",)).reading
    assert TableReading.from_plain(json.loads(json.dumps(reading.tree()))) == reading


FRAMES = {
    "nullable": (pd.array([1, None, 3, 4], dtype="Int64"), [1, np.nan, 3, 4]),
    "nullable float": (pd.array([1.5, None, 3, 4], dtype="Float64"), [1.5, np.nan, 3, 4]),
    "float32": (np.array([1.5, 2, 3, 4], dtype="f4"), [1.5, 2, 3, 4]),
    "int8": (np.array([1, 2, 3, 4], dtype="i1"), [1, 2, 3, 4]),
    "objects": (np.array([1, 2.5, None, 4], dtype=object), [1, 2.5, np.nan, 4]),
    "numbers as text": (["1.5", "2", "3", "4"], [1.5, 2, 3, 4]),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_of_each_type_of_numbers(kind):
    values, expected = FRAMES[kind]
    frame = pd.DataFrame({"x": values, "y": [1.0, 2, 4, 3]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = Dataset.of(frame, split=(1, 0, 0), missing="median")
    wanted = pd.Series(expected).fillna(pd.Series(expected).median())
    np.testing.assert_array_equal(data.train[:, 0], wanted)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["a", "b", "c"], "text such as 'a'"),
        (pd.Categorical(["a", "b", "a"]), "text such as 'a'"),
        ([True, False, True], "true or false; categories=('x',) takes it in"),
        (pd.array([True, None, False], dtype="boolean"), "true or false"),
        (pd.to_datetime(["2024-01-01"] * 3), "dates; dates=('x',) takes it in"),
        ([datetime.date(2024, 1, 1)] * 3, "dates"),
        ([None, None, None], "empty"),
    ],
)
def test_columns_of_a_frame_that_are_left_out(values, reason):
    frame = pd.DataFrame({"x": values, "y": [1.0, 2, 4]})
    with pytest.warns(UserWarning, match="left out: x"):
        data = Dataset.of(frame, split=(1, 0, 0))
    assert data.columns == ("y",)
    assert dict(data.reading.left_out)["x"].startswith(reason)


def test_problems_of_a_frame_name_arguments_of_python():
    frame = pd.DataFrame({"x": [1.0, None, 3, 4], "y": [1, np.inf, 2, 3], "z": [1, 2, "n/k", 4]})
    frame["id"] = np.arange(4, dtype=np.uint64) + 2**63
    with pytest.raises(ValueError) as info:
        Dataset.of(frame, missing="refuse")
    text = str(info.value)
    assert "the frame has 4 problems" in text
    assert "data." not in text
    for words in (
        "missing='drop'",
        "frame.drop(columns=['y'])",
        "got inf in row 1",
        "'n/k' in row 2",
    ):
        assert words in text, words
    assert "column 'id' must hold numbers that float64 can tell apart" in text


def test_labels_follow_the_rows_of_a_frame():
    frame = pd.DataFrame({"x": [1.0, None, 3, 4], "y": [1.0, 2, 2, 3]})
    with pytest.warns(UserWarning, match="1 row with gaps left out"):
        data = Dataset.of(frame, ["a", "b", "c", "a"], split=(1, 0, 0))
    assert [data.class_names[i] for i in data.train_labels] == ["a", "c", "a"]
