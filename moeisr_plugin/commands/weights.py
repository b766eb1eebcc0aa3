"""The networks that a command works with: `--weights`."""

from moeisr_plugin.bundled import bundled_weights

TRAINED = f"trained weights: a file, or of those that come with the package {', '.join(bundled_weights())}"
"""What `--weights` takes."""
