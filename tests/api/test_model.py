"""`Model`: everything it says is in the units of the data, and what it cannot say is refused."""

import math

import pytest
import torch

import boltzwalk as bw


@pytest.fixture
def table():
    """Rows whose columns have other units: means 100 and -3, deviations 20 and 0.1."""
    z = torch.randn(200, 2, generator=torch.Generator().manual_seed(1))
    return z * torch.tensor([20.0, 0.1]) + torch.tensor([100.0, -3.0])


@pytest.fixture
def normal(train, table, toys):
    """A model that is a Gaussian with known moments, of whitened data."""
    data = bw.Dataset.of(table, whitening="standard")
    return train(toys.Normal(), data, updates=1, optimizer=bw.settings.Adam(1e-6))


def moments(model):
    """Mean and deviation of the Gaussian, in the units of the data."""
    data, module = model.data, model.module
    mean = module.mean.detach() * data.scale + data.shift
    return mean, module.log_std.detach().exp() * data.scale


def test_the_energy_of_data_units_is_that_of_model_units(normal, table):
    x = normal.data.from_original(table)
    expected = normal.module(x).detach()
    torch.testing.assert_close(normal.energy(table), expected)
    torch.testing.assert_close(normal.energy(table.double().numpy()), expected)
    assert normal.energy(table[:0]).shape == (0,)


def test_the_density_of_a_gaussian_has_its_volume(normal, table):
    mean, std = moments(normal)
    expected = torch.distributions.Normal(mean, std).log_prob(table).sum(1)
    assert not normal.log_z().refusal
    assert normal.log_z().half_width == 0
    torch.testing.assert_close(normal.log_prob(table), expected, rtol=1e-4, atol=1e-3)


def test_a_network_that_starts_at_zero_is_its_reference(train, rows):
    energy = bw.energies.NetworkEnergy(reference_scale=1.0, zero_start=True)
    frozen = bw.settings.SGD(learning_rate=1e-12)
    method = bw.methods.Contrastive(kernel=bw.kernels.MALA(0.1), steps=5)
    model = train(energy, rows, method, updates=1, optimizer=frozen)
    torch.testing.assert_close(model.energy(rows), rows.square().sum(1) / 2, rtol=1e-4, atol=1e-4)


def test_the_density_of_a_flow_is_normalised(train, table):
    data = bw.Dataset.of(table, whitening="standard")
    model = train(bw.bases.FlowEnergy(), data, bw.methods.MaximumLikelihood(), updates=1)
    first, second = torch.meshgrid(
        torch.linspace(-220, 420, 401), torch.linspace(-4.6, -1.4, 401), indexing="ij"
    )
    grid = torch.stack([first.flatten(), second.flatten()], 1)
    cell = (640 / 400) * (3.2 / 400)
    total = model.log_prob(grid).double().logsumexp(0) + math.log(cell)
    assert float(total) == pytest.approx(0, abs=0.01)


def test_samples_are_in_the_units_of_the_data(normal):
    x = normal.sample(500, steps=300)
    assert x.shape == (500, 2)
    mean, std = x.mean(0), x.std(0)
    assert 60 < float(mean[0]) < 140
    assert -3.2 < float(mean[1]) < -2.8
    assert 5 < float(std[0]) < 40
    assert torch.equal(normal.sample(5, seed=3), normal.sample(5, seed=3))
    assert not torch.equal(normal.sample(5, seed=3), normal.sample(5, seed=4))


def test_a_score_is_the_share_of_held_out_rows_with_less_energy(normal, table):
    held_out, _ = normal.data.held_out()
    usual = normal.energy(normal.data.to_original(held_out)).double()
    score = normal.score(table[:50], false_alarm=0.1)
    energy = normal.energy(table[:50]).double()
    torch.testing.assert_close(score.energy, energy)
    expected = (usual[None] < energy[:, None]).double().mean(1)
    assert (score.percentile.cpu() - expected).abs().max() <= 1 / len(usual) + 1e-9
    assert torch.equal(score.anomaly, energy > score.threshold)
    far = normal.score(table[:1] + 1e4)
    assert bool(far.anomaly)
    with pytest.raises(ValueError, match="false"):
        normal.score(table, false_alarm=0.0)


@pytest.mark.parametrize(
    "rows",
    [torch.zeros(2), torch.zeros(5, 3), torch.zeros(5), torch.zeros(1, 5, 2), torch.zeros(())],
    ids=lambda rows: str(tuple(rows.shape)),
)
def test_rows_of_another_shape_are_refused(normal, rows):
    for function in (normal.energy, normal.log_prob, normal.score):
        with pytest.raises(ValueError, match=r"rows must have shape \(N, 2\), got"):
            function(rows)


def test_rows_that_are_not_finite_are_refused(normal, table):
    table[3, 1] = torch.nan
    for function in (normal.energy, normal.log_prob, normal.score):
        with pytest.raises(ValueError, match=r"must be finite, got nan or infinity in row 3"):
            function(table)


def test_descent_has_no_density(train, rows, plain_net):
    method = bw.methods.Contrastive(kernel=bw.kernels.Descent(step_size=0.05), steps=2)
    model = train(plain_net, rows, method)
    assert "noiseless descent" in model.log_z().refusal
    assert "noiseless descent" in str(model.log_z())
    with pytest.raises(ValueError, match=r"must have a log Z, got none: .*descent"):
        model.log_prob(rows)


@pytest.fixture
def of_classes(train, rows):
    data = bw.Dataset.of(rows, ["left" if x < 0 else "right" for x in rows[:, 0]])
    method = bw.methods.Cooperative(condition=bw.methods.ClassConditional())
    return train(bw.energies.NetworkEnergy(), data, method)


def test_a_model_of_classes_samples_them_by_name_and_compares_no_rows(of_classes, rows):
    by_name, by_number = (of_classes.sample(6, label=label) for label in ("right", "1"))
    assert by_name.shape == (6, 2)
    assert torch.equal(by_name, by_number)
    assert of_classes.sample(6).shape == (6, 2)
    with pytest.raises(ValueError, match="middle"):
        of_classes.sample(6, label="middle")
    for function in (of_classes.energy, of_classes.score):
        with pytest.raises(ValueError, match=r"must have a model of p.x., got the condition"):
            function(rows)
    assert of_classes.log_z().refusal
    with pytest.raises(ValueError, match="log Z"):
        of_classes.log_prob(rows)


def test_a_model_of_rows_has_no_class_to_ask_for(normal):
    with pytest.raises(ValueError, match="train it with condition=ClassConditional"):
        normal.sample(3, label="left")


def test_completions_keep_observed_entries_and_differ_between_seeds(normal, table):
    rows = table[:6].clone()
    rows[:3, 0], rows[3:, 1] = torch.nan, torch.nan
    hidden = rows.isnan()
    one, same, other = (bw.complete(normal, rows, n=3, steps=20, seed=s) for s in (0, 0, 1))
    assert one.shape == (6, 3, 2)
    assert one.isfinite().all()
    for k in range(3):
        assert torch.equal(one[:, k][~hidden], rows[~hidden])
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one[:, 0], one[:, 1])


def test_rows_to_complete_need_the_shape_of_the_data(normal):
    with pytest.raises(ValueError, match=r"shape \(N, 2\), got \(4, 3\)"):
        bw.complete(normal, torch.tensor([[0.0, 1.0, torch.nan]]).repeat(4, 1))
    with pytest.raises(ValueError, match="got row 0 with everything hidden"):
        bw.complete(normal, torch.full((4, 2), torch.nan))


def test_an_evaluation_prints_its_sections(normal):
    judged = bw.evaluate(normal, sections=("training", "quality"), samples=100)
    assert set(judged.sections) == {"training", "quality"}
    text = str(judged)
    assert "training\n  " in text
    assert "quality\n  " in text
    assert judged["quality"] is judged.sections["quality"]
    with pytest.raises(ValueError, match="nonsense"):
        bw.evaluate(normal, sections=("nonsense",))
    with pytest.raises(ValueError, match="must be those that the model was trained on, got others"):
        bw.evaluate(normal, torch.zeros(100, 2))


def test_a_report_needs_a_folder(normal):
    with pytest.raises(ValueError, match=r"needs a run folder, got a model without one; .*out="):
        bw.report(normal)


@pytest.mark.pictures
def test_a_report_goes_where_it_is_told_to(train, rows, plain_net, tmp_path):
    model = train(plain_net, rows, out=tmp_path / "run")
    assert bw.report(model, tmp_path / "page.html") == tmp_path / "page.html"
    page = (tmp_path / "page.html").read_text()
    assert "<html" in page
    assert 'src="http' not in page


def test_the_text_of_a_model_names_its_parts(normal):
    text = repr(normal)
    for part in ("Contrastive", "updates=1", "event_shape=(2,)"):
        assert part in text
