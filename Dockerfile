# The image of Granary: granary-node, granary-operator and the granary command, one beside the other. A pod names the one it
# runs; by itself the image is `granary`.
#
#   docker build --label org.opencontainers.image.version=0.1.0 -t granary:0.1.0 .
#
# Both bases may be replaced, by copies of them or by others with the C and C++ libraries of the same Debian release (the
# programs link to libc, libstdc++ and libgcc_s). The tests replace the stage `programs` by programs that are built already.
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

FROM scratch AS programs
COPY --from=build /src/target/dist/granary-node /src/target/dist/granary-operator /src/target/dist/granary /

# Runs no command while it is built and needs no shell in the end. A layer for each program: what did not change is not
# transferred again.
FROM ${RUN_IMAGE}
COPY --from=programs /granary-node /usr/local/bin/
COPY --from=programs /granary /usr/local/bin/
COPY --from=programs /granary-operator /usr/local/bin/
LABEL org.opencontainers.image.title="Granary" \
      org.opencontainers.image.description="A replicated, sharded storage cluster for Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/granary"]
