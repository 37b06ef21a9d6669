"""The collapse of an autoencoder is told from its beginning, when no variable is in use yet."""

import pytest
from typer.testing import CliRunner

from boltzwalk.cli import app
from boltzwalk.diagnostics.findings import latent_findings


def rows(*active):
    return [{"update": 10.0 * i, "active": float(a)} for i, a in enumerate(active, 1)]


@pytest.mark.parametrize(
    ("active", "text"),
    [
        ((0, 0, 0, 0, 0, 0, 3, 5), "4 in use"),
        ((0, 0, 9, 9, 9, 9, 0, 0), "none in use: collapsed"),
        ((0, 7), "7 in use"),
        ((4, 4, 4, 4, 0, 4, 4, 4, 4, 0, 4, 4), "4 in use"),
    ],
)
def test_the_last_quarter_counts(active, text):
    (result,) = latent_findings(rows(*active))
    assert (result.name, result.text) == ("latent variables", text)
    assert ("Lower method.gamma" in result.meaning) == ("collapsed" in text)


def test_runs_without_codes_say_nothing():
    assert latent_findings([]) == []
    assert latent_findings([{"update": 10.0, "energy_gap": 0.0}]) == []


@pytest.mark.slow
def test_a_run_that_collapses_says_so(tmp_path):
    """At ten times the weight that was published for large images the codes of digits die."""
    words = "train vae_teaching_digits gamma=20 updates=150 method.steps=2 threads=1 --quiet"
    done = CliRunner().invoke(app, [*words.split(), "--name", "c", "--runs", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "none in use: collapsed" in done.output
    assert "none in use: collapsed" in (tmp_path / "c" / "report.html").read_text()
