# The camera and its page on a Jetson Orin with JetPack 6 (L4T 36.4: Python 3.10, TensorRT 10.3). Built on the Jetson:
#   lc2fer-deploy bundle --config C6 --out out                      # on a PC
#   docker build -f jetson6.Dockerfile --build-arg BUNDLE=C6.bundle -t lc2fer:jetson6 .     # where the bundle lies
#   docker compose --profile jetson6 up                             # compose.yaml; builds the engines at the first start
# NVIDIA's igpu images end at 26.02 and fail on JetPack 7, so this is its L4T image. The authors have not built it yet.
FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Ubuntu's OpenCV, unlike the wheels', has GStreamer, which CSI cameras need. Old versions leave Ubuntu's archive, so none
# can be named.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        python3-venv python3-opencv python3-libnvinfer \
        gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
    && rm -rf /var/lib/apt/lists/*
ARG BUNDLE=C6.bundle
COPY ${BUNDLE} /opt/lc2fer/lc2fer.bundle
# Engines are built by the user, at the first start, into a volume at engines/.
RUN tar -xOf /opt/lc2fer/lc2fer.bundle install.sh | bash -s -- /opt/lc2fer/lc2fer.bundle --prefix /opt/lc2fer \
    && useradd --create-home --uid 10001 --groups video lc2fer \
    && install --directory --owner=lc2fer /home/lc2fer/engines
USER 10001
ENV PATH=/opt/lc2fer/bin:$PATH
WORKDIR /home/lc2fer
ENTRYPOINT ["lc2fer-deploy"]
CMD ["doctor"]
