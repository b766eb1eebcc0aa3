"""Figures of README.md and docs/; see tools/figures.py."""
