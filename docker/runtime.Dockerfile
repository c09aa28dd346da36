# The runtime alone, with the studio: numpy, onnxruntime, pillow, no torch.
#   docker build -f docker/runtime.Dockerfile -t colorizer .
FROM python:3.12-slim-bookworm
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY colorizer colorizer
RUN pip install --no-cache-dir --constraint requirements.lock '.[serve]'
WORKDIR /work
RUN useradd --uid 1000 --create-home colorizer
USER 1000
# the exported folder is mounted here: -v "$PWD/models/colorizer:/model:ro"
ENV COLORIZER_MODEL=/model
EXPOSE 8000
ENTRYPOINT ["colorize"]
CMD ["studio", "--host", "0.0.0.0"]
