"""The HTTP edge: a handler parses, calls one use-case, returns. The only importer of fastapi beside main.py."""
