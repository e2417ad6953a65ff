# A rolling test of consumer groups (rolling/main.go says what it does): members come, go and are killed, and the broker is killed
# and started again. It starts brokers itself: the binary that OTTLA names, or the program in ROLLING_BROKER, which is given a
# directory, a port and settings, and is a broker there until it is killed. Two phases of five minutes; of five seconds with
# ROLLING_QUICK=1. ROLLING has options for it, such as '-seed 7'. Needs Go and its modules.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v go >/dev/null || skip_suite "rolling: go is not installed"
[ -n "${OTTLA:-}${ROLLING_BROKER:-}" ] || skip_suite "rolling: it starts brokers itself; ROLLING_BROKER names a program for it"
cd "$here/rolling" || exit 1
why=$(timeout 600 go mod download 2>&1) || skip_suite "rolling: its modules cannot be fetched: $(tail -1 <<< "$why")"
go build -o "$CACHE/rolling" . || exit 1

seconds=6 options=()
if [ -n "${ROLLING_QUICK:-}" ]; then seconds=2 options=(-duration 5s -members 8 -restarts 2); fi
ms=$((seconds * 1000)) beat=$((seconds * 1000 / 12))
settings=(group.min.session.timeout.ms=$ms group.consumer.session.timeout.ms=$ms group.consumer.heartbeat.interval.ms=$beat)
kafka_settings=(group.consumer.min.session.timeout.ms=$ms group.consumer.min.heartbeat.interval.ms=$beat)  # which forbid less by default
own_directory
if [ -n "${ROLLING_BROKER:-}" ]; then
  printf '#!/bin/sh\nexec %s "$1" "$2"%s\n' "$ROLLING_BROKER" "$(printf ' %s' "${settings[@]}" "${kafka_settings[@]}")"
else
  printf '#!/bin/sh\nexec "%s" serve --data "$1/data" --listen "127.0.0.1:$2"%s\n' "$OTTLA" "$(printf ' --set %s' "${settings[@]}")"
fi > serve
chmod +x serve
"$CACHE/rolling" -serve "$dir/serve" -dir "$dir" -session ${seconds}s "${options[@]}" ${ROLLING:-}; code=$?
for log in */broker.log; do
  phase=$(dirname "$log")
  panic=$(grep -m1 'panicked at' "$log") && result FAIL 0 "rolling: $phase: the broker does not panic: $panic"
  mv "$log" "$CACHE/logs/rolling-$phase.broker"
done
[ $code -le 1 ]                                                             # 1: the lines above say what failed
