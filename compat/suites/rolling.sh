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
settings=() ms=$((seconds * 1000))
for setting in group.initial.rebalance.delay.ms=0 group.{min.,consumer.{,min.}}session.timeout.ms=$ms \
  group.consumer.{,min.}heartbeat.interval.ms=$((ms / 12)); do settings+=("$setting"); done
own_directory
if [ -n "${ROLLING_BROKER:-}" ]; then printf '#!/bin/sh\nexec %s "$1" "$2"%s\n' "$ROLLING_BROKER" "$(printf ' %s' "${settings[@]}")"
else printf '#!/bin/sh\nexec "%s" serve --data "$1/data" --listen "127.0.0.1:$2"%s\n' "$OTTLA" "$(printf ' --set %s' "${settings[@]}")"; fi > serve
chmod +x serve
"$CACHE/rolling" -serve "$dir/serve" -dir "$dir" -session ${seconds}s "${options[@]}" ${ROLLING:-}
for phase in kills leaves; do [ ! -f $phase/broker.log ] || mv $phase/broker.log "$CACHE/logs/rolling-$phase.broker"; done
exit 0                                                                      # the lines above say what failed
