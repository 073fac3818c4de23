"""The HTTP server: uvicorn with limits for slow clients, in one process or several."""
