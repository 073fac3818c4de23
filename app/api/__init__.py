"""HTTP: a handler parses, calls one use case, returns. Only this package and app.main import fastapi."""
