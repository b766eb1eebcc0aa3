"""Networks from files: our checkpoints, published LIIF and LTE files, and shipped networks by name."""
