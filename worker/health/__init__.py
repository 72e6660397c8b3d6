"""Pure: an object (and its pods) to a verdict with a reason."""
