"""The toolbox is repaired, and this package is registered with it, in any order of imports."""

import importlib
import sys

import basicsr.train
import pytest
from basicsr.utils import dist_util, options
from processes import run_python

from moeisr_plugin.toolbox import import_hook

pytestmark = pytest.mark.slow

# Prints what is not repaired or registered; prints nothing otherwise.
CHECK = """
import basicsr.test, basicsr.train
from basicsr.utils import dist_util, options, registry
from basicsr.models.base_model import BaseModel
from basicsr.data.prefetch_dataloader import PrefetchGenerator
repaired = {
    "parse_options": basicsr.train.parse_options is basicsr.test.parse_options is options.parse_options,
    "strict options": hasattr(options.parse_options, "__wrapped__"),
    "init_dist": options.init_dist is dist_util.init_dist and hasattr(dist_util.init_dist, "__wrapped__"),
    "loader": options.ordered_yaml.__module__,
    "resume": basicsr.train.load_resume_state.__module__,
    "folders": hasattr(basicsr.train.make_exp_dirs, "__wrapped__"),
    "order": hasattr(basicsr.train.create_train_val_dataloader, "__wrapped__"),
    "network": BaseModel.load_network.__module__,
    "prefetching": hasattr(PrefetchGenerator.run, "__wrapped__"),
    **{name: name in registry.ARCH_REGISTRY for name in (
        "EDSREncoder", "RDNEncoder", "SwinIREncoder", "ToolboxEncoder", "LIIF", "LTE", "MoEISRLIIF"
    )},
    "loss": "BalanceLoss" in registry.LOSS_REGISTRY,
    "dataset": "ArbitraryScaleDataset" in registry.DATASET_REGISTRY,
    "model": "ImplicitSRModel" in registry.MODEL_REGISTRY,
    "metric": "calculate_psnr_protocol" in registry.METRIC_REGISTRY,
}
for name, value in repaired.items():
    if value is not True and not str(value).startswith("moeisr_plugin.toolbox."):
        print(name, value)
"""

# Make the toolbox importable without the hook, to import it unrepaired.
BY_HAND = "import moeisr_plugin.toolbox.importing as i; i.make_importable(); import sys\n"
UNHOOKED = "sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != 'ToolboxFinder']\n"


@pytest.mark.parametrize(
    "first",
    [
        "import moeisr_plugin, basicsr.train",
        "import moeisr_plugin; from basicsr.utils.registry import ARCH_REGISTRY",
        "import moeisr_plugin.archs.encoders.swinir_encoder_arch",
        "import moeisr_plugin.archs.encoders.swin_windows",
        "import moeisr_plugin.data.arbitrary_scale_dataset",
        "import moeisr_plugin.metrics.psnr_ssim",
        "import moeisr_plugin.models.implicit_sr_model",
        "import moeisr_plugin.models.training_states",
        "import moeisr_plugin.options",
        "import moeisr_plugin.train",
    ],
)
def test_toolbox_is_repaired_and_registered_in_any_order_of_imports(first, warm):
    done = warm.run("-c", first + "\n" + CHECK)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_loaded_toolbox_is_repaired_at_once(warm):
    again = "import moeisr_plugin.toolbox.import_hook as h; h.install(); h.install()\n"
    done = warm.run("-c", BY_HAND + UNHOOKED + "import basicsr\n" + again + CHECK)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_source_of_a_repaired_module_can_be_read(warm):
    done = warm.run(
        "-c",
        "import moeisr_plugin, basicsr.train, inspect\n"
        "print('def train_pipeline' in inspect.getsource(basicsr.train))\n"
        "print(type(basicsr.train.__spec__.loader).__name__)",
    )
    assert done.stdout.split() == ["True", "SourceFileLoader"], done.stderr


def test_the_toolbox_is_imported_without_warnings():
    done = run_python("import moeisr_plugin, basicsr.train, torchvision; print(basicsr.__version__)")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1.4")


def test_installing_again_changes_nothing():
    def patched():
        train = basicsr.train
        return (
            train.parse_options,
            options.init_dist,
            dist_util.init_dist,
            options.ordered_yaml,
            train.load_resume_state,
            train.make_exp_dirs,
            train.create_train_val_dataloader,
        )

    before, finders = patched(), list(sys.meta_path)
    import_hook.install()
    assert sys.meta_path == finders
    assert all(one is other for one, other in zip(before, patched(), strict=True))


def test_every_repair_names_a_function():
    for function in import_hook.REPAIRS.values():
        module, _, name = function.partition(".")
        assert callable(getattr(importlib.import_module(f"moeisr_plugin.toolbox.{module}"), name))
