"""Datasets for training and validating at any scale."""

from .arbitrary_scale_dataset import ArbitraryScaleDataset
from .scale_validation_dataset import ScaleValidationDataset

__all__ = ["ArbitraryScaleDataset", "ScaleValidationDataset"]
