# The pipeline: this clone with everything that `make repro` needs; TORCH=cpu leaves CUDA out.
#   docker build -f docker/pipeline.Dockerfile --build-arg TORCH=cpu -t colorizer-pipeline .
FROM python:3.12-slim-bookworm
# torch.compile needs a compiler
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home colorizer \
    && install --directory --owner=colorizer /app
USER 1000
WORKDIR /app
COPY --chown=1000 . .
ARG TORCH=auto
ENV TORCH=${TORCH} UV_LINK_MODE=copy
RUN --mount=type=cache,target=/home/colorizer/.cache/uv,uid=1000 make setup
CMD ["make", "repro"]
