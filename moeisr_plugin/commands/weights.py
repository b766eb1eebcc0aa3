"""The networks that a command works with: `--weights`."""

from moeisr_plugin.checkpoints.bundled import bundled_weights

TRAINED = f"trained weights: a file, or the name of a network of the package: {', '.join(bundled_weights())}"
"""What `--weights` takes."""
