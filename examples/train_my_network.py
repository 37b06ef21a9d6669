"""Trains a user's network on rows in memory: run it again and it goes on where it was stopped.

python examples/train_my_network.py runs/mine 400
"""

import sys
from pathlib import Path

import torch
from my_models import MyNet, two_bananas

import boltzwalk as bw


def main(folder: str = "runs/mine", updates: int = 400) -> None:
    """Trains, samples, judges and reports."""
    torch.manual_seed(0)
    data = bw.Dataset.of(two_bananas())
    method = bw.methods.Contrastive(
        start=bw.methods.ReplayStart(size=1000, noise=bw.methods.NoiseStart("gaussian", 2.0)),
        kernel=bw.kernels.MALA(step_size=0.02),
        steps=10,
    )
    model = bw.train(MyNet(), data, method, updates=updates, out=folder)
    x = model.sample(5)
    print(x, model.energy(x), model.log_z(), sep="\n")
    print(bw.evaluate(model, sections=("training", "quality"), samples=1000))
    print(bw.report(model))
    again = bw.load(Path(folder), energy=MyNet())
    assert torch.equal(again.energy(x), model.energy(x))


if __name__ == "__main__":
    main(*sys.argv[1:2], *(int(word) for word in sys.argv[2:3]))
