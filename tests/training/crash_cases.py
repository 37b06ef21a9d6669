"""Tiny runs of every method, and all that two of them must have in common."""

from dataclasses import replace

from boltzwalk.bases import Flow, FlowEnergy, Generator, Vae
from boltzwalk.data import Toy
from boltzwalk.energies import NetworkEnergy
from boltzwalk.kernels import ULA
from boltzwalk.methods import (
    Contrastive,
    Cooperative,
    DataStart,
    ExactStart,
    Generalized,
    Jarzynski,
    MaximumLikelihood,
    NoiseStart,
    ReplayStart,
    Variational,
)
from boltzwalk.networks import DenseEncoder, DenseGenerator, Multilayer
from boltzwalk.settings.optimizers import SGD, Adam, Schedule
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.smc.witness import Witness
from boltzwalk.training import folder as run_folder
from boltzwalk.training.execute import execute
from boltzwalk.training.folder import read_trace

TINY = resolve_auto(
    Settings(
        data=Toy("eight_gaussians", n=200),
        energy=NetworkEnergy(Multilayer((8,))),
        method=Contrastive(ReplayStart(size=40), ULA(0.1), steps=2),
        optimizer=Adam(1e-3),
        schedule=Schedule(warmup=2, anneal=0.5),
        updates=4,
        batch=16,
        average=0.9,
        threads=1,
        device="cpu",
        output=Output(log_every=2, save_every=2, keep=1, pictures=False, events=False),
    )
)
CHANGES = {
    "replay": {},
    "contrastive divergence": {"method": Contrastive(DataStart(), ULA(0.1), steps=2)},
    "short-run": {
        "method": Contrastive(NoiseStart(), ULA(0.1), steps=2),
        "optimizer": SGD(1e-2, momentum=0.9),
        "average": 0.0,
    },
    "jarzynski": {
        "method": Jarzynski(ExactStart(40), ULA(0.05), steps=1, threshold=0.95),
        "energy": NetworkEnergy(Multilayer((8,)), reference_fit=0.5, zero_start=True),
        "witness": Witness(16, steps=1, threshold=0.99),
    },
    "cooperative": {
        "method": Cooperative(
            Generator(DenseGenerator((6,)), 2), ULA(0.1), steps=2, walkers=16, latent_steps=1
        ),
    },
    "variational": {
        "method": Variational(
            Vae(DenseEncoder((6,)), DenseGenerator((6,)), 2), ULA(0.1), steps=2, walkers=16
        ),
    },
    "generalized": {
        "method": Generalized(
            Generator(DenseGenerator((6,)), 2),
            energy_steps=2,
            first_energy_steps=1,
            initial_samples=20,
            sample_steps=2,
            kernel=ULA(0.05),
        ),
    },
    "flow": {
        "energy": FlowEnergy(Flow(widths=(8,))),
        "method": MaximumLikelihood(),
        "average": 0.0,
        "output": replace(TINY.output, best=True),
    },
}
METHODS = {name: replace(TINY, **change) for name, change in CHANGES.items()}


def finish(settings, folder, dataset=None, **options):
    """Trains to the end, as the same command does again."""
    return [done.update for done in execute(settings, folder, dataset=dataset, **options)]


def contents(folder):
    """All that must be the same: checkpoints, log, trace, settings and description of the data."""
    names = ("log.jsonl", "settings.yaml", "data.safetensors")
    files = {path.name: path.read_bytes() for path in run_folder.checkpoints(folder)}
    files |= {name: (folder / name).read_bytes() for name in names}
    return files, [repr(values.tolist()) for values in read_trace(folder)]


def leftovers(folder):
    """The temporary files that are left."""
    return [p for p in folder.rglob(".*") if p.name != ".lock"]
