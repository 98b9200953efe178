# The production image: the service and its statements; the development database's wheel is left out. It has not been built here, for want of a
# Docker engine; its steps were run by hand. It needs DATABASE_URL, BETTER_AUTH_SECRET and FRONTEND_URL; migrate first with
# `docker run … python -m service migrate`.
FROM python:3.13-slim AS packages
COPY requirements.txt .
RUN python -m venv --without-pip /venv \
 && pip --python /venv/bin/python install --no-cache-dir --no-deps --require-hashes -r requirements.txt

FROM python:3.13-slim
COPY --from=packages /venv /venv
WORKDIR /app
COPY sql sql
COPY service service
COPY embedded embedded
ENV PATH=/venv/bin:$PATH HOST=0.0.0.0 PORT=8000 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that an orchestrator can see that it is not root.
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/livez', timeout=2)"]
CMD ["python", "-m", "service"]
