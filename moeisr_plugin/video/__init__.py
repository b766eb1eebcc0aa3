"""Enlarge videos frame by frame: reading and writing by PyAV, and frames that share unchanged tiles."""
