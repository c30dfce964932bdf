# Both stages name the same Debian release: a program linked against a newer C library than the one it meets
# would not start.
FROM rust:1.95-trixie AS build
WORKDIR /build

# The dependencies in a layer of their own: it is built again only when these files change.
COPY Cargo.toml Cargo.lock build.rs ./
COPY migrations migrations
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin shardrive \
    && rm -r src

# The statements and migrations are embedded in the program. The sources may be older than the empty ones they
# replace, and cargo goes by the time of a file: hence the touch.
COPY sql sql
COPY src src
RUN touch build.rs src/main.rs src/lib.rs \
    && cargo build --release --locked --bin shardrive


FROM debian:trixie-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin shardrive
# For servers that are called by https: a sign-in provider, a collector of traces.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/target/release/shardrive /usr/local/bin/shardrive
USER 10001:10001
EXPOSE 8000

# Alive, not ready: a shard that is down must not make the service look broken.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=5 CMD ["shardrive", "health"]

ENTRYPOINT ["shardrive"]
CMD ["serve"]
