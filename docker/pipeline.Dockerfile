# The pipeline: this clone with everything that `make repro` needs; TORCH=cpu leaves CUDA out.
#   docker build -f docker/pipeline.Dockerfile --build-arg TORCH=cpu -t colorizer-pipeline .
# PYTHON_DIGEST=@sha256:… pins the base image's bytes: docs/scale.md.
ARG PYTHON_DIGEST=
FROM python:3.12-slim-bookworm${PYTHON_DIGEST}
# torch.compile needs a compiler
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home colorizer \
    && install --directory --owner=colorizer /app /var/lib/prefect
USER 1000
WORKDIR /app
COPY --chown=1000 . .
ARG TORCH=auto
ENV TORCH=${TORCH} UV_LINK_MODE=copy
# the folders are where volumes are mounted: they keep this owner
RUN --mount=type=cache,target=/home/colorizer/.cache/uv,uid=1000 make setup \
    && mkdir -p .work .dvc/cache
# prefect.yaml has workers run in $PWD, which only a shell sets
ENV PATH=/app/.venv/bin:${PATH} PREFECT_HOME=/var/lib/prefect PWD=/app
CMD ["make", "repro"]
