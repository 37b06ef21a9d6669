"""A described and rebuilt network is the same function, and a description runs no code."""

import copy
import dataclasses
import json
import math
import os
import subprocess
import sys

import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from boltzwalk.bases.generator import Generator, Vae
from boltzwalk.energies import NetworkEnergy
from boltzwalk.energies.learnt_mixture import MixtureEnergy
from boltzwalk.networks.architecture import describe, rebuild
from boltzwalk.networks.convolutional import Convolutional
from boltzwalk.networks.dense import Multilayer
from boltzwalk.networks.non_local import NonLocal
from boltzwalk.networks.residual import Residual


@dataclasses.dataclass(frozen=True)
class Config:
    width: int = 4
    shape: tuple[int, ...] = (2, 3)


def scaled_tanh(x):
    return 0.5 * torch.tanh(x)


class Plain(nn.Module):
    """Attributes of every type that a description holds."""

    power = 2  # a default of the class, which an instance may replace

    def __init__(self, activation=functional.silu):
        super().__init__()
        self.layer = nn.Linear(2, 4, bias=False)
        self.head = None
        self.activation = activation
        self.power = 3
        self.sizes = {"a": (1, [2, (3,)]), 4: None, (5, "b"): -math.inf}
        self.shape = torch.Size([2, 4])
        self.dtype = torch.bfloat16
        self.device = torch.device("cpu")
        self.norm = nn.LayerNorm
        self.config = Config(width=7)
        self.tiny = 1e-300
        self.register_parameter("absent", None)
        self.register_buffer("none", None)
        self.register_buffer("scale", torch.tensor([2.0, 3.0]))
        self.register_buffer("mask", torch.tensor([True, False]), persistent=False)
        self.register_buffer("edge", torch.tensor([math.inf, 0.1]), persistent=False)

    def forward(self, x):
        x = torch.where(self.mask, x, x.minimum(self.edge)) * self.scale
        return self.activation(self.layer(x)).pow(self.power).sum(1)


class Containers(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"map": nn.Linear(2, 2), "act": nn.SiLU()}) for _ in range(2)
        )
        self.shifts = nn.ParameterList([nn.Parameter(torch.randn(2)), nn.Parameter(torch.ones(2))])
        self.named = nn.ParameterDict({"w": nn.Parameter(torch.randn(2))})

    def forward(self, x):
        for block, shift in zip(self.blocks, self.shifts, strict=True):
            x = block["act"](block["map"](x)) + shift * self.named["w"]
        return x.sum(1)


class Shared(nn.Module):
    """One weight under two names, one layer in two places."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.again = self.first
        self.register_buffer("shift", torch.ones(2))
        self.register_buffer("alias", self.shift, persistent=False)

    def forward(self, x):
        return self.again(self.second(self.first(x)) + self.alias).sum(1)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.memory = kind(2, 3, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, x):
        return self.memory(x[:, None])[0].sum((1, 2))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(2, 2, batch_first=True)
        self.block = nn.TransformerEncoderLayer(2, 1, 4, activation=functional.gelu)

    def forward(self, x):
        x = x[:, None]
        return self.block(self.attend(x, x, x)[0]).sum((1, 2))


def in_json(tree):
    return json.loads(json.dumps(tree, allow_nan=False))


def in_yaml(tree):
    return yaml.safe_load(yaml.safe_dump(tree))


def through(network, file=in_json):
    """The network rebuilt from a file, with the values of its state dict."""
    other = rebuild(file(describe(network)))
    other.load_state_dict(network.state_dict())
    return other


def conv_net():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same", padding_mode="circular"),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(0.1),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(4, 2, 2, stride=2),
        nn.GroupNorm(1, 2),
        nn.Upsample(scale_factor=2.0),
        nn.Flatten(),
        nn.Linear(2 * 16 * 16, 1),
    ).eval()


NETWORKS = {
    "twelve_layers": (lambda: nn.Sequential(*(nn.Linear(n, n + 1) for n in range(2, 14))), (2,)),
    "sequential": (lambda: nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 1)), (2,)),
    "plain": (Plain, (2,)),
    "own_function": (lambda: Plain(scaled_tanh), (2,)),
    "builtin_function": (lambda: Plain(torch.sin), (2,)),
    "containers": (Containers, (2,)),
    "shared": (Shared, (2,)),
    "convolutions": (conv_net, (1, 8, 8)),
    "double": (lambda: nn.Linear(2, 1).double(), (2,)),
    "spectral_norm": (
        lambda: NetworkEnergy(Multilayer((8,)), spectral_norm=True).build((2,), 0),
        (2,),
    ),
    "weight_norm": (lambda: parametrizations.weight_norm(nn.Linear(2, 1)), (2,)),
    "lstm": (lambda: Recurrent(nn.LSTM), (2,)),
    "gru": (lambda: Recurrent(nn.GRU), (2,)),
    "attention": (lambda: Attention().eval(), (2,)),
    "multilayer": (lambda: NetworkEnergy(Multilayer((8, 8))).build((2,), 0), (2,)),
    "reference": (
        lambda: NetworkEnergy(Multilayer((8,)), reference_scale=2.0).build((2,), 0),
        (2,),
    ),
    "fitted_reference": (
        lambda: NetworkEnergy(Multilayer((8,)), reference_fit=0.1).build(
            (2,), 0, torch.randn(50, 2)
        ),
        (2,),
    ),
    "convolutional": (lambda: NetworkEnergy(Convolutional()).build((1, 28, 28), 0), (1, 28, 28)),
    "non_local": (lambda: NetworkEnergy(NonLocal()).build((3, 32, 32), 0), (3, 32, 32)),
    "residual": (lambda: NetworkEnergy(Residual()).build((3, 32, 32), 0), (3, 32, 32)),
    "mixture": (lambda: MixtureEnergy().build((2,), 0, torch.randn(50, 2)), (2,)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_rebuilt_network_has_the_same_bits(name):
    build, event = NETWORKS[name]
    torch.manual_seed(0)
    network = build()
    dtype = next(network.parameters()).dtype
    for file in (in_json, in_yaml):
        x = torch.randn(4, *event, dtype=dtype, requires_grad=True)
        other = through(network, file)
        assert describe(other) == describe(network)
        y, z = network(x), other(x)
        assert torch.equal(y, z)
        [grad] = torch.autograd.grad(y.sum(), x)
        [other_grad] = torch.autograd.grad(z.sum(), x)
        assert torch.equal(grad, other_grad)
        for (key, p), (other_key, q) in zip(
            network.named_parameters(), other.named_parameters(), strict=True
        ):
            assert (key, p.requires_grad, p.stride()) == (other_key, q.requires_grad, q.stride())


@pytest.mark.parametrize("settings", [Generator(latent=3), Vae(latent=3)])
def test_a_rebuilt_base_has_the_same_bits(settings):
    base = settings.build((1, 8, 8), 0, torch.rand(20, 1, 8, 8))
    other = through(base)
    z = base.latents(5, torch.Generator().manual_seed(0))
    assert torch.equal(base.decode(z), other.decode(z))


def test_attributes_come_back_with_their_types():
    network = Plain()
    other = rebuild(in_yaml(describe(network)))
    for name in ("activation", "power", "sizes", "shape", "dtype", "device", "norm", "tiny"):
        value, expected = getattr(other, name), getattr(network, name)
        assert value == expected, name
        assert type(value) is type(expected), name
    assert other.config == network.config
    assert type(other.sizes["a"][1][1]) is tuple
    assert other.absent is None
    assert other.none is None
    assert other.head is None
    assert other.state_dict().keys() == network.state_dict().keys()
    assert torch.equal(other.edge, network.edge)


def test_modes_and_frozen_parameters_come_back():
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.BatchNorm1d(2))
    network[0].weight.requires_grad_(requires_grad=False)
    network[1].eval()
    other = through(network)
    assert [m.training for m in other.modules()] == [m.training for m in network.modules()]
    assert [p.requires_grad for p in other.parameters()] == [False, True, True, True]


def test_shared_parts_stay_shared():
    other = through(Shared())
    assert other.second.weight is other.first.weight
    assert other.again is other.first
    assert other.alias is other.shift
    assert len(list(other.parameters())) == len(list(Shared().parameters()))


def test_recurrent_layers_use_their_parameters():
    other = through(nn.LSTM(2, 3))
    assert other._flat_weights[0] is other.weight_ih_l0
    other.double()  # which replaces them
    assert other(torch.zeros(1, 1, 2, dtype=torch.float64))[0].dtype == torch.float64


def test_a_parametrised_layer_stays_one():
    torch.manual_seed(0)
    network = parametrizations.spectral_norm(nn.Linear(3, 2))
    other = through(network)
    assert isinstance(other, nn.Linear)
    for layer in (network, other):
        layer(torch.ones(1, 3)).sum().backward()  # in training, a step of the power iteration
    original = other.parametrizations.weight.original
    assert torch.equal(original.grad, network.parametrizations.weight.original.grad)
    assert torch.equal(other.weight, network.weight)
    parametrizations.parametrize.remove_parametrizations(other, "weight")
    assert type(other) is nn.Linear


def test_the_layout_in_memory_comes_back():
    layer = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    assert rebuild(in_json(describe(layer))).weight.stride() == layer.weight.stride()


# What has no description.


def hooked():
    network = nn.Sequential(nn.Linear(2, 1))
    network[0].register_forward_hook(lambda *_: None)
    return network


def with_attribute(value):
    def make():
        network = nn.Sequential(nn.Linear(2, 1))
        network[0].extra = value
        return network

    return make


def with_hidden_module():
    network = nn.Sequential(nn.Linear(2, 1))
    network[0].extra = [nn.Linear(2, 2)]
    return network


def with_buffer():
    network = nn.Sequential(nn.Linear(2, 1))
    network[0].register_buffer("extra", torch.zeros(17), persistent=False)
    return network


def local_class():
    class Net(nn.Module):
        pass

    return nn.Sequential(Net())


class Number(int):
    pass


REFUSED = {
    "hook": (hooked, r"submodule 0 .* it has a hook.*forward"),
    "orthogonal": (
        lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(2, 2))),
        r"attribute 0\.parametrizations\.weight\.0\.\w+ .* plain values",
    ),
    "tensor": (with_attribute(torch.zeros(2)), r"attribute 0\.extra .*register_buffer"),
    "nested": (with_attribute({"a": [torch.zeros(2)]}), r"attribute 0\.extra .*register_buffer"),
    "module": (with_hidden_module, r"attribute 0\.extra .* nn\.ModuleList"),
    "object": (with_attribute(object()), r"attribute 0\.extra .* builtins\.object.* plain values"),
    "subclass": (with_attribute(Number(3)), r"attribute 0\.extra .* write int\("),
    "lambda": (with_attribute(lambda x: x), r"attribute 0\.extra .* lambda.* top level of a file"),
    "local_function": (with_attribute(with_attribute(0)), r"0\.extra .* top level of a file"),
    "installed_function": (with_attribute(torch.load), r"0\.extra .* function of your own"),
    "python_function": (with_attribute(subprocess.run), r"0\.extra .* function of your own"),
    "bound_method": (with_attribute([].append), r"attribute 0\.extra"),
    "buffer": (with_buffer, r"buffer 0\.extra .* persistent=True"),
    "local_class": (local_class, r"submodule 0 .* top level of a file"),
    "lazy": (
        lambda: nn.Sequential(nn.LazyLinear(2)),
        r"submodule 0 .* no shape yet; call the network once",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_part_without_a_description_is_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        describe(make())


def test_a_method_that_an_attribute_replaces_is_refused():
    network = nn.Linear(2, 1)
    network.forward = functional.relu
    with pytest.raises(ValueError, match=r"attribute forward .* must not replace"):
        describe(network)


def test_an_attribute_that_holds_itself_is_refused():
    network = nn.Linear(2, 1)
    network.extra = []
    network.extra.append(network.extra)
    with pytest.raises(ValueError, match="attribute extra cannot be described"):
        describe(network)


# What a file may not do.

TREE = in_json(describe(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))))


def changed(path, value):
    """The description of a network, with one part replaced."""
    tree = copy.deepcopy(TREE)
    *keys, last = path
    part = tree
    for key in keys:
        part = dict(part)[key] if isinstance(part, list) else part[key]
    if isinstance(part, list):
        part[:] = [pair for pair in part if pair[0] != last] + [[last, value]]
    else:
        part[last] = value
    return tree


LAYER = ("modules", "0")
WEIGHT = (*LAYER, "parameters", "weight")
MALICIOUS = {
    "class_function": changed(("class",), "os:system"),
    "class_posix": changed(("class",), "posix:system"),
    "class_builtin": changed(("class",), "builtins:object"),
    "class_exec": changed(("class",), "builtins:exec"),
    "class_hub": changed(("class",), "torch.hub:load"),
    "class_alias": changed(("class",), "torch.nn:Linear"),
    "class_reexport": changed(("class",), "test_networks_architecture.py:Residual"),
    "class_dataset": changed(("class",), "torch.utils.data.dataset:Dataset"),
    "class_jit": changed(("class",), "torch.jit._script:ScriptModule"),
    "class_popen": changed(("class",), "subprocess:Popen"),
    "class_number": changed(("class",), 3),
    "class_none": changed(("class",), None),
    "class_no_name": changed(("class",), "torch.nn.modules.linear"),
    "function_hub": changed((*LAYER, "attributes", "f"), {"function": "torch.hub:load"}),
    "function_load": changed((*LAYER, "attributes", "f"), {"function": "torch:load"}),
    "function_serialization": changed(
        (*LAYER, "attributes", "f"), {"function": "torch.serialization:load"}
    ),
    "function_from_file": changed((*LAYER, "attributes", "f"), {"function": "torch:from_file"}),
    "function_private": changed(
        (*LAYER, "attributes", "f"), {"function": "torch:_C._load_library"}
    ),
    "function_module": changed((*LAYER, "attributes", "f"), {"function": "torch:os.system"}),
    "function_eval": changed((*LAYER, "attributes", "f"), {"function": "builtins:eval"}),
    "function_system": changed((*LAYER, "attributes", "f"), {"function": "os:system"}),
    "function_file": changed((*LAYER, "attributes", "f"), {"function": "os.py:system"}),
    "function_shutil": changed((*LAYER, "attributes", "f"), {"function": "shutil.py:rmtree"}),
    "function_run": changed((*LAYER, "attributes", "f"), {"function": "subprocess.py:run"}),
    "function_numpy": changed((*LAYER, "attributes", "f"), {"function": "numpy:load"}),
    "function_class": changed((*LAYER, "attributes", "f"), {"function": "subprocess.py:Popen"}),
    "function_writes": changed(
        (*LAYER, "attributes", "f"), {"function": "boltzwalk.train.checkpoint:write_atomically"}
    ),
    "function_yaml": changed((*LAYER, "attributes", "f"), {"function": "yaml:unsafe_load"}),
    "dataclass": changed(
        (*LAYER, "attributes", "f"),
        {"dataclass": {"class": "subprocess.py:CompletedProcess", "fields": {}}},
    ),
    "dataclass_fields": changed(
        (*LAYER, "attributes", "f"),
        {
            "dataclass": {
                "class": "test_networks_architecture.py:Config",
                "fields": {"width": 1, "__class__": 2},
            }
        },
    ),
    "nested": changed((*LAYER, "attributes", "f"), [{"tuple": [{"function": "os:system"}]}]),
    "unknown_type": changed((*LAYER, "attributes", "f"), {"object": "os:system"}),
    "two_types": changed((*LAYER, "attributes", "f"), {"tuple": [], "dict": []}),
    "unhashable": changed((*LAYER, "attributes", "f"), {"dict": [[[1], 2]]}),
    "device": changed((*LAYER, "attributes", "f"), {"device": "nowhere"}),
    "dtype": changed((*LAYER, "attributes", "f"), {"dtype": "load"}),
    "attribute_class": changed((*LAYER, "attributes", "__class__"), {"class": TREE["class"]}),
    "attribute_dict": changed((*LAYER, "attributes", "__dict__"), {"dict": []}),
    "attribute_forward": changed((*LAYER, "attributes", "forward"), {"function": "torch:sin"}),
    "attribute_call": changed((*LAYER, "attributes", "__call__"), {"function": "torch:sin"}),
    "attribute_to": changed((*LAYER, "attributes", "to"), None),
    "attribute_extra_repr": changed((*LAYER, "attributes", "extra_repr"), 1),
    "attribute_hooks": changed((*LAYER, "attributes", "_forward_hooks"), {"dict": []}),
    "attribute_call_impl": changed((*LAYER, "attributes", "_call_impl"), {"function": "torch:sin"}),
    "attribute_compiled": changed(
        (*LAYER, "attributes", "_compiled_call_impl"), {"function": "torch:sin"}
    ),
    "attribute_modules": changed((*LAYER, "attributes", "_modules"), {"dict": []}),
    "attribute_weight": changed((*LAYER, "attributes", "weight"), 1),
    "attribute_training": changed((*LAYER, "attributes", "training"), {"function": "torch:sin"}),
    "attribute_dotted": changed((*LAYER, "attributes", "a.b"), 1),
    "attributes_list": changed((*LAYER, "attributes"), []),
    "extra_key": changed((*LAYER, "code"), "print()"),
    "module_list": changed(LAYER, ["a"]),
    "module_self": changed(LAYER, {"same_as": "2"}),
    "module_dotted": changed(("modules", "a.b"), None),
    "modules_dict": changed(("modules",), {}),
    "modules_twice": changed(("modules",), [["0", None], ["0", None]]),
    "parameter_dunder": changed((*LAYER, "parameters", "__class__"), None),
    "parameter_form": changed(WEIGHT, "zeros"),
    "parameter_same": changed(WEIGHT, {"same_as": "1.running_mean"}),
    "parameter_integers": changed(
        WEIGHT, {"shape": [2, 2], "dtype": "int64", "requires_grad": True}
    ),
    "parameter_dtype": changed(
        WEIGHT, {"shape": [2, 2], "dtype": "__class__", "requires_grad": True}
    ),
    "parameter_negative": changed(
        WEIGHT, {"shape": [-1, 2], "dtype": "float32", "requires_grad": True}
    ),
    "parameter_shape": changed(WEIGHT, {"shape": "ab", "dtype": "float32", "requires_grad": True}),
    "parameter_huge": changed(
        WEIGHT, {"shape": [2**40, 2**40], "dtype": "float32", "requires_grad": True}
    ),
    "parameter_overlap": changed(
        WEIGHT, {"shape": [2, 2], "dtype": "float32", "requires_grad": True, "strides": [0, 1]}
    ),
    "parameter_gaps": changed(
        WEIGHT, {"shape": [2, 2], "dtype": "float32", "requires_grad": True, "strides": [2**40, 1]}
    ),
    "parametrized_method": changed(
        (*LAYER, "modules"),
        [
            [
                "parametrizations",
                {**in_json(describe(nn.ModuleDict())), "modules": [["forward", None]]},
            ]
        ],
    ),
    "parametrized_module": changed(
        (*LAYER, "modules"),
        [["parametrizations", describe(nn.ModuleDict({"weight": nn.Identity()}))]],
    ),
    "buffer_values": changed(
        ("modules", "1", "buffers", "running_mean"),
        {"shape": [2], "dtype": "float32", "persistent": False, "values": ["a", "b"]},
    ),
    "buffer_same": changed(
        ("modules", "1", "buffers", "running_mean"), {"same_as": "0.nowhere", "persistent": True}
    ),
    "buffer_number": changed(
        ("modules", "1", "buffers", "running_mean"),
        {"shape": [2], "dtype": "float32", "persistent": False, "values": [1.0]},
    ),
    "empty": {},
}


def test_the_unchanged_description_is_accepted():
    rebuild(copy.deepcopy(TREE))


@pytest.mark.parametrize("name", MALICIOUS)
def test_a_malicious_description_is_refused(name, monkeypatch):
    for module, function in ((os, "system"), (subprocess, "run"), (torch.hub, "load")):
        monkeypatch.setattr(module, function, lambda *a, **k: pytest.fail("code ran"))
    before = set(sys.modules)
    with pytest.raises((ValueError, LookupError)):
        rebuild(MALICIOUS[name])
    assert set(sys.modules) == before


def test_code_that_is_not_imported_is_named_and_not_imported(tmp_path, monkeypatch):
    (tmp_path / "hostile_code.py").write_text("raise SystemExit('this code ran')")
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    for ref in ("hostile_code.py:Net", "hostile_code:Net"):
        with pytest.raises(LookupError, match=f"{ref.partition(':')[0]}.*not imported"):
            rebuild(changed(("class",), ref))
    assert set(sys.modules) == before


def test_no_constructor_and_no_property_runs():
    rebuilt = rebuild(describe(Careful(1)))
    assert vars(rebuilt)["size"] == 1


class Careful(nn.Module):
    """Counts the calls of its constructor; assignments fail outside of it."""

    calls = 0

    def __init__(self, size):
        super().__init__()
        type(self).calls += 1
        assert type(self).calls == 1
        self.size = size

    def __setattr__(self, name, value):
        assert type(self).calls <= 1
        super().__setattr__(name, value)


def test_a_description_that_is_too_deep_is_refused():
    tree = {
        "class": TREE["class"],
        "attributes": {},
        "parameters": [],
        "buffers": [],
        "modules": [],
    }
    for _ in range(3000):
        tree = {**tree, "modules": [["0", tree]]}
    with pytest.raises(ValueError, match="nested as deeply"):
        rebuild(tree)
