"""Seeding of random numbers for a limited block of code."""

import torch

from s5forecast.seeding import seeded


def draw(seed):
    with seeded(seed) as generator:
        return torch.rand(3), torch.rand(3, generator=generator)


def test_a_seed_gives_the_same_draws_and_leaves_the_global_state():
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    first, second = draw(5), draw(5)
    assert all(map(torch.equal, first, second))
    assert torch.equal(torch.rand(2), expected)


def test_without_a_seed_draws_follow_the_global_state():
    torch.manual_seed(0)
    first, second = draw(None), draw(None)
    assert not torch.equal(first[0], second[0]) and not torch.equal(first[1], second[1])
    torch.manual_seed(0)
    assert all(map(torch.equal, draw(None), first))
