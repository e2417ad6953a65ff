# The own tests of the crate rskafka. They want auto.create.topics.enable=false. Those that read through rdkafka use a group,
# and those that use Kafka's Java client return early. Needs cargo, a C compiler, cmake.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export TEST_INTEGRATION=1 TEST_BROKER_IMPL=kafka KAFKA_CONNECT=$addr
CRATE_UPDATE=rsasl  # the one in its lock file does not compile with current Rust
crate_tests rskafka 0.6.0 --features full
exit 0
