"""The uses of a model never claim more than the numbers support."""

from types import SimpleNamespace

import pytest

from boltzwalk.checkpoint import write_atomically
from boltzwalk.diagnostics.verdict import Verdict
from boltzwalk.evaluation.answer import failure_line, uses_of
from boltzwalk.evaluation.measure import EvaluationSection, Measure, unavailable
from boltzwalk.methods import Contrastive
from boltzwalk.methods.condition import NoCondition
from boltzwalk.settings.optimizers import Adam

SAMPLED = '{"update": 200, "samples_finite": 1.0, "sample_distance": 0.03, "sample_floor": 0.01}\n'
HEALTHY = Verdict("healthy", "d 0.1.", 200)
AREA = Measure("AUROC noise, energy", 0.97, 0.95, 0.99)
LIKELIHOOD = EvaluationSection([Measure("test -log p", 4.0, 3.9, 4.1, "nats")], {})
CONVERGENT = EvaluationSection([], {}, "convergent", "settled")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "my runs" / "a b"
    path.mkdir(parents=True)
    write_atomically(path / "log.jsonl", SAMPLED.encode())
    return path


def model(update=200):
    settings = SimpleNamespace(
        method=Contrastive(), optimizer=Adam(1.0), updates=200, data=object(), energy=object()
    )
    method = SimpleNamespace(condition=NoCondition(), latent=False)
    return SimpleNamespace(
        settings=settings, method=method, update=update, temperature=1.0, known_log_z=lambda: None
    )


def answers(folder, training, **sections):
    result = uses_of(model(), folder, training, sections)
    return {use.name: use.answer for use in result.uses}, result


def test_training_alone(folder):
    uses, result = answers(folder, HEALTHY)
    unknown = dict.fromkeys(("scores", "density", "completion"), "unknown")
    assert uses == {"samples": "yes", **unknown}
    assert result.text.endswith(f"Next: boltzwalk evaluate '{folder}'")
    assert "Use this model for samples (distance to the data 0.03, limit 0.16)." in result.text


@pytest.mark.parametrize("label", ["nan", "exploded", "collapsed", "frozen"])
def test_a_failed_run_is_for_nothing(folder, label):
    uses, result = answers(folder, Verdict(label, "because.", 7), likelihood=LIKELIHOOD)
    assert uses == {"anything": "no"}
    name = "method.data_noise=0.1" if label == "collapsed" else "optimizer.learning_rate=0.001"
    assert f"settings.yaml' {name} --runs '{folder.parent}' --name 'a b-2'" in result.text


def test_everything_evaluated_and_good(folder):
    known = {"likelihood": LIKELIHOOD, "long_run": CONVERGENT}
    known["anomalies"] = EvaluationSection([AREA], {})
    uses, result = answers(folder, HEALTHY, **known)
    assert set(uses.values()) == {"yes"}
    assert result.command == f"boltzwalk sample '{folder}' -n 1000"


@pytest.mark.parametrize(
    ("changes", "density"),
    [
        ({"long_run": EvaluationSection([], {}, "undecided", "R-hat")}, "unknown"),
        ({"long_run": EvaluationSection([], {}, "short-run only", "far")}, "no"),
        ({"masses": EvaluationSection([], {}, "samples good, density wrong", "0 / 1")}, "no"),
        ({"likelihood": EvaluationSection([unavailable("test -log p", "rays")], {})}, "no"),
        ({"likelihood": EvaluationSection([], {})}, "unknown"),
    ],
)
def test_density_needs_all_of_its_numbers(folder, changes, density):
    known = {"likelihood": LIKELIHOOD, "long_run": CONVERGENT, **changes}
    assert answers(folder, HEALTHY, **known)[0]["density"] == density


@pytest.mark.parametrize(("low", "expected"), [(0.81, "yes"), (0.79, "no")])
def test_scores_need_noise_apart(folder, low, expected):
    section = EvaluationSection([AREA._replace(low=low)], {})
    assert answers(folder, HEALTHY, anomalies=section)[0]["scores"] == expected


@pytest.mark.parametrize(
    ("label", "samples", "command"),
    [
        ("too short to say", "unknown", "boltzwalk resume '{}' updates=1000"),
        ("samples wrong", "no", "boltzwalk resume '{}' updates=1000"),
        ("overfitted", "unknown", "boltzwalk train '{}/settings.yaml' updates=100 --runs"),
        ("stalled", "no", "boltzwalk train '{}/settings.yaml' method.steps="),
        ("oscillating", "yes", "boltzwalk train '{}/settings.yaml' optimizer.learning_rate=0.001"),
    ],
)
def test_the_next_command_follows_the_verdict(folder, label, samples, command):
    uses, result = answers(folder, Verdict(label, "because.", 200))
    assert uses["samples"] == samples
    assert result.command.startswith(command.format(folder))


def test_rows_in_memory_have_no_command_line(folder):
    made = model()
    made.settings.data = SimpleNamespace(digest="abc")
    result = uses_of(made, folder, Verdict("exploded", "far.", 3), {})
    assert result.command == "boltzwalk.train with optimizer.learning_rate=0.001"


def test_the_first_line_of_a_failed_run():
    assert failure_line(HEALTHY) == ""
    assert failure_line(Verdict("frozen", "x.", 3)) == ""
    line = failure_line(Verdict("nan", "v is inf at update 3.", 3))
    assert line == (
        "FAILED: training gave values that are not finite at update 3: v is inf at update 3."
    )


def test_names_are_listed_as_a_person_does(folder):
    _, result = answers(folder, HEALTHY)
    assert "Not evaluated: scores, density and completion. Next:" in result.text
    assert "Unknown" not in result.text


def test_a_long_reason_is_cut_at_a_clause(folder):
    reason = "the weights of the walkers differ by 12 nats, so that few decide, " * 5
    refused = EvaluationSection([unavailable("test -log p", reason)], {})
    _, result = answers(folder, HEALTHY, likelihood=refused)
    sentence = result.text.split("Do not use it for ")[1].split(".")[0]
    assert sentence.startswith(
        "density (no likelihood: the weights of the walkers differ by 12 nats"
    )
    assert len(sentence) < 120
    assert len(result.text.split(" Next:")[0]) < 300
    full = {use.name: use.reason for use in result.uses}
    assert reason.strip() in f"{full['density']} "
