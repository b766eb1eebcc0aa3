"""Parts of `upstream.py`: what a contribution to BasicSR consists of."""
