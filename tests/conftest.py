"""Fixtures that several test files share."""

import pytest


@pytest.fixture
def torch_state():
    """One thread and a fixed state of torch, both put back afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(before)
