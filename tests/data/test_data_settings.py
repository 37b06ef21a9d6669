import dataclasses
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pydantic
import pytest
import torch

import boltzwalk.data
from boltzwalk.data import Cifar10, Digits, FashionMnist, Images, Mnist, Modes, Table, Toy

SETTINGS = [
    Cifar10(layout="jpeg", classes=(1, 2)),
    Digits(classes=(2, 3, 6), proportions=(4.0, 2.0, 1.0)),
    FashionMnist(root="/sets", validation=0.0),
    Images("photos", size=32, channels=1),
    Mnist(pad=2, dequantise=True),
    Modes(dim=3, centres=(-1.5, 2.0), proportions=(1.0, 4.0), rows=500, seed=7),
    Table("wine.csv", drop=("quality",), whitening="pca", header=True),
    Toy("two_moons", n=500),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: type(s).__name__)
def test_fields_are_the_command_line(settings):
    """Pydantic takes the fields back from plain values, and from text as one types it."""
    adapter = pydantic.TypeAdapter(type(settings))
    fields = dataclasses.asdict(settings)
    assert adapter.validate_python(fields) == settings
    typed = {
        name: [str(v) for v in value] if isinstance(value, tuple) else value
        if value is None else str(value)
        for name, value in fields.items()
    }  # fmt: skip
    typed = {k: int(v) if k == "channels" and v else v for k, v in typed.items()}
    assert adapter.validate_python(typed) == settings
    assert adapter.validate_json(adapter.dump_json(settings)) == settings
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.split_seed = 3


def test_pydantic_passes_our_errors_on():
    with pytest.raises(pydantic.ValidationError, match="choose from 0 "):
        pydantic.TypeAdapter(Digits).validate_python({"classes": [12]})


def test_loading_is_float32_whatever_the_default(tmp_path):
    (tmp_path / "t.csv").write_text("1,2\n3,5\n4,4\n6,9\n")
    torch.set_default_dtype(torch.float64)
    try:
        table = Table(str(tmp_path / "t.csv"), split=(2, 1, 1), dequantise=True, decimal=".")
        for settings in (Digits(dequantise=True), Toy(n=100), Modes(rows=8), table):
            data = settings.load()
            batch = data.batch(2, torch.Generator())
            units = (data.shift, data.scale, data.to_original(batch))
            if settings is table:  # which keeps the digits of its columns
                assert {x.dtype for x in units} == {torch.float64}
                units = ()
            for x in (data.train, data.test, batch, *units):
                assert x.dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


def test_importing_is_cheap():
    heavy = "('sklearn', 'PIL', 'scipy', 'matplotlib', 'pydantic')"
    code = f"import sys, boltzwalk.data; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_every_module_says_what_it_offers_in_order():
    for info in pkgutil.iter_modules(boltzwalk.data.__path__):
        module = importlib.import_module(f"boltzwalk.data.{info.name}")
        assert module.__all__ == sorted(module.__all__), info.name
        for name in module.__all__:
            offered = getattr(module, name)
            if inspect.isclass(offered) or inspect.isfunction(offered):
                assert offered.__doc__, name
        assert module.__doc__
