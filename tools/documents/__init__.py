"""Blocks of README.md and docs/ that are made from measurements; see tools/make_docs.py."""
