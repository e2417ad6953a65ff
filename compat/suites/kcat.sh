# kcat, Debian's command-line client over librdkafka: producing, reading, metadata, codecs, offsets by time, groups,
# transactions. Takes kcat from apt where it is missing. Topics must be created by their first use, with 4 partitions.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
if ! command -v kcat >/dev/null; then
  why=$({ timeout 300 apt-get install -y -q kcat || { timeout 120 apt-get update -q && timeout 300 apt-get install -y -q kcat; }; } 2>&1) ||
    skip_suite "kcat: not installed, and apt-get cannot install it: $(tail -1 <<< "$why")"
fi
own_directory
t=kcat-$(date +%s)-$$
seq 1 100 > lines

kc() { timeout 60 kcat -b "$addr" "$@" 2>>err; }
check() {  # NAME COMMAND…
  local name="kcat: $1" start=$EPOCHREALTIME out code; shift
  wanted "$name" || return
  : > err
  out=$("$@" 2>&1); code=$?
  report "$name" "$start" $code "$out $(tail -2 err)"
}
same() { [ "$1" = "$2" ] || { echo "got '${1:0:150}', want '${2:0:150}'"; return 1; }; }
all_of() { kc -C -t "$1" -p 0 -e -q -o beginning "${@:2}"; }                # TOPIC OPTION…: what partition 0 holds
round_trip() { kc -P -t "$1" -p 0 -l lines "${@:2}" && same "$(all_of "$1")" "$(cat lines)"; }

keys_headers() {
  printf 'k1:v1\nk2:v2\n' > kv
  kc -P -t "$t-kv" -p 0 -K: -H a=1 -H b=zwei -l kv &&
    same "$(all_of "$t-kv" -f '%p %o %k=%s [%h] %S\n')" $'0 0 k1=v1 [a=1,b=zwei] 2\n0 1 k2=v2 [a=1,b=zwei] 2'
}
json_envelope() {
  all_of "$t-kv" -J | python3 -c 'import json, sys
m = [json.loads(l) for l in sys.stdin]
assert len(m) == 2 and m[1]["key"] == "k2" and m[1]["headers"] == ["a", "1", "b", "zwei"] and m[1]["tstype"] == "create", m'
}
null_value() { printf 'k:\n' > nul; kc -P -t "$t-nul" -p 0 -K: -Z -l nul && same "$(all_of "$t-nul" -Z -f '%k %s %S\n')" "k NULL -1"; }
large() {  # 900 KB in one record
  head -c 675000 /dev/urandom | base64 -w 0 > big
  kc -P -t "$t-big" -p 0 big && all_of "$t-big" -D '' | cmp - big
}
metadata_json() {
  kc -L -J -t "$t" | python3 -c 'import json, sys
m = json.load(sys.stdin)
t = m["topics"][0]
assert t["topic"] == sys.argv[1] and t["partitions"][0]["leader"] == m["brokers"][0]["id"] and m["brokers"][0]["name"], m' "$t"
}
metadata_all() { kc -L | grep -q "topic \"$t\" with"; }
end_offsets() { same "$(kc -Q -t "$t:0:-1")" "$t [0] offset 100" && same "$(kc -Q -t "$t:0:-2")" "$t [0] offset 0"; }
offsets_by_time() {
  kc -P -t "$t-time" -p 0 <<< one; sleep 1; date +%s%3N > mid; sleep 1; kc -P -t "$t-time" -p 0 <<< two
  same "$(kc -Q -t "$t-time:0:$(cat mid)")" "$t-time [0] offset 1" && same "$(kc -Q -t "$t-time:0:1000")" "$t-time [0] offset 0"
}
consume_from_time() { same "$(kc -C -t "$t-time" -p 0 -e -q -o "s@$(cat mid)")" two; }
from_offset() {
  same "$(kc -C -t "$t" -p 0 -e -q -o 98)" $'99\n100' && same "$(kc -C -t "$t" -p 0 -e -q -o -1)" 100 &&
    same "$(kc -C -t "$t" -p 0 -q -o beginning -c 2)" $'1\n2'
}
tail_end() {
  (sleep 3; kc -P -t "$t" -p 0 <<< late) & local late=$!
  same "$(kc -C -t "$t" -p 0 -q -o end -c 1)" late; local code=$?
  wait $late; return $code
}
spread() {
  for i in $(seq 500); do echo "k$i:v$i"; done > keyed
  kc -P -t "$t-many" -K: -l keyed && same "$(kc -C -t "$t-many" -e -q -f '%k:%s\n' | sort -u | wc -l)" 500 &&
    same "$(kc -C -t "$t-many" -e -q -f '%p\n' | sort -u | wc -l)" 4
}
transaction() {
  kc -P -t "$t-txn" -p 0 -X transactional.id="$t" -l lines && same "$(all_of "$t-txn" -X isolation.level=read_committed)" "$(cat lines)"
}
group() { kc -X auto.offset.reset=earliest -q -e -G "$t-g" "$t-many"; }
group_reads_all() { same "$(group | sort -u | wc -l)" 500; }
group_goes_on() { kc -P -t "$t-many" -p 0 <<< fresh; same "$(group)" fresh; }
owners() { grep 'rebalanced.*assign.*\[' err | grep -o 'memberid [^),]*' | sort -u | wc -l; }  # members that had partitions
group_of_two() {  # STRATEGY
  local m pids=()
  for m in one two; do
    kc -u -X auto.offset.reset=earliest -X partition.assignment.strategy="$1" -f '%p:%o\n' -G "$t-$1" "$t-many" > $m & pids+=($!)
  done
  for m in $(seq 60); do
    [ "$(cat one two | grep : | sort -u | wc -l)" -ge 501 ] && [ "$(owners)" -ge 2 ] && break
    sleep 0.25
  done
  kill "${pids[@]}"; wait "${pids[@]}"
  same "$(owners) with $(cat one two | grep : | sort -u | wc -l)" "2 with 501"
}

check "produce a file, read it" round_trip "$t"
check "keys and headers, formatted" keys_headers
check "JSON envelopes" json_envelope
check "null value" null_value
check "a record of 900 KB" large
check "metadata of a topic as JSON" metadata_json
check "metadata of all topics" metadata_all
check "-Q: first and end offset" end_offsets
check "-Q: offsets by timestamp" offsets_by_time
check "read from a timestamp" consume_from_time
check "read from an offset, from the end, -c" from_offset
check "read from the end: a later message" tail_end
for c in gzip snappy lz4 zstd; do check "codec $c" round_trip "$t-$c" -z "$c"; done
for a in 0 1 all; do check "acks $a" round_trip "$t-acks$a" -X acks=$a; done
check "idempotent producer" round_trip "$t-idem" -X enable.idempotence=true
check "500 keys over all partitions" spread
check "transactional producer, read_committed" transaction
check "group: reads all" group_reads_all
check "group: goes on at its offset" group_goes_on
check "group: two members (range)" group_of_two range
check "group: two members (cooperative-sticky)" group_of_two cooperative-sticky
exit 0
