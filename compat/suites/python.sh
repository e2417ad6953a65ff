# aiokafka and confluent-kafka (librdkafka) from Python: python/check.py. Needs Python 3.9 with venv, and pip's packages.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
venv=$CACHE/venv packages=(aiokafka==0.14.0 cramjam==2.14.0 confluent-kafka==2.16.1)
if ! "$venv/bin/python" -c 'import aiokafka, cramjam, confluent_kafka' 2>/dev/null; then
  why=$({ python3 -m venv "$venv" && timeout 600 "$venv/bin/pip" install -q "${packages[@]}"; } 2>&1) ||
    skip_suite "python: its packages cannot be installed: $(tail -1 <<< "$why")"
fi
"$venv/bin/python" "$here/python/check.py" "$addr"
