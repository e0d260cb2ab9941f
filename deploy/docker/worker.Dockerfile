# syntax=docker/dockerfile:1.7
# The worker with libtorch, the pinned weights and Fashion-MNIST: all that the demo's sweep needs.
# Built from the repository's root:
#   docker build -f deploy/docker/worker.Dockerfile .                               for processors (0.5 GB of libtorch)
#   docker build -f deploy/docker/worker.Dockerfile --build-arg FLAVOUR=cuda .      for NVIDIA's GPUs (some 5 GB)
# Digests: as in services.Dockerfile.
ARG RUST_IMAGE=rust:1.95.0-bookworm
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm
ARG BASE_IMAGE=debian:12.11-slim
ARG FLAVOUR=cpu

# Each flavour is /opt/libtorch with the layout of Python's packages: libraries find each other by relative paths.
FROM ${RUST_IMAGE} AS libtorch-cpu
WORKDIR /src
ENV TEMPER_CACHE=/opt/cache
# Before the sources, so that a change of them does not fetch libtorch again.
COPY scripts/setup scripts/setup
RUN python3 scripts/setup \
    && install --directory /opt/libtorch \
    && mv /opt/cache/libtorch/2.13.0-cpu /opt/libtorch/torch

FROM ${PYTHON_IMAGE} AS libtorch-cuda
RUN pip install --no-cache-dir --no-compile --only-binary=:all: --target /opt/libtorch torch==2.13.0 \
    && echo 2.13.0 > /opt/libtorch/torch/build-version

# One of the two above, which have no tag.
# hadolint ignore=DL3006
FROM libtorch-${FLAVOUR} AS libtorch
WORKDIR /opt/libtorch
# Libraries and licences; headers and Python stay behind.
RUN mkdir /opt/run \
    && find . ! -type d \( -path './torch/lib/*.so*' -o -path './nvidia/*/lib/*.so*' -o -path './torch/licenses/*' \
        -o -iname 'LICENSE*' -o -iname 'NOTICE*' \) -exec cp --parents --no-dereference {} /opt/run/ \;

FROM ${RUST_IMAGE} AS skeleton
WORKDIR /src
COPY . .
RUN sh deploy/docker/skeleton.sh /src

FROM ${RUST_IMAGE} AS build
WORKDIR /src
ENV LIBTORCH=/opt/libtorch/torch \
    TEMPER_CACHE=/opt/cache
COPY --from=libtorch /opt/libtorch /opt/libtorch
# Weights and images; with LIBTORCH set it fetches no other.
COPY scripts/setup scripts/setup
RUN python3 scripts/setup
# Dependencies first: this layer, with libtorch's bindings, lasts until a manifest changes.
COPY --from=skeleton /src .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --locked --release --bin temper-worker
COPY . .
# What the skeleton's programs were built from is older than what was built: cargo has to see that it is other.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    find crates -name '*.rs' -exec touch {} + \
    && cargo build --locked --release --bin temper-worker \
    && install --directory /out/bin /out/state/store /out/state/cache /out/state/tokens \
    && install --strip target/release/temper-worker /out/bin/

# Nothing is run from here on, so that the base needs no shell. It needs glibc 2.36 or later, libgcc and libstdc++.
FROM ${BASE_IMAGE}
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# Where it was linked, which is where the worker looks.
COPY --from=libtorch /opt/run/ /opt/libtorch/
COPY --from=build /opt/cache/mirror/ /opt/temper/mirror/
COPY --from=build /out/bin/ /usr/local/bin/
# The number is the services image's too: both write to one object store. What is not a volume may be read-only.
COPY --from=build --chown=10001:10001 /out/state/ /var/lib/temper/
USER 10001:10001
VOLUME ["/var/lib/temper/store", "/var/lib/temper/cache"]
# For NVIDIA's container runtime; nobody else reads them.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    TEMPER_MIRROR=/opt/temper/mirror \
    TEMPER_CACHE=/var/lib/temper/cache \
    HF_HOME=/var/lib/temper/cache/hub
# It serves nothing that could be asked. It ends by itself when it is refused or breaks; while it lives its heartbeats
# are its health, and the coordinator judges them: a job whose worker is silent goes to another.
HEALTHCHECK NONE
CMD ["temper-worker", "run"]
