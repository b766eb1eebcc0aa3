"""Datasets for training and validation at arbitrary scales."""

from .arbitrary_scale_dataset import ArbitraryScaleDataset
from .scale_validation_dataset import ScaleValidationDataset

__all__ = ["ArbitraryScaleDataset", "ScaleValidationDataset"]
