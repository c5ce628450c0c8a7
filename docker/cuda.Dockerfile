# Exports, TensorRT engines and benchmarks on a PC with an NVIDIA GPU; NVIDIA's image brings TensorRT and CUDA:
#   docker build -f docker/cuda.Dockerfile -t lc2fer:cuda .
#   docker run --rm --gpus all -v "$PWD/out:/home/lc2fer/out" lc2fer:cuda --configs C6 --targets torch trt-fp16 trt-int8
# The authors have not built this image yet, and CI does not build it.
FROM python:3.12-slim AS build
WORKDIR /src
COPY constraints.txt .
RUN pip install --no-cache-dir -c constraints.txt build
COPY . .
RUN python -m build --wheel --outdir /wheels

FROM nvcr.io/nvidia/tensorrt:26.02-py3
COPY constraints.txt /tmp/constraints.txt
COPY --from=build /wheels /tmp/wheels
# A virtual environment that sees the image's TensorRT: pip would bring another one.
RUN python3 -m venv --system-site-packages /opt/lc2fer \
    && /opt/lc2fer/bin/pip install --no-cache-dir -c /tmp/constraints.txt cuda-python \
        "$(echo /tmp/wheels/*.whl)[export,openvino,bench]" \
    && rm -r /tmp/wheels /tmp/constraints.txt \
    && useradd --create-home --uid 10001 lc2fer
USER 10001
ENV PATH=/opt/lc2fer/bin:$PATH
WORKDIR /home/lc2fer
ENTRYPOINT ["lc2fer-bench"]
CMD ["--help"]
