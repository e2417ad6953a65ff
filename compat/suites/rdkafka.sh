# The own tests of the crate rdkafka, which is librdkafka. They want node.id 0, num.partitions=3 and port 9092. Needs cargo, a C
# compiler, cmake and zlib's headers.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export KAFKA_HOST=$addr KAFKA_VERSION=3.9.0
crate_tests rdkafka 0.39.0
exit 0
