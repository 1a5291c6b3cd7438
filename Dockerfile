# The image of the nodes: granary-node, and the granary command beside it. A first form: the work on Kubernetes that comes
# next runs and tests it.
#
#   docker build -t granary:0.1.0 .
#
# Both bases may be replaced, by copies of them or by others that hold the C and C++ libraries of the same Debian release
# (the programs link to libc, libstdc++ and libgcc_s).
ARG BUILD_IMAGE=rust:1.95-bookworm
ARG RUN_IMAGE=debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
# For bindgen, which reads RocksDB's C header. The compiler for RocksDB itself is in the base.
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends libclang1-14 libclang-common-14-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --profile dist --locked --workspace --bins
# Made here because the last stage runs nothing.
RUN mkdir --mode 0700 /data

# Runs no command while it is built and needs no shell in the end.
FROM ${RUN_IMAGE}
COPY --from=build /src/target/dist/granary-node /src/target/dist/granary /usr/local/bin/
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
VOLUME /data
# Still to be given: GRANARY_NAME, and the addresses under which others reach the node, GRANARY_KV_ADVERTISE and
# GRANARY_PEER_ADVERTISE. `granary-node --help` has them all.
ENV GRANARY_DATA=/data \
    GRANARY_KV_LISTEN=0.0.0.0:7001 \
    GRANARY_PEER_LISTEN=0.0.0.0:7002 \
    GRANARY_METRICS_LISTEN=0.0.0.0:7003
EXPOSE 7001 7002 7003
ENTRYPOINT ["/usr/local/bin/granary-node"]
