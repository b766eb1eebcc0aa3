import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def threads():
    """Restore the number of threads, which the benchmark changes."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
