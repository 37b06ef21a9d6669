import torch

from boltzwalk.rng import generator


def first(*key):
    return torch.rand(4, generator=generator(*key)).tolist()


def test_the_same_key_draws_the_same_numbers():
    assert first(3, "data", 7) == first(3, "data", 7)


def test_every_part_of_the_key_matters():
    keys = [(3, "data", 7), (4, "data", 7), (3, "method", 7), (3, "data", 8), (37, "data", 0)]
    assert len({tuple(first(*key)) for key in keys}) == len(keys)
