import gzip
import math

import numpy as np
import pytest
import torch

from boltzwalk.data import Table
from boltzwalk.data.dialect import detect_separator
from boltzwalk.data.table_units import cell_widths
from boltzwalk.data.whitening import fit_whitening

NUMBERS = np.array([[1.5, 2, 3], [4, 5.25, -6], [7, 8, 9e2], [-1, 0, 2]])


@pytest.fixture
def write(tmp_path):
    """Writes a file and returns its path."""

    def write(content, name="table.csv"):
        path = tmp_path / name
        content = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return str(path)

    return write


def everything(path, **settings):
    """All values of a table in the order of its rows."""
    data = Table(path, **{"whitening": "none", "split": (1, 0, 0), **settings}).load()
    return data.columns, data.train.numpy()


def text(separator, header="", line="\n"):
    rows = [separator.join(map(str, row)) for row in NUMBERS]
    return line.join([header, *rows] if header else rows) + line


@pytest.mark.parametrize("name", ["t.csv", "t.data.gz"])
@pytest.mark.parametrize("separator", [",", ";", "\t", ", ", "  "])
@pytest.mark.parametrize("header", ["", "a{0}b{0}c", '"a"{0}"b"{0}"c"'])
@pytest.mark.parametrize("line", ["\n", "\r\n", "\n\n"])
def test_text_tables(write, name, separator, header, line):
    if separator == "  " and '"' in header:
        header = ""
    columns, values = everything(write(text(separator, header.format(separator), line), name))
    assert columns == (tuple("abc") if header else ("column0", "column1", "column2"))
    np.testing.assert_array_equal(values, NUMBERS.astype(np.float32))


def test_byte_order_mark_and_quoted_separator(write):
    path = write(b"\xef\xbb\xbf" + b'"a, in m",b\n1,2\n3,4\n')
    assert everything(path)[0] == ("a, in m", "b")


@pytest.mark.parametrize("kind", ["npy", "npz"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "bool"])
def test_arrays(tmp_path, kind, dtype):
    path, array = tmp_path / f"t.{kind}", NUMBERS.astype(dtype)
    np.save(path, array) if kind == "npy" else np.savez(path, anything=array)
    columns, values = everything(str(path))
    assert columns == ("column0", "column1", "column2")
    np.testing.assert_array_equal(values, array.astype(np.float32))
    columns, values = everything(str(path), columns=("column2", "column0"))
    np.testing.assert_array_equal(values, array[:, [2, 0]].astype(np.float32))


def test_one_of_several_arrays(tmp_path):
    path = tmp_path / "t.npz"
    np.savez(path, x=NUMBERS, y=NUMBERS * 2)
    np.testing.assert_array_equal(everything(str(path), key="y")[1], (NUMBERS * 2).astype("f4"))
    for key in (None, "z"):
        with pytest.raises(ValueError, match=rf"which are x, y, got {key!r}; write data.key="):
            Table(str(path), key=key).load()


def test_columns_are_chosen_in_the_order_asked_for(write):
    path = write("a,b,name,c\n1,2,x,3\n4,5,y,6\n")
    columns, values = everything(path, columns=("c", "a"))
    assert (columns, values.tolist()) == (("c", "a"), [[3, 1], [6, 4]])
    columns, values = everything(path, drop=("name", "a"))
    assert (columns, values.tolist()) == (("b", "c"), [[2, 3], [5, 6]])


def test_what_was_sniffed_can_be_said(write):
    path = write("1;2\n3;4\n5;6\n")
    assert everything(path, header=True)[0] == ("1", "2")
    with pytest.raises(ValueError, match=r"column of numbers, got none .*such as '3;4'.*separator"):
        everything(path, separator=",")
    path = write("name,2019\n1,2\n3,4\n")
    assert everything(path, header=True)[1].tolist() == [[1, 2], [3, 4]]


def test_the_separator_is_the_one_that_cuts_evenly():
    assert detect_separator(["a;b;c", "1,5;2,5;3,5", "1;2;3"]) == ";"
    assert detect_separator(["1,2,3", "4,5,6", "7,8", "9,1,2"]) == ","
    assert detect_separator(["1 2", "3 4"]) == "space"
    assert detect_separator(["a, b, c;d", "1;2", "3;4"]) == ";"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "at least one row of numbers, got 0 names"),
        ("a,b\n", "at least one row of numbers, got 2 names"),
        ("a,b\n1,2\n", "at least two rows, got 1"),
        ("a,b\n1,2\n3\n5,6\n", "must have 2 fields as the first has, got 1 in line 3"),
        ("a,b\n1,2\n3,-inf\n5,6\n", "column 'b' must hold finite numbers, got -inf in line 3"),
        ("a,b\n\n1,2\n\n3,x\n5,6\n", "column 'b' must hold numbers, got text, 'x' in line 5"),
        ("a,b\n1,2\n3,4e39\n5,6\n", "column 'b' of .* got 4e\\+39 in row 1"),
        ("a,a\n1,2\n3,4\n", "different names, got 'a' more than once"),
        (b"a,b\n1,\xff\n", "text in UTF-8, got the byte 0xff at position 6"),
        (b"\x1f\x8b\x08rubbish", "complete gzip file"),
        ('a,b\n1,"' + "9" * 200_000 + '"\n', "cannot be read .field larger than field limit"),
    ],
)
def test_bad_tables_are_named_with_the_place(write, content, message):
    path = write(content)
    with pytest.raises(ValueError, match=message) as info:
        Table(path, whitening="none", split=(1, 0, 0)).load()
    assert path in str(info.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1, "x"], [2, None]], dtype=object), "not object"),
        (np.zeros(3), r"shape \(rows, columns\), got float64 of shape \(3,\)"),
        (np.zeros((3, 2), complex), "got complex128"),
        (np.zeros((0, 2)), r"shape \(0, 2\)"),
        (np.array([[1, 2], [3, np.nan]]), r"1 empty fields \(column1 1\): data.missing=drop"),
        (np.array([[np.inf, 2], [3, 4]]), r"column 'column0' .* got inf in row 0"),
    ],
)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_bad_arrays(tmp_path, kind, array, message):
    path = tmp_path / f"t.{kind}"
    np.save(path, array) if kind == "npy" else np.savez(path, x=array)
    with pytest.raises(ValueError, match=message) as info:
        Table(str(path)).load()
    assert str(path) in str(info.value)


@pytest.mark.parametrize("name", ["t.npy", "t.npz"])
def test_files_that_are_no_arrays(write, name):
    for content in (b"", b"a,b\n1,2\n", b"PK\x03\x04rubbish", b"\x93NUMPY\x01\x00rubbish"):
        with pytest.raises(ValueError, match=r"complete \.npy or \.npz file of numbers"):
            Table(write(content, name)).load()


def test_unknown_columns_get_the_nearest_names(write):
    path = write("alcohol,quality\n1,2\n3,4\n")
    with pytest.raises(ValueError, match=r"got 'qualty'; did you mean quality\?"):
        Table(path, drop=("qualty",)).load()
    with pytest.raises(ValueError, match="at least one column"):
        Table(path, drop=("alcohol", "quality")).load()
    with pytest.raises(ValueError, match="each only once"):
        Table(path, columns=("alcohol", "alcohol")).load()


def test_paths_that_are_no_table(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.csv"):
        Table("no.csv").load()
    with pytest.raises(ValueError, match="got the folder"):
        Table(str(tmp_path)).load()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"whitening": "zca"}, "none, standard or pca, got 'zca'"),
        ({"separator": ":"}, "got ':'"),
        ({"missing": "mean"}, "auto, refuse, drop or median, got 'mean'"),
        ({"decimal": ";"}, "decimal must be auto"),
        ({"decimal": ",", "thousands": ","}, "must differ, got ','"),
        ({"thousands": "x"}, "thousands must be a comma"),
        ({"encoding": "utf8000"}, "got 'utf8000'; write data.encoding=cp1252"),
        ({"unpacked_gb": 0}, "unpacked_gb must be above 0"),
        ({"split": (0, 1, 1)}, r"got \(0, 1, 1\)"),
    ],
)
def test_senseless_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Table("t.csv", **settings)


def correlated(n=400, d=5, seed=0):
    """Columns of very different size, skewed and correlated."""
    rng = np.random.default_rng(seed)
    x = rng.exponential(size=(n, d)) @ rng.normal(size=(d, d))
    return (x + 3) * 10.0 ** np.arange(-4, d - 4)


def load_array(tmp_path, array, **settings):
    np.save(tmp_path / "t.npy", array)
    return Table(str(tmp_path / "t.npy"), **settings).load()


def test_pca_makes_the_training_covariance_the_identity(tmp_path):
    data = load_array(tmp_path, correlated(), whitening="pca", shrinkage=False)
    x = data.train.double()
    assert torch.allclose(x.mean(0), torch.zeros(5).double(), atol=1e-5)
    assert torch.allclose(x.T.cov(correction=0), torch.eye(5).double(), atol=1e-5)
    # Test rows are whitened by the same map: their covariance is near, not equal.
    assert not torch.allclose(data.test.double().T.cov(), torch.eye(5).double(), atol=1e-2)


def test_standard_makes_mean_0_and_variance_1(tmp_path):
    data = load_array(tmp_path, correlated(), whitening="standard")
    x = data.train.double()
    assert torch.allclose(x.mean(0), torch.zeros(5).double(), atol=1e-5)
    assert torch.allclose(x.var(0, correction=0), torch.ones(5).double(), atol=1e-5)
    assert (x.T.corrcoef() - torch.eye(5)).abs().max() > 0.3


@pytest.mark.parametrize("whitening", ["none", "standard", "pca"])
def test_original_units_come_back(tmp_path, whitening):
    array = correlated()
    data = load_array(tmp_path, array, whitening=whitening)
    rows = np.concatenate([data.to_original(x) for x in (data.train, data.validation, data.test)])
    spread = array.std(0)
    order, expected = rows[:, 4].argsort(), array[array[:, 4].argsort()]
    assert (abs(rows[order] - expected) < 1e-4 * spread + 2e-6 * abs(expected)).all()


@pytest.mark.parametrize("whitening", ["standard", "pca"])
def test_statistics_do_not_see_test_or_validation_rows(tmp_path, whitening):
    array = correlated()
    before = load_array(tmp_path, array, whitening=whitening, dequantise=True)
    changed = array.copy()
    marks = load_array(tmp_path, np.arange(400.0)[:, None], whitening="none")
    held_out = torch.cat([marks.validation, marks.test]).flatten().long().numpy()
    changed[held_out] = 1e3 * changed[held_out] ** 2
    after = load_array(tmp_path, changed, whitening=whitening, dequantise=True)
    for name in ("shift", "scale", "quantum", "train"):
        assert torch.equal(getattr(before, name), getattr(after, name)), name
    assert not torch.allclose(before.test, after.test)


def test_pca_is_the_same_whatever_the_units(tmp_path):
    array = correlated()
    one = load_array(tmp_path, array, whitening="pca")
    other = load_array(tmp_path, array * np.array([1, 1e3, 1, 1e-5, 7]), whitening="pca")
    assert torch.allclose(one.train, other.train, atol=1e-4)


def test_volume_of_whitening_against_the_covariance(tmp_path):
    data = load_array(tmp_path, correlated(), whitening="pca", shrinkage=False)
    original = data.to_original(data.train).double()
    expected = float(torch.logdet(original.T.cov(correction=0))) / 2
    assert data.log_volume == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("whitening", ["standard", "pca"])
def test_constant_columns_cannot_be_whitened(write, whitening):
    path = write("a,b,c\n1,0.1,5\n2,0.1,5\n4,0.1,5\n")
    with pytest.raises(ValueError, match=r"b, c has one value only.*data.drop=b,c"):
        Table(path, whitening=whitening, split=(1, 0, 0)).load()
    assert len(Table(path, whitening="none", split=(1, 0, 0), dequantise=True).load().train) == 3


def test_columns_that_determine_each_other_cannot_be_pca_whitened(tmp_path):
    array = np.random.default_rng(0).normal(size=(100, 3))
    array = np.column_stack([array, array[:, 0] - 2 * array[:, 2]])
    with pytest.raises(ValueError, match=r"mainly of column[023], column[023], column[023], is"):
        load_array(tmp_path, array, whitening="pca")
    load_array(tmp_path, array, whitening="standard")
    with pytest.raises(ValueError, match="got 3 training rows of 4 columns"):
        load_array(tmp_path, np.random.default_rng(0).normal(size=(3, 4)),
                   whitening="pca", shrinkage=False, split=(1, 0, 0))  # fmt: skip


def test_cell_widths_known_answers():
    x = torch.tensor([[0.1, 5, 7], [0.3, 5, 8], [0.2, 5, 12], [0.7, 5, 9], [0.3, 5, 7]]).double()
    # Distinct values 0.1, 0.2, 0.3, 0.7 have the gaps 0.1, 0.1, 0.4; 7, 8, 9, 12 have 1, 1, 3.
    assert cell_widths(x).tolist() == pytest.approx([0.1, 0, 1])


@pytest.mark.parametrize("whitening", ["none", "standard", "pca"])
def test_noise_stays_in_the_cell_of_its_value(tmp_path, whitening):
    array = np.round(correlated(d=3) / [1e-5, 1e-3, 1e-2]) * [0.5, 1, 2]
    data = load_array(tmp_path, array, whitening=whitening, dequantise=True)
    noisy = data.dequantised(data.train, torch.Generator().manual_seed(0))
    off = data.to_original(noisy).double() - data.to_original(data.train).double()
    widths = torch.tensor([0.5, 1, 2]).double()
    assert torch.allclose(off.abs().amax(0), widths / 2, rtol=0.03)
    assert ((off / widths).T.corrcoef() - torch.eye(3)).abs().max() < 5 / math.sqrt(len(off))


def test_components_come_by_variance_with_their_largest_entry_positive():
    x = torch.from_numpy(correlated())
    _, scale = fit_whitening(x, "pca", tuple("abcde"))
    components = scale / x.std(0, correction=0)
    assert (components.square().sum(1).diff() < 0).all()
    assert (components.gather(1, components.abs().argmax(1, keepdim=True)) > 0).all()


def test_the_real_red_wine(real_data):
    data = Table("UCI/winequality-red.csv.gz", root=real_data, split=(1, 0, 0)).load()
    assert data.train.shape == (1599, 12)
    mean = dict(zip(data.columns, data.shift.tolist(), strict=True))
    # As published with the set: alcohol 10.42, pH 3.31, quality 5.64.
    assert mean["alcohol"] == pytest.approx(10.422983, abs=1e-5)
    assert mean["pH"] == pytest.approx(3.311113, abs=1e-5)
    assert mean["quality"] == pytest.approx(5.636023, abs=1e-5)


def test_the_other_real_tables(real_data):
    white = Table("UCI/winequality-white.csv.gz", real_data, drop=("quality",), whitening="pca")
    assert [len(x) for x in (white.load().train, white.load().test)] == [3918, 490]
    voices = Table("UCI/parkinsons.data.gz", real_data, drop=("name",), split=(1, 0, 0)).load()
    assert voices.train.shape == (195, 23)
    assert voices.shift[voices.columns.index("status")] == pytest.approx(147 / 195)
    updrs = Table("UCI/parkinsons_updrs.data.gz", real_data, whitening="pca", split=(1, 0, 0))
    assert updrs.load().train.shape == (5875, 22)
    physics = Table("UCI/miniboone_first1523.npz", real_data, whitening="pca", split=(1, 0, 0))
    assert physics.load().train.shape == (1523, 43)


def test_a_text_column_of_a_real_table(real_data):
    data = Table("UCI/parkinsons.data.gz", real_data).load()
    assert ("name", "text such as 'phon_R01_S01_1'") in data.reading.left_out
    assert len(data.columns) == 23
