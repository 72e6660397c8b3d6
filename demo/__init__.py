"""The demo: its story, its shop and its in-process Kubernetes API."""
