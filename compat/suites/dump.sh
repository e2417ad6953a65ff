# Kafka's DumpLogSegments over the segments that the broker wrote: it has to find no fault, and the records, in order.
# Needs Java 17 and Kafka's jars, and the broker's data directory in BROKER_DATA.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ -n "${BROKER_DATA:-}" ] || skip_suite "dump: BROKER_DATA does not name the broker's data directory"
kafka_libs dump; own_directory; quiet_log4j log4j2.properties
t=dump-$(date +%s) records=12000 T=org.apache.kafka.tools
# Numbered lines that do not compress away: line n is the value at offset n - 1.
paste -d' ' <(seq $records) <(base64 -w 900 /dev/urandom | head -n $records) > values

check() {  # NAME COMMAND…
  local name="dump: $1" start=$EPOCHREALTIME out code; shift
  wanted "$name" || return
  out=$("$@" 2>&1); code=$?
  report "$name" "$start" $code "$out"
}
logs_of() {  # TOPIC: the directory of its segments, which Ottla names by log id, and Kafka by topic and partition
  find "$BROKER_DATA" \( -path '*/logs/*' -newer "$1" -o -path "*/$1-0/*" \) -name '*.log' | xargs -r dirname | sort -u
}
dump() {  # OPTION…: DumpLogSegments over $segments, failing if it names a fault
  local files; files=$(IFS=,; echo "${segments[*]}")
  tool $T.DumpLogSegments --files "$files" "$@" > dumped || { tail -3 dumped; return 1; }
  # With --deep-iteration it takes the first record of a segment for a gap: "-1 is followed by 4556".
  ! grep -v '^| offset' dumped | grep -m3 -iE 'isvalid: false|mismatch|exception|error|not found|out of order|^ *[0-9]+ is followed by|corrupt|truncat|invalid'
}
produce() {  # TOPIC CODEC: the values into one partition with segments of 4 MiB; waits until the flusher has nothing to do
  : > "$1"
  tool $T.TopicCommand --bootstrap-server "$addr" --create --topic "$1" --partitions 1 --config segment.bytes=4194304 >/dev/null &&
  tool $T.ConsoleProducer --bootstrap-server "$addr" --topic "$1" --compression-codec "$2" < values || return
  local before=-1 now i
  for i in $(seq 60); do
    directory=$(logs_of "$1" | tail -1)
    now=$(du -sb "$directory" | cut -f1)
    [ "$now" = "$before" ] && break
    before=$now; sleep 1
  done
  [ -n "$directory" ] || { echo "no segments in $BROKER_DATA"; return 1; }
  echo "$directory" > "$1"
}
each() { segments=("$(cat "$1")"/*."$2"); [ -s "${segments[0]}" ] || { echo "no .$2 in $(cat "$1")"; return 1; }; }
several_segments() { each "$1" log && [ ${#segments[@]} -ge 2 ] || { echo "${#segments[@]} segment"; return 1; }; }
batches() {  # the batches follow each other from offset 0, and hold all but a tail that is not in segments yet
  each "$1" log && dump || return
  awk '/^baseOffset: / { if ($2 != next_) { print "batch at " $2 ", want " next_; bad = 1 } next_ = $4 + 1; n++ }
       END { if (n < 3 || next_ < '$((records * 3 / 4))') { print n " batches up to " next_; bad = 1 } exit bad }' dumped
}
payloads() {
  each "$1" log && dump --deep-iteration --print-data-log || return
  sed -n 's/.* payload: //p' dumped > payloads
  head -n "$(wc -l < payloads)" values | cmp - payloads && [ "$(wc -l < payloads)" -ge $((records * 3 / 4)) ]
}
offset_indexes() { each "$1" index && dump --index-sanity-check && dump --verify-index-only && dump && grep -q 'offset: [1-9]' dumped; }
time_indexes() { each "$1" timeindex && dump && grep -q 'timestamp: [1-9]' dumped; }

for codec in none zstd; do
  check "$codec: produce 11 MB" produce "$t-$codec" $codec
  check "$codec: several segments" several_segments "$t-$codec"
  check "$codec: batches are whole and in order" batches "$t-$codec"
  check "$codec: records are those produced" payloads "$t-$codec"
  check "$codec: offset indexes" offset_indexes "$t-$codec"
  check "$codec: time indexes" time_indexes "$t-$codec"
done
exit 0
