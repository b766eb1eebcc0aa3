"""Fast tensor primitives that do not depend on the method."""
