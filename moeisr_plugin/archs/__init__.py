"""Encoders and implicit decoders: the networks of the method."""
