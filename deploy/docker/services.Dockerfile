# syntax=docker/dockerfile:1
# The processes that never link libtorch: coordinator, results service and the `temper` command.
# Built from the repository's root: docker build -f deploy/docker/services.Dockerfile .

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
ENV SQLX_OFFLINE=true
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin temper --bin temper-coordinator --bin temper-results \
    && mkdir /out \
    && cp target/release/temper target/release/temper-coordinator target/release/temper-results /out/

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
# The number is the worker image's too: both write to one object store.
RUN useradd --system --uid 10001 temper \
    && install --directory --owner temper /var/lib/temper/store /var/lib/temper/tokens
COPY --from=build /out/ /usr/local/bin/
USER temper
VOLUME /var/lib/temper/store
ENV TEMPER_STORE=file:///var/lib/temper/store
EXPOSE 7070 7071
CMD ["temper-coordinator"]
