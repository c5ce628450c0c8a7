# The camera and its page on a Jetson with JetPack 7 (Python 3.12). Built on the Jetson:
#   lc2fer-deploy bundle --config C6 --out out                      # on a PC
#   docker build -f jetson7.Dockerfile --build-arg BUNDLE=C6.bundle -t lc2fer:jetson7 .     # where the bundle lies
#   docker compose --profile jetson7 up                             # compose.yaml; builds the engines at the first start
# JetPack 7 runs the usual arm64 images; TensorRT in the image builds and runs the engines. The authors have not built it yet.
FROM nvcr.io/nvidia/tensorrt:26.02-py3

# Ubuntu's OpenCV, unlike the wheels', has GStreamer, which CSI cameras need.
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        python3-venv python3-opencv opencv-data \
        gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
    && rm -rf /var/lib/apt/lists/*
ARG BUNDLE=C6.bundle
COPY ${BUNDLE} /tmp/lc2fer.bundle
RUN tar -xOf /tmp/lc2fer.bundle install.sh | bash -s -- /tmp/lc2fer.bundle --prefix /opt/lc2fer \
    && rm /tmp/lc2fer.bundle \
    && useradd --create-home --groups video lc2fer \
    && chown -R lc2fer /opt/lc2fer/versions
USER lc2fer
ENV PATH=/opt/lc2fer/bin:$PATH
WORKDIR /home/lc2fer
HEALTHCHECK --interval=30s --timeout=5s --start-period=180s \
    CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen(r.Request('http://127.0.0.1:8000/api/status', headers={'Authorization': 'Bearer ' + os.environ.get('LC2FER_TOKEN', '')}), timeout=4)"]
ENTRYPOINT ["lc2fer-deploy"]
CMD ["doctor"]
