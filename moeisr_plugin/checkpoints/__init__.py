"""Load networks from checkpoints, from published LIIF and LTE files, and from bundled files by name."""
