# Our own client against a broker: crates/client/tests/broker.rs, which runs against Ottla in `cargo test`. With --broker it
# runs against Apache Kafka: 4.3, or an older one (KAFKA_VERSION=3.9.1 compat/kafka/start.sh). Needs cargo.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$here/../.." || exit 1
# Ottla does not look offsets up by time yet.
[ -z "${NOT_YET:-}" ] || export OTTLA_BROKER_LACKS=offsets-by-time
OTTLA_BROKER=$addr cargo test --color never -p ottla-client --test broker 2>&1
exit 0
