"""Training and validation by `mmengine.Runner`. Importing this package registers what a Config names.

A Config imports it by ``custom_imports = dict(imports=["moeisr_plugin.openmmlab"])``. It registers:

- MODELS: `ImplicitRestorer`, the networks and encoders of this package, and losses;
- DATASETS: `ArbitraryScaleDataset`, `ScaleValidationDataset` and `ScaleValidationSets`;
- METRICS: `ProtocolPSNR`, `ProtocolSSIM` and `ExpertShares`;
- LOOPS, DATA_SAMPLERS and HOOKS: `ExactTrainLoop`, `ExactSampler` and `NetworkFileHook`.

It also lets `Runner` resume; see :mod:`.safe_loading`.
"""

from .exact_resuming import ExactSampler, ExactTrainLoop
from .metrics import ExpertShares, ProtocolPSNR, ProtocolSSIM
from .network_files import NetworkFileHook
from .registration import ScaleValidationSets, register_all
from .restorer import ImplicitRestorer
from .safe_loading import trust_log_history

__all__ = [
    "ExactSampler",
    "ExactTrainLoop",
    "ExpertShares",
    "ImplicitRestorer",
    "NetworkFileHook",
    "ProtocolPSNR",
    "ProtocolSSIM",
    "ScaleValidationSets",
]

register_all()
trust_log_history()
