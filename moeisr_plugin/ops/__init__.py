"""Fast tensor primitives that know nothing of the method."""
