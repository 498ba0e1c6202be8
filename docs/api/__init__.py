"""Pages of the public names, built from their docstrings: `python -m docs.api [FOLDER]`.

Needs the [docs] extra; FOLDER is build/api where none is given.
"""
