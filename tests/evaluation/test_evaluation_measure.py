"""A number in words and in a file, and what is computed once and not again."""

import json
import math

import pytest

from boltzwalk.evaluation.cache import format_lines, load_or_compute, read_section, write_evaluation
from boltzwalk.evaluation.measure import EvaluationSection, Measure, from_json, to_json, unavailable

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.914, 0.902, 0.926, "0.914 ± 0.012"),
        (12.3456, 12.1, 12.6, "12.35 ± 0.25"),
        (-3.0, -3.5, -2.5, "-3.00 ± 0.50"),
        (1234.5, 1200.0, 1270.0, "1234 ± 36"),
        (0.81, 0.7, 1.0, "0.81 (0.70 to 1.00)"),
        (100.0, 40.0, 200.0, "100 (40 to 200)"),
        (0.5, 0.5, 0.5, "0.5"),
        (1.0, 0.99, 1.0, "1.000 (0.990 to 1.000)"),
        (0.123456, NAN, NAN, "0.1235"),
        (0.123456, 0.1, NAN, "0.1235"),
        (2.0, -INF, INF, "2"),
        (NAN, NAN, NAN, "nan"),
    ],
)
def test_a_number_has_the_digits_that_its_interval_allows(value, low, high, text):
    assert Measure("m", value, low, high).text == text
    assert Measure("m", value, low, high, "nats").text == f"{text} nats"


def test_a_number_is_held_against_the_floor_and_a_refusal_says_why():
    assert Measure("m", 1.0).meaning == ""
    assert Measure("m", 1.0, protocol="of 5").meaning == "of 5"
    assert Measure("m", 1.0, floor=0.12345).meaning == "training data have 0.123"
    assert Measure("m", 1.0, floor=0.0, protocol="of 5").meaning == "training data have 0; of 5"
    no = unavailable("m", "too few")
    assert (no.text, no.meaning) == ("refused", "too few")
    assert math.isnan(no.value)


PART = EvaluationSection(
    [Measure("a", 1.5, 1.0, 2.0, "nats", "lower", 0.25, "of 5"), unavailable("b", "too few")],
    {"rows": [{"steps": 100, "distance": NAN}], "classes": {}, "of": ("x", 1)},
    "healthy",
    "it holds",
)


def test_a_part_comes_back_from_its_file_with_nan_for_what_is_not_known():
    text = json.dumps(to_json(PART._asdict()), allow_nan=False)
    found = from_json(json.loads(text))
    first, second = found.measures
    assert first == PART.measures[0]
    assert isinstance(first, Measure)
    assert (second.name, second.refusal) == ("b", "too few")
    assert all(math.isnan(v) for v in (second.value, second.low, second.high, second.floor))
    assert found.details == {
        "rows": [{"steps": 100, "distance": None}],
        "classes": {},
        "of": ["x", 1],
    }
    assert found[2:] == ("healthy", "it holds")


@pytest.mark.parametrize("wrong", [INF, -INF, NAN])
def test_what_is_not_finite_is_null_at_any_depth(wrong):
    assert to_json({"a": [(wrong, 1.0)], "b": True, "c": None, "d": "nan"}) == {
        "a": [[None, 1.0]],
        "b": True,
        "c": None,
        "d": "nan",
    }


KEY = {"run": "abc", "outside": ["x.csv"], "seconds": 60.0}


class Maker:
    """Counts how often it is asked."""

    def __init__(self):
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return PART


def same(a, b):
    return json.dumps(to_json(a._asdict())) == json.dumps(to_json(b._asdict()))


def test_what_is_there_is_read_and_the_same_as_what_was_computed(tmp_path):
    path, make = tmp_path / "evaluation" / "quality.json", Maker()
    first = load_or_compute(path, KEY, make)
    second = load_or_compute(path, dict(reversed(KEY.items())), make)
    assert make.asked == 1
    assert first.details == second.details  # null where there was nan, lists for tuples
    assert same(first, PART)
    assert same(second, PART)
    assert json.loads(path.read_text())["seconds"] >= 0


@pytest.mark.parametrize(
    "other", [KEY | {"run": "abd"}, KEY | {"outside": []}, KEY | {"seconds": 61.0}, KEY | {"n": 1}]
)
def test_another_key_is_computed_anew_and_the_first_is_forgotten(tmp_path, other):
    path, make = tmp_path / "quality.json", Maker()
    load_or_compute(path, KEY, make)
    load_or_compute(path, other, make)
    assert make.asked == 2
    assert read_section(path, KEY) is None or other.items() > KEY.items()
    assert read_section(path, other) is not None


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b"\xff\xfe\x00",
        b'{"key": 3}',
        b'{"key": null, "measures": []}',
        json.dumps({"key": KEY}).encode(),
        json.dumps({"key": KEY, "measures": 3, "details": {}, "label": "", "reason": ""}).encode(),
        json.dumps(
            {"key": KEY, "measures": [{"of": 1}], "details": {}, "label": "", "reason": ""}
        ).encode(),
        json.dumps({"key": KEY, "measures": [], "details": {}, "label": ""}).encode(),
    ],
)
@pytest.mark.filterwarnings("ignore:.*quality.json is damaged and left out")
def test_a_damaged_file_is_written_anew(tmp_path, damaged):
    path, make = tmp_path / "quality.json", Maker()
    path.write_bytes(damaged)
    assert read_section(path, KEY) is None
    assert same(load_or_compute(path, KEY, make), PART)
    assert make.asked == 1
    assert same(read_section(path, KEY), PART)


def test_a_file_that_was_cut_short_anywhere_is_not_believed(tmp_path):
    path = tmp_path / "quality.json"
    load_or_compute(path, KEY, Maker())
    whole = path.read_bytes()
    for length in range(0, len(whole) - 2, 7):
        path.write_bytes(whole[:length])
        with pytest.warns(UserWarning, match=r"quality.json is damaged and left out"):
            assert read_section(path, KEY) is None, length


def test_a_part_of_the_key_is_enough_to_recall(tmp_path):
    path = tmp_path / "quality.json"
    assert read_section(path, {}) is None
    load_or_compute(path, KEY, Maker())
    assert read_section(path, {"run": "abc"}) is not None
    assert read_section(path, {"run": "abc", "version": 1}) is None
    path.unlink()
    path.mkdir()
    assert read_section(path, KEY) is None


def test_lines_and_the_file_of_numbers_say_the_same(tmp_path):
    part = PART._replace(
        details={
            "classes": {"mode <1>": {"share": 0.25, "low": 0.2, "high": 0.3, "data": 0.5}},
            "findings": [["gap", "3.1", "it swings"]],
        }
    )
    said = format_lines(part)
    assert [line.split("  ")[0] for line in said] == [
        "a",
        "b",
        "mass of mode <1>",
        "gap",
        "verdict",
    ]
    assert "1.50 ± 0.50 nats" in said[0]
    assert said[1].endswith("too few")
    assert "0.250 ± 0.050" in said[2]
    assert said[2].endswith("the data have 0.5")
    assert said[4].endswith("it holds")
    write_evaluation({"quality": part}, tmp_path / "evaluation.json", {"seed": 3})
    tree = json.loads((tmp_path / "evaluation.json").read_text())
    assert tree["protocol"] == {"seed": 3}
    assert [m["value"] for m in tree["quality"]["measures"]] == [1.5, None]
    assert tree["quality"]["label"] == "healthy"
