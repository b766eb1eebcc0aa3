"""General utilities: atomic files, processes, tensor files, messages."""
