"""Pages of results from what `moeisr evaluate` wrote; see tools/results.py."""
