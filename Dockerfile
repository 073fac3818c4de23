# The service: `interviews serve` on port 8000. It needs DATABASE_URL and, because it listens beyond loopback, keys of
# its own; docker-compose.yml gives it both.

# The Python and the Debian that the tests run on; both stages have the same one, so the virtualenv can be copied.
FROM python:3.11-slim-bookworm AS build

RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /srv
ENV UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/srv/.venv
RUN uv venv "$VIRTUAL_ENV"

# Of the lock, what pyproject.toml asks for, with the client of RATE_LIMIT_STORAGE_URL. Whatever has no hash in the lock, or another one, is
# refused; and wheels only, so that no package's build script runs.
COPY pyproject.toml requirements.lock ./
RUN uv pip install --compile-bytecode --only-binary :all: --require-hashes \
      --constraints requirements.lock --extra redis --requirements pyproject.toml

COPY migrations/ migrations/
COPY simulator/ simulator/
COPY app/ app/
RUN uv pip install --compile-bytecode --no-deps --build-constraints requirements.lock .


FROM python:3.11-slim-bookworm

# By number: Kubernetes' runAsNonRoot can't judge a name.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin interviews
WORKDIR /srv
COPY --from=build /srv/.venv .venv
ENV PATH=/srv/.venv/bin:$PATH PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=8000
USER 10001
EXPOSE 8000

# Not by urllib, which would send this through the proxy of a Docker client that is configured with one.
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=3 CMD ["python", "-c", "import os, http.client; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=3); c.request('GET', '/health/live'); raise SystemExit(c.getresponse().status != 200)"]

CMD ["interviews", "serve"]
