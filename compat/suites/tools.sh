# Apache Kafka's own command-line programs (with the flags of 4.2 and later), each checked by its output. Needs Java 17 and
# Kafka's jars; takes a few minutes, since each check starts Java.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
kafka_libs tools; own_directory; quiet_log4j log4j2.properties
t=tools-$(date +%s) T=org.apache.kafka.tools b=(--bootstrap-server "$addr")

check() {  # NAME PATTERN COMMAND…: the command's output has to match the (extended) pattern, or to be nothing
  local name="tools: $1" want=$2 start=$EPOCHREALTIME out; shift 2
  wanted "$name" || return
  out=$("$@")
  if [ "$want" = nothing ]; then [ -z "$(tr -d ' >\n' <<< "$out")" ]; else grep -qzE -- "$want" <<< "$out"; fi
  report "$name" "$start" $? "$out"
}
topic()   { tool $T.TopicCommand "${b[@]}" "$@"; }
groups()  { tool $T.consumer.group.ConsumerGroupCommand "${b[@]}" "$@"; }
config()  { tool kafka.admin.ConfigCommand "${b[@]}" "$@"; }
offsets() { tool $T.GetOffsetShell "${b[@]}" --topic "$t" "$@"; }
consume() { tool $T.consumer.ConsoleConsumer "${b[@]}" --topic "$t" --timeout-ms 8000 "$@"; }
produce() {  # OPTION…: a hundred records of one key, so that all go to one partition
  seq 1 100 | sed 's/^/k:/' | tool $T.ConsoleProducer "${b[@]}" --topic "$t" --reader-property parse.key=true --reader-property key.separator=: "$@"
}
partition() { offsets | sed -n "s/^$t:\([0-9]*\):[1-9].*/\1/p" | head -1; }  # the one that has them
consume_partition() { consume --partition "$(partition)" "$@"; }
perf()    { tool $T.ProducerPerformance --bootstrap-server "$addr" --topic "$t-perf" --record-size 100 --throughput -1 "$@"; }
broker_config() { config --describe --entity-type brokers --all --entity-name "$(tool $T.BrokerApiVersionsCommand "${b[@]}" | sed -n 's/.*id: \([0-9]*\) .*/\1/p' | head -1)"; }
delete_records() {
  echo "{\"version\":1,\"partitions\":[{\"topic\":\"$t\",\"partition\":$(partition),\"offset\":150}]}" > del.json
  tool $T.DeleteRecordsCommand "${b[@]}" --offset-json-file del.json
}
verifiable_consumer() { tool $T.VerifiableConsumer "${b[@]}" --topic "$t-ver" --group-id "$t-v$1" --group-protocol "$1" --reset-policy earliest --max-messages 300; }
members=()
member() {  # GROUP PROTOCOL: a console consumer in the group, until end_members
  (EXEC=exec LIMIT=600 tool $T.consumer.ConsoleConsumer "${b[@]}" --topic "$t" --group "$1" --command-property group.protocol="$2") >/dev/null & members+=($!)
  for _ in $(seq 20); do groups --describe --group "$1" --state | grep -q Stable && return; done
}
end_members() { [ ${#members[@]} -eq 0 ] || { kill "${members[@]}"; wait "${members[@]}"; members=(); }; }
trap 'end_members; rm -rf "$dir"' EXIT
export_reset() {  # the offsets of the group, written to a file and set from it
  groups --reset-offsets --group "$t-g" --topic "$t" --to-earliest --dry-run --export | grep "^$t," > plan.csv || { cat plan.csv; return 1; }
  groups --reset-offsets --group "$t-g" --from-file plan.csv --execute
}
client_compatibility() {  # it creates the topic "newtopic" itself
  topic --delete --topic newtopic >/dev/null; topic --create --topic "$t-compat" --partitions 1 >/dev/null
  tool $T.ClientCompatibilityTest "${b[@]}" --topic "$t-compat" --offsets-for-times-supported true --cluster-id-supported true \
    --expect-record-too-large-exception false --num-cluster-nodes 1 --create-topics-supported true --describe-acls-supported true \
    --describe-configs-supported true --idempotent-producer-supported true
}
copier() {
  topic --create --topic "$t-in" --partitions 1 >/dev/null; topic --create --topic "$t-out" --partitions 1 >/dev/null
  seq 1 100 | tool $T.ConsoleProducer "${b[@]}" --topic "$t-in" >/dev/null
  tool $T.TransactionalMessageCopier --broker-list "$addr" --input-topic "$t-in" --output-topic "$t-out" --input-partition 0 \
    --transaction-size 20 --transactional-id "$t-copy" --consumer-group "$t-copy" --max-messages 100
}
copied()  { tool $T.consumer.ConsoleConsumer "${b[@]}" --topic "$t-out" --from-beginning --isolation-level read_committed --max-messages 100 --timeout-ms 8000; }

check "BrokerApiVersionsCommand" 'id: [0-9]+ .*Produce\(0\):.*ApiVersions\(18\)' tool $T.BrokerApiVersionsCommand "${b[@]}"
check "FeatureCommand describe" 'Feature: metadata.version.*FinalizedVersionLevel' tool $T.FeatureCommand "${b[@]}" describe
check "ClusterTool cluster-id" 'Cluster ID: .+' tool $T.ClusterTool cluster-id "${b[@]}"
check "topics: create" "Created topic $t" topic --create --topic "$t" --partitions 2 --config retention.ms=3600000
check "topics: create again" 'already exists' topic --create --topic "$t"
check "topics: create, unknown config" 'Unknown topic config' topic --create --topic "$t-bad" --config no.such=1
check "topics: list" "$t" topic --list
check "topics: describe" "PartitionCount: 2.*retention.ms=3600000.*Partition: 1.*Leader: [0-9]+" topic --describe --topic "$t"
check "topics: alter partitions" nothing topic --alter --topic "$t" --partitions 3
check "topics: describe after the alter" 'PartitionCount: 3' topic --describe --topic "$t"
check "console producer" nothing produce
check "console producer: zstd, acks all" nothing produce --compression-codec zstd --command-property acks=all
check "console consumer: subscribed, 200 with keys" 'k-100.*Processed a total of 200 messages' consume --from-beginning --max-messages 200 --formatter-property print.key=true --formatter-property key.separator=-
check "console consumer: group" 'Processed a total of 200 messages' consume --from-beginning --max-messages 200 --group "$t-g" --command-property enable.auto.commit=true
check "console consumer: KIP-848 group" 'Processed a total of 200 messages' consume --from-beginning --max-messages 200 --group "$t-c" --command-property group.protocol=consumer
check "console consumer: by partition, with keys" 'k-100.*Processed a total of 200 messages' consume_partition --offset earliest --max-messages 200 --formatter-property print.key=true --formatter-property key.separator=-
check "console consumer: by partition, from an offset" '^100.*Processed a total of 101 messages' consume_partition --offset 99 --max-messages 101
check "get offsets: latest" "$t:[0-2]:200" offsets
check "get offsets: earliest" "$t:1:0" offsets --time earliest
check "get offsets: by time" "$t:[0-2]:0" offsets --time 1000
check "groups: list (GroupsCommand)" "$t-g +Classic" tool $T.GroupsCommand "${b[@]}" --list
check "groups: list, KIP-848 (GroupsCommand)" "$t-c +Consumer +consumer" tool $T.GroupsCommand "${b[@]}" --list --group-type consumer
check "consumer groups: list with state" "$t-g +Classic +Empty|$t-g +Empty" groups --list --state
check "consumer groups: list by type" "$t-c +Consumer" groups --list --type consumer
check "consumer groups: describe" "$t-g +$t +[0-2] +200 +200 +0" groups --describe --group "$t-g"
check "consumer groups: describe, KIP-848" "$t-c +$t +[0-2] +200 +200 +0" groups --describe --group "$t-c"
check "consumer groups: describe state" 'Empty' groups --describe --group "$t-g" --state
check "consumer groups: describe a group that is not" 'GroupIdNotFoundException' groups --describe --group "$t-none"
check "consumer groups: reset offsets, dry run" "$t-g +$t +[0-2] +0" groups --reset-offsets --group "$t-g" --topic "$t" --to-earliest --dry-run
check "consumer groups: reset offsets, from a file" "$t-g +$t +[0-2] +0" export_reset
check "consumer groups: reset offsets, to latest" "$t-g +$t +[0-2] +200" groups --reset-offsets --group "$t-g" --all-topics --to-latest --execute
check "consumer groups: reset offsets, to current" "$t-g +$t +[0-2] +200" groups --reset-offsets --group "$t-g" --all-topics --to-current --execute
check "consumer groups: reset offsets, by duration" "$t-g +$t +[0-2] +0" groups --reset-offsets --group "$t-g" --topic "$t" --by-duration PT1H --dry-run
check "consumer groups: reset offsets, to a time" "$t-g +$t +[0-2] +0" groups --reset-offsets --group "$t-g" --topic "$t" --to-datetime 2020-01-01T00:00:00.000 --dry-run
check "consumer groups: reset offsets, to an offset" "$t-c +$t +[0-2] +150" groups --reset-offsets --group "$t-c" --topic "$t" --to-offset 150 --execute
check "consumer groups: reset offsets, shift" "$t-g +$t +[0-2] +190" groups --reset-offsets --group "$t-g" --topic "$t" --shift-by -10 --execute
check "consumer groups: describe lag" " $t +[0-2] +190 +200 +10" groups --describe --group "$t-g"
check "console consumer: group goes on where it was set" '91.*100.*Processed a total of 10 messages' consume --max-messages 10 --group "$t-g"
check "consumer groups: delete offsets" 'Successful' groups --delete-offsets --group "$t-g" --topic "$t"
check "consumer groups: delete" 'was successful' groups --delete --group "$t-g"
check "consumer groups: delete, KIP-848" 'was successful' groups --delete --group "$t-c"
check "consumer groups: delete a group that is not" 'GroupIdNotFoundException' groups --delete --group "$t-none"
for protocol in classic consumer; do
  name="consumer groups: $protocol, with a member" g=$t-m$protocol
  not_yet "tools: $name: members" >/dev/null || [[ ! "tools: $name: members" =~ ${ONLY:-} ]] || member "$g" $protocol
  check "$name: members" "$g +[^ ]+ +/127.0.0.1 +console-consumer +[23] .*$t:0,1" groups --describe --group "$g" --members --verbose
  check "$name: state" "$g .*(range|uniform) +Stable .* 1" groups --describe --group "$g" --state --verbose
  check "$name: delete" 'GroupNotEmptyException' groups --delete --group "$g"
  check "$name: delete offsets" 'GroupSubscribedToTopicException' groups --delete-offsets --group "$g" --topic "$t"
  check "$name: reset offsets" 'current state is Stable' groups --reset-offsets --group "$g" --topic "$t" --to-earliest --execute
done
end_members                                                                 # which would create the topic anew when it is deleted
check "configs: describe topic, all" 'retention.ms=3600000.*DYNAMIC_TOPIC_CONFIG' config --describe --all --entity-type topics --entity-name "$t"
check "configs: alter topic" 'Completed updating config for topic' config --alter --entity-type topics --entity-name "$t" --add-config max.message.bytes=100000
check "configs: describe topic" 'max.message.bytes=100000.*DYNAMIC_TOPIC_CONFIG' config --describe --entity-type topics --entity-name "$t"
check "configs: delete topic config" 'Completed updating config' config --alter --entity-type topics --entity-name "$t" --delete-config max.message.bytes
check "configs: describe broker, all" 'num.partitions=' broker_config
check "configs: client quota" 'Completed updating config for client' config --alter --entity-type clients --entity-name "$t" --add-config producer_byte_rate=1000000
check "configs: describe client quota" 'producer_byte_rate=1000000' config --describe --entity-type clients --entity-name "$t"
check "log dirs" "\"partition\":\"$t-[0-2]\",\"size\":[1-9]" tool $T.LogDirsCommand "${b[@]}" --describe --topic-list "$t"
check "delete records" 'low_watermark: 150' delete_records
check "consume after delete records" 'Processed a total of 50 messages' consume --from-beginning --max-messages 50
check "producer performance" '5000 records sent' perf --num-records 5000
check "producer performance: transactions" '2000 records sent' perf --num-records 2000 --transaction-duration-ms 100 --transactional-id "$t-tp"
check "consumer performance" 'start.time.*[0-9]{4}-.*, [5-7][0-9]{3},' tool $T.ConsumerPerformance "${b[@]}" --topic "$t-perf" --num-records 5000 --timeout 20000
check "end-to-end latency" 'Avg latency: [0-9.]+ ms' tool $T.EndToEndLatency "${b[@]}" --topic "$t-e2e" --num-records 200 --producer-acks all --record-size 64
check "transactions: list" "$t-tp.*CompleteCommit" tool $T.TransactionsCommand "${b[@]}" list
check "transactions: describe" 'CompleteCommit' tool $T.TransactionsCommand "${b[@]}" describe --transactional-id "$t-tp"
check "verifiable producer" '"acked":300' tool $T.VerifiableProducer "${b[@]}" --topic "$t-ver" --max-messages 300
for protocol in classic consumer; do
  check "verifiable consumer, $protocol" '"name":"offsets_committed".*"offset":300.*"name":"shutdown_complete"' verifiable_consumer $protocol
done
check "client compatibility test" 'SUCCESS' client_compatibility
check "transactional message copier" '"remaining":"?0' copier
check "read_committed copy" 'Processed a total of 100 messages' copied
check "topics: delete" nothing topic --delete --topic "$t"
check "topics: describe the deleted" 'does not exist' topic --describe --topic "$t"
exit 0
