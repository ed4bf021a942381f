"""What people touch: the command line, the HTTP API, the page and the Python API."""
