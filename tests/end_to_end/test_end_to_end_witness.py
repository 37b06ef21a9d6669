"""A witness carries log Z along a training run: it is judged by quadrature, at every update."""

import dataclasses

import pytest

from boltzwalk.kernels import MALA, ULA
from boltzwalk.methods.jarzynski import ExactStart, Jarzynski
from boltzwalk.metrics.quadrature import log_z_in_the_plane
from boltzwalk.recipes.starters import toy
from boltzwalk.smc.witness import Witness
from boltzwalk.training.execute import updates
from boltzwalk.training.run import start

METHODS = {
    "persistent": toy().method,
    "jarzynski": Jarzynski(ExactStart(1000), MALA(0.005), steps=2),
    "jarzynski, mini-batches, ULA": Jarzynski(ExactStart(1000), ULA(0.002), steps=4, walkers=250),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_the_witness_stays_with_quadrature_all_along_training(name):
    """Within 0.1 nat; the energy of a run with a running average is the average."""
    settings = dataclasses.replace(
        toy(),
        method=METHODS[name],
        updates=200,
        average=0.9 if name == "persistent" else 0.0,
        witness=Witness(walkers=16_384),
        threads=1,
        device="cpu",
    )
    run = start(settings)
    assert run.witness is not None
    for done in updates(run):
        if done.update % 40 == 0:
            wide = 3 * run.dataset.train  # the first energies are broader than the data
            log_z = log_z_in_the_plane(run.model().module, wide, points=600)
            assert abs(float(done.info["witness_log_z"]) - log_z) < 0.1
            assert float(done.info["witness_half_width"]) < 0.1
