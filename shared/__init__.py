"""The language that receiver and worker both speak; imports neither."""
