# The runtime alone, with the studio: numpy, onnxruntime, pillow, no torch.
#   docker build -f docker/runtime.Dockerfile -t colorizer .
# PYTHON_DIGEST=@sha256:… pins the base image's bytes: docs/scale.md.
ARG PYTHON_DIGEST=
FROM python:3.12-slim-bookworm${PYTHON_DIGEST} AS build
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:${PATH}
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY colorizer colorizer
RUN pip install --no-cache-dir --constraint requirements.lock '.[serve,registry]'

FROM python:3.12-slim-bookworm${PYTHON_DIGEST}
COPY --from=build /opt/venv /opt/venv
RUN useradd --uid 1000 --create-home colorizer \
    && install --directory --owner=colorizer /work /var/lib/colorizer
WORKDIR /work
USER 1000
# the exported folder is mounted here: -v "$PWD/models/colorizer:/model:ro"
ENV PATH=/opt/venv/bin:${PATH} COLORIZER_MODEL=/model
EXPOSE 8000
ENTRYPOINT ["colorize"]
CMD ["studio", "--host", "0.0.0.0"]
