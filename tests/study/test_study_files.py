"""Study files and proposed points as people and accidents leave them: read plainly or refused."""

import json

import pytest
from study_cases import TINY, tiny

from boltzwalk.study.plan import planned_trials
from boltzwalk.study.propose import damage_note, proposed_trials, read_proposals
from boltzwalk.study.spec import study_to_yaml
from boltzwalk.study.spec_file import read_study, study_from_yaml

AXES = "{recipe: toy, blocks: {a: {axes: %s}}}"


def levels(text):
    return [level.name for level in study_from_yaml(AXES % text).blocks[0].axes[0].levels]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{steps: [5, 010, 2:00, 6_4, 0x10]}", ["5", "010", "2:00", "6_4", "0x10"]),
        ("{steps: [1_000, 2_000_000]}", ["1000", "2000000"]),
        ("{learning_rate: [1e-4, 0.001, 1.5e+3]}", ["1e-4", "0.001", "1500.0"]),
        ("{x: [yes, no, on, off, true, False, ~]}",
         ["yes", "no", "on", "off", "True", "False", "null"]),
        ("{x: ['true', '010', 2024-01-02]}", ["true", "010", "2024-01-02"]),
        ("{noise: {on: [], off: [a=1], yes: [a=2], 010: [a=3]}}", ["on", "off", "yes", "010"]),
        ("{w: [[8, 8], [16]]}", ["[8, 8]", "[16]"]),
    ],
)  # fmt: skip
def test_a_level_is_as_it_is_written(text, names):
    assert levels(text) == names
    study = study_from_yaml(AXES % text)
    assert study_from_yaml(study_to_yaml(study)) == study


def test_odd_numbers_of_levels_are_refused_by_the_settings():
    for word in ("010", "2:00", "6_4", "0x10"):
        with pytest.raises(ValueError, match=rf"decimal or scientific.*{word}|{word}"):
            planned_trials(study_from_yaml(AXES % f"{{method.steps: [5, {word}]}}"))


@pytest.mark.parametrize("key", ["budget", "samples", "seeds", "minutes"])
@pytest.mark.parametrize("word", ["010", "2:00", "6_4", "0x10", "1__0"])
def test_odd_numbers_of_a_study_are_refused(key, word):
    value = f"[{word}]" if key == "seeds" else word
    with pytest.raises(ValueError, match=rf"{key}.*{word}"):
        study_from_yaml(f"{{recipe: toy, {key}: {value}, blocks: {{a: {{axes: {{x: [1]}}}}}}}}")


def test_groups_of_digits_are_a_number():
    text = "{recipe: toy, budget: 2_000_000, seeds: [1_000], blocks: {a: {axes: {x: [1]}}}}"
    study = study_from_yaml(text)
    assert (study.budget, study.seeds) == (2_000_000, (1000,))


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ("low: 010, high: 20", "low must be a decimal or scientific number, got '010'"),
        ("low: 1, high: 2:00", "high must be a decimal or scientific number, got '2:00'"),
        ("low: true, high: 2", "low must be a decimal or scientific number, got True"),
        ("low: 1, high: 2, log: maybe", "log must be true or false, got 'maybe'"),
    ],
)
def test_odd_ends_of_a_range_are_refused(ends, message):
    with pytest.raises(ValueError, match=message):
        study_from_yaml(AXES % f"{{x: {{{ends}}}}}")


BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"- a\n- b",
        b"a: [",
        b"\xff\xfe\x00",
        b"!!python/object/apply:os.system [x]",
        BOMB.encode(),
        b"&a [*a]",
        b"[" * 3000,
        b"{a: " * 3000,
        b"x: " + b"y" * 2_000_000,
        b"recipe: toy\nblocks: {a: {axes: [1, 2]}}",
        b"recipe: toy\nblocks: {a: {axes: {x: {y: 1}}}}",
        b"recipe: toy\nblocks: {a: {axes: {x: 3}}}",
        b"recipe: toy\nblocks: [a]",
        b"recipe: toy\nblocks: {a: {axes: {x: {1: {2: 3}}}}}",
        b"recipe: toy\nblocks: {a: {axes: {yes: [1], on: [2]}}}",
        b"recipe: toy\nblocks: {yes: {axes: {x: [1]}}, on: {axes: {x: [1]}}}",
        b"recipe: toy\nblocks: {? [a, b] : {axes: {x: [1]}}}",
    ],
)
def test_a_damaged_file_is_one_message(tmp_path, content):
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"s\.yaml") as caught:
        read_study(path)
    assert len(str(caught.value)) < 1000


GOOD = {"number": 0, "values": {"method.steps": 3, "learning_rate": "slow"}}
AXES_OF = "{method.steps: {low: 2, high: 4}, learning_rate: {slow: [learning_rate=1e-5]}}"


@pytest.fixture
def proposed(tmp_path):
    (tmp_path / "proposed").mkdir()
    text = (
        f"{{recipe: toy, seeds: [0], blocks: {{b: {{axes: {AXES_OF}, sampler: tpe, trials: 9}}}}}}"
    )
    path = tmp_path / "proposed" / "b-00000.json"
    path.write_text(json.dumps(GOOD))
    return study_from_yaml(text), tmp_path


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b"1" * 5000,
        json.dumps(GOOD)[:-9].encode(),
        json.dumps({**GOOD, "number": "0"}).encode(),
        json.dumps({**GOOD, "number": True}).encode(),
        json.dumps({"number": 0}).encode(),
        json.dumps({**GOOD, "values": [3, "slow"]}).encode(),
        json.dumps({**GOOD, "values": {"method.steps": 3}}).encode(),
        json.dumps({**GOOD, "values": {**GOOD["values"], "method.steps": 30}}).encode(),
        json.dumps({**GOOD, "values": {**GOOD["values"], "method.steps": "3"}}).encode(),
        json.dumps({**GOOD, "values": {**GOOD["values"], "method.steps": None}}).encode(),
        json.dumps({**GOOD, "values": {**GOOD["values"], "method.steps": [3]}}).encode(),
        json.dumps({**GOOD, "values": {**GOOD["values"], "learning_rate": {"a": 1}}}).encode(),
        b'{"number": 0, "values": {"method.steps": NaN, "learning_rate": "slow"}}',
    ],
)
def test_a_damaged_proposal_is_left_out_and_named(proposed, content):
    study, folder = proposed
    whole = [trial.name for trial in proposed_trials(study, folder)]
    assert len(whole) == 1
    assert damage_note(study, folder) == ""
    (folder / "proposed" / "b-00001.json").write_bytes(content)
    assert [trial.name for trial in proposed_trials(study, folder)] == whole
    assert list(read_proposals(folder, study.blocks[0]).points) == [
        folder / "proposed" / "b-00000.json"
    ]
    note = damage_note(study, folder)
    assert note.startswith("1 damaged of 2 proposed points are left out (b-00001.json: ")
    assert "delete the files" in note


def test_values_of_a_proposal_are_taken_by_name(proposed):
    study, folder = proposed
    before = [trial.levels for trial in proposed_trials(study, folder)]
    turned = {"values": dict(reversed(GOOD["values"].items())), "number": 0}
    (folder / "proposed" / "b-00000.json").write_text(json.dumps(turned))
    assert [trial.levels for trial in proposed_trials(study, folder)] == before


def test_the_tiny_study_is_unchanged():
    assert study_from_yaml(study_to_yaml(tiny(TINY))) == tiny(TINY)
