"""Training and validation by two processes, compared with one process; interruption and resume."""

import copy
import os
import re
import signal
import weakref

import pytest
import torch
from basicsr.data import build_dataloader, build_dataset
from torch.nn.parallel import DistributedDataParallel
from trainings import (
    assert_identical,
    exact_logs,
    finish,
    load,
    model_of,
    options,
    printed,
    start,
    start_ranks,
    wait_until,
    without_noise,
)

from moeisr_plugin.data.sample_order import Position, SampleOrder, SampleRequest, position_after
from moeisr_plugin.utils import processes

pytestmark = pytest.mark.slow


class Pictures(torch.utils.data.Dataset):
    accepts_requests = True

    def __len__(self):
        return 5


# The order of samples


BEGINNING = Position(0, 0)


def requests(rank, world_size, *, begin=BEGINNING, epoch=3):
    order = SampleOrder(Pictures(), world_size, rank, 2, seed=7, begin=begin)
    order.set_epoch(epoch)
    return list(order)


def test_two_processes_alternate_in_the_order_of_one():
    alone = requests(0, 1)
    assert sorted(request.index for request in alone) == sorted([0, 1, 2, 3, 4] * 2)
    assert [each for pair in zip(requests(0, 2), requests(1, 2), strict=True) for each in pair] == alone
    assert len({request.seed for request in alone + requests(0, 1, epoch=4)}) == 20


def test_resumed_epoch_skips_consumed_samples():
    alone = requests(0, 1)
    for consumed in (2, 4, 10):
        begin = Position(3, consumed)
        assert requests(0, 1, begin=begin) == alone[consumed:]
        assert requests(1, 2, begin=begin) == alone[consumed + 1 :: 2]
        assert requests(0, 1, begin=begin, epoch=4) == requests(0, 1, epoch=4)
    assert len(requests(0, 2, begin=Position(3, 5))) == len(requests(1, 2, begin=Position(3, 5))) == 2


def test_position_counts_the_batches_of_all_processes():
    for rank in (0, 1):
        batch = requests(rank, 2)[2:4]
        epochs, order_indices = torch.tensor([(request.epoch, request.order_index) for request in batch]).T
        assert position_after(epochs, order_indices, 2) == Position(3, 8)


def test_other_datasets_receive_indices():
    order = SampleOrder(range(5), 1, 0, seed=7)  # pyright: ignore[reportArgumentType]  any sequence works
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert not any(isinstance(index, SampleRequest) for index in order)


# A single process


def test_single_process_is_a_group_of_one():
    scores = torch.randn(2, 3, requires_grad=True)
    assert (processes.size(), processes.rank()) == (1, 0)
    assert processes.sum_over_processes(scores) is scores
    assert torch.equal(processes.gather_batches(scores), scores)
    assert processes.gather_objects("value") == ["value"]
    assert processes.any_of(True, scores.device)
    assert processes.broadcast_from_first(lambda: 7) == 7
    processes.leave_group()


# Two processes


@pytest.fixture(scope="module")
def whole(photographs, tmp_path_factory):
    """Folder of an uninterrupted training by two processes."""
    folder = tmp_path_factory.mktemp("whole")
    assert finish(*start_ranks(folder, two_process_options(photographs))) == [0, 0], printed(folder)
    return folder


def two_process_options(photographs):
    opt = options(photographs, random_gates_iter=4, mapper_alone_iter=4)
    opt["val"]["save_img"] = True
    return opt


def validations(folder):
    return re.findall(r"Validation (\S+)\n\t # psnr: (\S+)\tBest: (\S+) @ (\S+) iter", printed(folder))


def test_two_processes_validate_each_picture_once_per_scale(whole):
    results = [(scale, iteration) for scale, _, _, iteration in validations(whole)]
    scales = ("photographs/x2", "photographs/x3.7")
    assert results == [(scale, iteration) for iteration in ("6", "12") for scale in scales]
    pictures = whole / "experiments/tiny/visualization/photographs/x3.7"
    names = [f"{name}_{i}{kind}.png" for name in NAMES for i in (12, 6) for kind in ("", "_experts")]
    assert sorted(path.name for path in pictures.iterdir()) == names


def test_one_process_gives_the_same_validation_results(whole, photographs):
    opt = options(photographs)
    opt["path"]["pretrain_network_g"] = str(whole / "experiments/tiny/models/net_g_12.pth")
    model = model_of(opt)
    for phase, (label, psnr, _, _) in zip(("val_1", "val_2"), validations(whole)[-2:], strict=True):
        dataset = build_dataset({**opt["datasets"][phase], "phase": "val"})
        model.validation(build_dataloader(dataset, {"phase": "val"}), 12, None)
        assert set(model.best_metric_results) >= {label}
        assert f"{model.metric_results['psnr']:.4f}" == psnr


def test_killed_training_of_two_processes_resumes_exactly(whole, photographs, tmp_path):
    folder = tmp_path / "run"
    opt = two_process_options(photographs)
    opt["logger"]["save_checkpoint_freq"] = 1
    training = start_ranks(folder, opt, "--auto_resume")
    states = folder / "experiments/tiny/training_states"
    wait_until(lambda: (states / "3.state").exists())
    for process in training:
        process.kill()
    finish(*training)
    assert not (states / "12.state").exists()
    assert finish(*start_ranks(folder, opt, "--auto_resume")) == [0, 0], printed(folder)
    assert "Resuming training from epoch" in printed(folder)
    for name in ("models/net_g_latest.pth", "training_states/12.state"):
        assert_identical(load(folder, name), load(whole, name))
    first, second = load(whole, "training_states/12.state")["random"]
    assert not torch.equal(first["torch"], second["torch"])


def test_signal_to_one_process_ends_all_at_the_same_iteration(photographs, tmp_path):
    opt = options(photographs, total_iter=100_000)
    opt["logger"]["save_checkpoint_freq"] = 100_000
    training = start_ranks(tmp_path, opt)
    wait_until(lambda: "iter:       2" in printed(tmp_path))
    os.kill(training[1].pid or 0, signal.SIGTERM)
    assert finish(*training) == [0, 0], printed(tmp_path)
    assert printed(tmp_path).count("Ended by a signal to another process: iteration ") == 1
    (state,) = (tmp_path / "experiments/tiny/training_states").iterdir()
    assert len(load(tmp_path, f"training_states/{state.name}")["random"]) == 2


def test_wrapper_is_released_before_its_group_is_destroyed(photographs, tmp_path, monkeypatch):
    opt = options(photographs)
    opt["path"] |= {"models": str(tmp_path), "training_states": str(tmp_path)}
    model = model_of(opt)
    store = (tmp_path / "store").as_uri()
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    destroy, wrappers_left = torch.distributed.destroy_process_group, []
    try:
        model.net_g = DistributedDataParallel(model.net_g)
        wrapper = weakref.ref(model.net_g)
        monkeypatch.setattr(
            torch.distributed, "destroy_process_group", lambda: wrappers_left.append(wrapper())
        )
        model.interruption.signal_name = "SIGTERM"
        with pytest.raises(SystemExit):
            model.update_learning_rate(1)
        assert wrappers_left == [None]
    finally:
        model.interruption.restore_handlers()
        destroy()


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_two_half_batches_train_like_a_whole_batch(reduction, photographs, tmp_path):
    opt = options(photographs, total_iter=20, mapper_alone_iter=5)
    opt["train"]["balance_opt"] |= {"reduction": reduction, "loss_weight": 0.1, "expert_weights": [1, 2]}
    opt["train"]["pixel_opt"] |= {"reduction": reduction, "loss_weight": 1e-3 if reduction == "sum" else 1}
    opt["train"]["optim_g"]["eps"] = 1e-3  # keeps Adam from amplifying rounding errors of tiny gradients
    del opt["val"], opt["datasets"]["val_1"], opt["datasets"]["val_2"]
    training = start_ranks(tmp_path / "two", opt, prepare=without_noise)
    alone = copy.deepcopy(opt)
    alone["datasets"]["train"]["batch_size_per_gpu"] = 4
    training.append(start(tmp_path / "one", alone, prepare=without_noise))
    assert finish(*training) == [0, 0, 0], printed(tmp_path / "two")
    two, one = exact_logs(tmp_path / "two"), exact_logs(tmp_path / "one")
    assert len(two) == len(one) == 20
    assert one[0]["l_balance"] > 0.01
    for i, (ours, theirs) in enumerate(zip(two, one, strict=True)):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6), i


NAMES = ("astronaut", "chelsea")
