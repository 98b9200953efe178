# The production image: the service and its statements. It needs DATABASE_URL and BETTER_AUTH_SECRET, in its environment
# or as files in /run/secrets, and FRONTEND_URL. Migrate first with `docker run … python -m service migrate`.
# compose.yaml runs the whole system.
FROM python:3.13-slim AS packages
COPY requirements.txt requirements-jwks.txt ./
RUN python -m venv --without-pip /venv \
 && pip --python /venv/bin/python install --no-cache-dir --no-deps --require-hashes --only-binary :all: \
    -r requirements.txt -r requirements-jwks.txt

FROM python:3.13-slim
COPY --from=packages /venv /venv
WORKDIR /app
COPY sql sql
COPY service service
ENV PATH=/venv/bin:$PATH HOST=0.0.0.0 PORT=8000 METRICS_HOST=0.0.0.0 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The base image has no bytecode, and processes may not write it later, so each one would compile its imports.
RUN python -m compileall -q -j 0 . "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
# Numeric ids, so that an orchestrator can check that it is not root.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/livez', timeout=2)"]
CMD ["python", "-m", "service"]
