# Exports, benchmarks and the camera page on a CPU:
#   docker build -f docker/cpu.Dockerfile -t lc2fer:cpu .
#   docker run --rm -v "$PWD/out:/home/lc2fer/out" lc2fer:cpu --configs C6 --data synthetic --out out/docker
#   docker run --rm --entrypoint lc2fer-export lc2fer:cpu --help
#   LC2FER_TOKEN=... docker compose -f docker/compose.yaml --profile cpu up
# tests/docker.sh builds and runs it by buildah, on a Debian tree in the place of python:3.11-slim. The authors have not
# built it by Docker yet, and CI does not build it.

FROM python:3.11-slim AS build
WORKDIR /src
COPY constraints.txt .
RUN pip install --no-cache-dir -c constraints.txt build
COPY . .
RUN python -m build --wheel --outdir /wheels

FROM python:3.11-slim
# An index with a CPU build of torch saves several gigabytes of CUDA packages: --build-arg PIP_EXTRA_INDEX_URL=...
ARG PIP_EXTRA_INDEX_URL=""
# g++ for the fused operations, which each machine compiles for itself.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /tmp/constraints.txt
COPY --from=build /wheels /tmp/wheels
RUN pip install --no-cache-dir -c /tmp/constraints.txt "$(echo /tmp/wheels/*.whl)[export,openvino,bench,camera,web]" \
    && rm -r /tmp/wheels /tmp/constraints.txt \
    && useradd --create-home --uid 10001 --groups video lc2fer \
    && install --directory --owner=lc2fer /home/lc2fer/engines
USER 10001
# The wheel, not a checkout: nothing of the source tree is in this stage.
WORKDIR /home/lc2fer
ENTRYPOINT ["lc2fer-bench"]
CMD ["--help"]
