"""Encoders: networks that turn an LR image into a latent."""
