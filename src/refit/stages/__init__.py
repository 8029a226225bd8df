"""The stages of dvc.yaml, one file each: read files, call pure functions, write files."""
