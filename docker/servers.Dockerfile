# MLflow's server, Prefect's, and a Kubernetes pool's worker: no torch, no stage runs in it.
#   docker build -f docker/servers.Dockerfile -t image-colorizer-servers .
# PYTHON_DIGEST=@sha256:… pins the base image's bytes: docs/scale.md.
ARG PYTHON_DIGEST=
FROM python:3.12-slim-bookworm${PYTHON_DIGEST} AS build
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:${PATH}
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY colorizer colorizer
COPY flows flows
COPY pipeline_steps pipeline_steps
RUN pip install --no-cache-dir --constraint requirements.lock '.[servers,kubernetes]'

FROM python:3.12-slim-bookworm${PYTHON_DIGEST}
COPY --from=build /opt/venv /opt/venv
RUN useradd --uid 1000 --create-home colorizer \
    && install --directory --owner=colorizer /work /var/lib/prefect
WORKDIR /work
USER 1000
ENV PATH=/opt/venv/bin:${PATH} PREFECT_HOME=/var/lib/prefect
CMD ["python", "-m", "flows.ui.server"]
