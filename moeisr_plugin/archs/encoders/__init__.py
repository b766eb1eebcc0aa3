"""Encoders: networks that turn an LR picture into a latent; they register with ARCH_REGISTRY."""
