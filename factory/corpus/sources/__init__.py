"""Documents come in here: files, folders, the hub, docstrings."""
