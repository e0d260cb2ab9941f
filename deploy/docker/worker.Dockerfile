# syntax=docker/dockerfile:1
# The worker with libtorch for CPUs, the pinned weights and Fashion-MNIST: all that the demo's sweep needs.
# Built from the repository's root: docker build -f deploy/docker/worker.Dockerfile .

FROM rust:1.95-bookworm AS build
WORKDIR /src
ENV TEMPER_CACHE=/opt/cache
# Before the sources, so that a change of them does not fetch libtorch again.
COPY scripts/setup scripts/setup
RUN python3 scripts/setup
COPY . .
ENV LIBTORCH=/opt/cache/libtorch/2.13.0-cpu
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin temper-worker \
    && mkdir /out \
    && cp target/release/temper-worker /out/

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/*
# The number is the services image's too: both write to one object store.
RUN useradd --system --uid 10001 temper \
    && install --directory --owner temper /var/lib/temper/store
# The worker looks for its libraries in ../lib.
COPY --from=build /opt/cache/libtorch/2.13.0-cpu/lib/ /opt/temper/lib/
COPY --from=build /opt/cache/libtorch/2.13.0-cpu/licenses/ /opt/temper/licenses/
COPY --from=build /opt/cache/mirror/ /opt/temper/mirror/
COPY --from=build /out/temper-worker /opt/temper/bin/
USER temper
VOLUME /var/lib/temper/store
ENV PATH=/opt/temper/bin:$PATH \
    TEMPER_MIRROR=/opt/temper/mirror \
    TEMPER_STORE=file:///var/lib/temper/store
CMD ["temper-worker"]
