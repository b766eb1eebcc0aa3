"""Measure a network on benchmark sets and report the results."""
