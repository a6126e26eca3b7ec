# With the Whisper engine: docker build --build-arg LOCK=requirements-whisper.lock .
# The locked virtual environment is made in one stage and copied into the next: no pip cache, no build tools in the image.
FROM python:3.11-slim AS build
ARG LOCK=requirements.lock
WORKDIR /build
COPY ${LOCK} locked
# --no-deps: the lock is complete, and leaves out on purpose what only the Whisper engine needs.
RUN python -m venv /opt/sotto \
    && /opt/sotto/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes -r locked \
    && /opt/sotto/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/sotto sotto
COPY --from=build /opt/sotto /opt/sotto
WORKDIR /opt/sotto/app
COPY server server
COPY static static
RUN /opt/sotto/bin/python -m compileall -q /opt/sotto/lib server

# All that is written (the recordings of running sessions and uploads) is below the user's home.
USER 10001
WORKDIR /var/lib/sotto
RUN mkdir tmp
ENV PATH=/opt/sotto/bin:$PATH \
    PYTHONPATH=/opt/sotto/app \
    PYTHONUNBUFFERED=1 \
    SOTTO_HOST=0.0.0.0 \
    TMPDIR=/var/lib/sotto/tmp
VOLUME /var/lib/sotto
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2).close()"]
CMD ["python", "-m", "server"]
