"""Files of a revision to a list of Kubernetes objects."""
