"""Helpers that know nothing of pictures or networks: atomic files, processes, tensor files, messages."""
