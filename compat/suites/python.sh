# aiokafka and confluent-kafka (librdkafka) from Python: python/check.py; then confluent-kafka-python's own integration tests of
# consumers, under both group protocols. Needs Python 3.9 with venv, and pip's packages; its own tests want a copy of its
# repository as well: the one that CONFLUENT_TESTS names, or a clone.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
venv=$CACHE/venv packages=(aiokafka==0.14.0 cramjam==2.14.0 confluent-kafka==2.16.1)
if ! "$venv/bin/python" -c 'import aiokafka, cramjam, confluent_kafka' 2>/dev/null; then
  why=$({ python3 -m venv "$venv" && timeout 600 "$venv/bin/pip" install -q "${packages[@]}"; } 2>&1) ||
    skip_suite "python: its packages cannot be installed: $(tail -1 <<< "$why")"
fi
"$venv/bin/python" "$here/python/check.py" "$addr"

own=confluent-kafka-python source=${CONFLUENT_TESTS:-$CACHE/confluent-kafka-python}
[[ -z ${ONLY:-} || $own =~ $ONLY || $ONLY == *$own* ]] || exit 0
if [ ! -d "$source" ]; then
  why=$(GIT_TERMINAL_PROMPT=0 timeout 120 git clone -q --depth 1 --branch v2.15.0 https://github.com/confluentinc/$own "$source" 2>&1) ||
    skip_suite "$own: its own tests cannot be cloned: $(tail -1 <<< "$why")"
fi
packages=(pytest pytest-asyncio trivup requests authlib cachetools httpx attrs avro fastavro jsonschema protobuf orjson)
if ! "$venv/bin/python" -c 'import pytest, pytest_asyncio, trivup, authlib, avro, fastavro, jsonschema, orjson' 2>/dev/null; then
  why=$(timeout 600 "$venv/bin/pip" install -q "${packages[@]}" 2>&1) ||
    skip_suite "$own: what its own tests need cannot be installed: $(tail -1 <<< "$why")"
fi
own_directory; cp -r "$source/tests" .        # the tests alone: beside them lies a package of the same name that is not built
export BROKERS=$addr PYTHONPATH=$here/python PYTHONDONTWRITEBYTECODE=1
for protocol in classic consumer; do
  TEST_CONSUMER_GROUP_PROTOCOL=$protocol timeout 600 "$venv/bin/python" -m pytest -p own_tests -p no:cacheprovider -p no:terminal \
    -o asyncio_default_fixture_loop_scope=function tests/integration/consumer
done
exit 0
