# kafkajs (kafkajs/check.js) and @confluentinc/kafka-javascript, which is librdkafka (kafkajs/confluent.js). Needs Node 18
# and npm's packages; the second also what its native part is built from: a C++ compiler and the headers of librdkafka's
# libraries. Where it cannot be built, its checks are skipped.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v node >/dev/null && command -v npm >/dev/null || skip_suite "kafkajs: node and npm are not installed"
modules=$CACHE/node; mkdir -p "$modules"; cp "$here"/kafkajs/*.js "$modules"; cd "$modules" || exit 1
[ -f package.json ] || echo '{"private": true}' > package.json
install() { timeout 900 npm install --no-fund --no-audit "$1" 2>&1; }

if [ -d node_modules/kafkajs ] || why=$(install kafkajs@2.2.4); then KAFKAJS_NO_PARTITIONER_WARNING=1 node check.js "$addr"
else result SKIP 0 "kafkajs: it cannot be installed: $(grep -m1 ERR <<< "$why")"; fi

[[ -z ${ONLY:-} || "confluent-kafka-javascript: " =~ $ONLY ]] || exit 0
if node -e 'require("@confluentinc/kafka-javascript")' 2>/dev/null ||
  why=$(CKJS_LINKING=dynamic install @confluentinc/kafka-javascript@1.10.1); then node confluent.js "$addr"
else result SKIP 0 "confluent-kafka-javascript: it cannot be installed: $(grep -m1 -E 'ERR|rror' <<< "$why")"; fi
exit 0
