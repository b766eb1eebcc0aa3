"""Help text of the option `--weights`."""

from moeisr_plugin.checkpoints.bundled import bundled_weights

TRAINED = f"trained weights: a file, or the name of a bundled network: {', '.join(bundled_weights())}"
