# Kafka Connect, standalone: a file's lines go to a topic and from it to another file, with the worker stopped, and killed, in
# between. The source keeps its offsets in a file, the sink in the offsets of a consumer group. Needs Java 17 and Kafka's jars.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
kafka_libs connect; own_directory; quiet_log4j log4j2.properties
t=connect-$(date +%s)
printf '%s\n' bootstrap.servers="$addr" listeners=http://127.0.0.1:0 offset.storage.file.filename="$dir/offsets" \
  offset.flush.interval.ms=500 {key,value}.converter=org.apache.kafka.connect.storage.StringConverter plugin.discovery=only_scan > worker
printf '%s\n' name=source connector.class=org.apache.kafka.connect.file.FileStreamSourceConnector file="$dir/in" topic="$t" \
  topic.creation.default.{partitions=1,replication.factor=1} > source
printf '%s\n' name="$t" connector.class=org.apache.kafka.connect.file.FileStreamSinkConnector file="$dir/out" topics="$t" \
  consumer.override.{session.timeout.ms=6000,heartbeat.interval.ms=500} > sink
: > in; worker=
trap '[ -z "$worker" ] || kill -KILL $worker 2>/dev/null; rm -rf "$dir"' EXIT

check() {  # NAME COMMAND…
  local name="connect: $1" start=$EPOCHREALTIME out code; shift
  wanted "$name" || return
  "$@" > said 2>&1; code=$?                                                 # not in a subshell: it may start or end the worker
  report "$name" "$start" $code "$(cat said) $(tail -3 log)"
}
start_worker() {
  java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$libs/*" -Dlog4j2.configurationFile="$dir/log4j2.properties" \
    org.apache.kafka.connect.cli.ConnectStandalone worker source sink >> log 2>&1 &
  worker=$!
}
end_worker() { kill -"$1" $worker; wait $worker 2>/dev/null; worker=; }     # SIGNAL
lines() { seq "$1" "$2" | sed 's/^/line /'; }
arrives() {  # LAST: until the sink's file has that line
  for _ in $(seq 300); do
    grep -qx "line $1" out 2>/dev/null && return
    kill -0 $worker 2>/dev/null || { worker=; echo "the worker ended"; return 1; }
    sleep 0.2
  done
  echo "not there after 60 s: line $1; $(wc -l < out) lines are"; return 1
}
same() { diff <(lines 1 "$1") out | head -3; cmp -s <(lines 1 "$1") out; }  # LAST
pass() { start_worker; lines 1 1000 >> in; arrives 1000 && same 1000; }
pass_later() { lines 1001 1100 >> in; arrives 1100 && same 1100; }
restart() { end_worker TERM; lines 1101 1200 >> in; start_worker; arrives 1200 && same 1200; }
kill_and_restart() {
  lines 1201 1300 >> in; arrives 1300 || return
  end_worker KILL; lines 1301 1400 >> in; start_worker
  arrives 1400 && [ "$(sort -u out | wc -l)" = 1400 ] || { echo "$(sort -u out | wc -l) different lines of 1400"; return 1; }
}
no_lag() {
  end_worker TERM
  tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$addr" --describe --group "connect-$t" > described
  awk '$2 == "'"$t"'" { n++; if ($4 != $5 || $6 != 0 || $5 < 1400) bad = 1 } END { exit bad || n != 1 }' described || { cat described; return 1; }
}

check "a file's lines go through a topic to a file" pass
check "later lines too" pass_later
check "a stopped worker goes on where it was" restart
check "a killed worker leaves nothing out" kill_and_restart
check "the sink's group has no lag" no_lag
exit 0
