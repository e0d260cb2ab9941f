# syntax=docker/dockerfile:1.7
# The processes that never link libtorch: coordinator, results service and the `temper` command.
# Built from the repository's root: docker build -f deploy/docker/services.Dockerfile .
#
# Tags name releases; digests could not be looked up where this was written. Pin them where you build:
#   --build-arg RUST_IMAGE=rust@sha256:… --build-arg BASE_IMAGE=…
# The base needs glibc 2.36 or later and libgcc, nothing else: distroless `cc` (Debian 12) does as well.
ARG RUST_IMAGE=rust:1.95.0-bookworm
ARG BASE_IMAGE=debian:12.11-slim

FROM ${RUST_IMAGE} AS skeleton
WORKDIR /src
COPY . .
RUN sh deploy/docker/skeleton.sh /src

FROM ${RUST_IMAGE} AS build
WORKDIR /src
ENV SQLX_OFFLINE=true
# Dependencies first: this layer lasts until a manifest changes.
COPY --from=skeleton /src .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --locked --release --bin temper --bin temper-coordinator --bin temper-results
COPY . .
# What the skeleton's programs were built from is older than what was built: cargo has to see that it is other.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    find crates -name '*.rs' -exec touch {} + \
    && cargo build --locked --release --bin temper --bin temper-coordinator --bin temper-results \
    && install --directory /out/bin /out/state/store /out/state/tokens \
    && install --strip target/release/temper target/release/temper-coordinator target/release/temper-results /out/bin/

# Nothing is run from here on, so that the base needs no shell.
FROM ${BASE_IMAGE}
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/bin/ /usr/local/bin/
# The number is the worker image's too: both write to one object store. What is not a volume may be read-only.
COPY --from=build --chown=10001:10001 /out/state/ /var/lib/temper/
USER 10001:10001
VOLUME ["/var/lib/temper/store", "/var/lib/temper/tokens"]
ENV TEMPER_STORE=file:///var/lib/temper/store
EXPOSE 7070 7071
# The coordinator's; who runs the results service here asks at 7071.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["temper", "health"]
CMD ["temper-coordinator"]
