"""Publish a network: model card, index and model-zoo row."""
