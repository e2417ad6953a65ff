// Checks a broker through the public API of IBM/sarama (and zap logging through sarama): go run . ADDR [PROTOCOL-VERSION…]
// Prints 'PASS|FAIL|SKIP SECONDS NAME' per check, for the protocol versions 2.8.0 (sarama's default) and 4.3.1. The
// environment says which checks to run: ONLY, and the list in the file that NOT_YET names.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

var (
	addrs   []string
	version sarama.KafkaVersion
	run     = fmt.Sprint(time.Now().UnixNano())
)

func main() {
	addrs = strings.Split(os.Args[1], ",")
	versions := os.Args[2:]
	if len(versions) == 0 {
		versions = []string{"2.8.0", "4.3.1"}
	}
	for _, v := range versions {
		var err error
		if version, err = sarama.ParseKafkaVersion(v); err != nil {
			panic(err)
		}
		run = fmt.Sprint(time.Now().UnixNano())
		all()
	}
}

func all() {
	check("sync producer: 200 messages, partitions and offsets", syncProducer)
	check("sync producer: SendMessages, hash partitioner", syncBatch)
	for _, acks := range []sarama.RequiredAcks{sarama.NoResponse, sarama.WaitForLocal, sarama.WaitForAll} {
		check(fmt.Sprintf("sync producer: acks %d", acks), func() error { return acked(acks) })
	}
	check("async producer: successes", asyncSuccesses)
	check("async producer: errors (message too large for the topic)", asyncErrors)
	check("produce: record with an old timestamp, key, headers, nil value", recordFields)
	check("partition consumer: oldest, newest, given offset", partitionConsumer)
	check("partition consumer: offset out of range", outOfRange)
	for _, c := range []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD} {
		check("compression "+c.String()+": both ways", func() error { return compression(c) })
	}
	check("client: first and last offset, leader, partitions, controller", clientQueries)
	check("client: offset by time", offsetByTime)
	check("group: two members, marks, auto-commit, rebalance", func() error { return group(sarama.NewBalanceStrategyRange()) })
	check("group: two members, sticky", func() error { return group(sarama.NewBalanceStrategySticky()) })
	check("group: restarted member goes on at the committed offset", groupResume)
	check("offset manager: mark, commit, read back", offsetManager)
	check("admin: create, list, describe, delete topic", adminTopics)
	check("admin: create errors (exists, bad name, replication factor)", adminCreateErrors)
	check("admin: topic configs: set, incremental, describe", adminConfigs)
	check("admin: broker configs", adminBrokerConfigs)
	check("admin: create partitions", adminPartitions)
	check("admin: delete records", adminDeleteRecords)
	check("admin: list, describe, delete group", adminGroups)
	check("admin: alter and delete group offsets", adminGroupOffsets)
	check("admin: describe cluster", adminCluster)
	check("admin: log dirs", adminLogDirs)
	check("idempotent producer: 500 messages, once and in order", idempotent)
	check("transactions: commit and abort, read_committed and read_uncommitted", transactions)
	check("transactions: consume, produce, AddMessageToTxn", consumeTransformProduce)
	check("transactions: second producer fences the first", fencing)
	check("zap: log lines through an async producer", zapLog)
}

// notYet returns the reason for which a check is skipped, or nothing.
func notYet(name string) string {
	list, _ := os.ReadFile(os.Getenv("NOT_YET"))
	for line := range strings.Lines(string(list)) {
		why, pattern, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if ok && !strings.HasPrefix(line, "#") && regexp.MustCompile("^("+pattern+")$").MatchString(name) {
			return why
		}
	}
	return ""
}

func check(name string, f func() error) {
	name = "sarama " + version.String() + ": " + name
	if !regexp.MustCompile(os.Getenv("ONLY")).MatchString(name) {
		return
	}
	if why := notYet(name); why != "" {
		fmt.Printf("SKIP 0 %s: %s\n", name, why)
		return
	}
	start, done := time.Now(), make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("panic: %v", p)
			}
		}()
		done <- f()
	}()
	var err error
	select {
	case err = <-done:
	case <-time.After(90 * time.Second):
		err = errors.New("not done in 90 s")
	}
	secs := time.Since(start).Seconds()
	if err != nil {
		fmt.Printf("FAIL %.2f %s: %s\n", secs, name, strings.ReplaceAll(err.Error(), "\n", " "))
	} else {
		fmt.Printf("PASS %.2f %s\n", secs, name)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func need(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf(format, args...))
	}
}

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = version
	c.ClientID = "compat"
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Consumer.Return.Errors = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Interval = 200 * time.Millisecond
	c.Metadata.Retry.Max, c.Metadata.Retry.Backoff = 20, 250*time.Millisecond
	return c
}

func admin() sarama.ClusterAdmin { return must(sarama.NewClusterAdmin(addrs, config())) }

var topics int

// topic creates a topic and waits until it has leaders.
func topic(partitions int32, configs map[string]string) string {
	topics++
	name := fmt.Sprintf("sarama-%s-%d", run, topics)
	entries := map[string]*string{}
	for k, v := range configs {
		entries[k] = &v
	}
	a := admin()
	defer a.Close()
	if err := a.CreateTopic(name, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: entries}, false); err != nil {
		panic(err)
	}
	for range 100 {
		if m := must(a.DescribeTopics([]string{name})); len(m) == 1 && m[0].Err == sarama.ErrNoError && len(m[0].Partitions) == int(partitions) {
			return name
		}
		time.Sleep(50 * time.Millisecond)
	}
	panic("topic " + name + " did not appear")
}

// send produces messages with values prefix0, prefix1, … to one partition.
func send(name string, partition int32, prefix string, n int) {
	c := config()
	c.Producer.Partitioner = sarama.NewManualPartitioner
	p := must(sarama.NewSyncProducer(addrs, c))
	defer p.Close()
	var msgs []*sarama.ProducerMessage
	for i := range n {
		msgs = append(msgs, &sarama.ProducerMessage{Topic: name, Partition: partition, Value: sarama.StringEncoder(fmt.Sprint(prefix, i))})
	}
	if err := p.SendMessages(msgs); err != nil {
		panic(err)
	}
}

// read returns n messages of a partition from an offset, or those that came within the wait after the last one.
func read(name string, partition int32, offset int64, n int, c *sarama.Config, wait time.Duration) (got []*sarama.ConsumerMessage) {
	consumer := must(sarama.NewConsumer(addrs, c))
	defer consumer.Close()
	pc := must(consumer.ConsumePartition(name, partition, offset))
	defer pc.Close()
	for len(got) < n {
		select {
		case m := <-pc.Messages():
			got = append(got, m)
		case err := <-pc.Errors():
			panic(err)
		case <-time.After(wait):
			return got
		}
	}
	return got
}

func values(msgs []*sarama.ConsumerMessage) (out []string) {
	for _, m := range msgs {
		out = append(out, string(m.Value))
	}
	return out
}

func numbered(prefix string, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprint(prefix, i))
	}
	return out
}

func syncProducer() error {
	t, c := topic(4, nil), config()
	c.Producer.Partitioner = sarama.NewRandomPartitioner
	p := must(sarama.NewSyncProducer(addrs, c))
	defer p.Close()
	next := map[int32]int64{}
	for i := range 200 {
		partition, offset, err := p.SendMessage(&sarama.ProducerMessage{Topic: t, Value: sarama.StringEncoder(fmt.Sprint(i))})
		if err != nil {
			return err
		}
		need(offset == next[partition], "partition %d: offset %d, want %d", partition, offset, next[partition])
		next[partition]++
	}
	need(len(next) == 4, "only %d partitions used", len(next))
	for partition, end := range next {
		need(len(read(t, partition, sarama.OffsetOldest, int(end), config(), 10*time.Second)) == int(end), "partition %d: messages missing", partition)
	}
	return nil
}

func syncBatch() error {
	t, p := topic(4, nil), must(sarama.NewSyncProducer(addrs, config()))
	defer p.Close()
	var msgs []*sarama.ProducerMessage
	for i := range 100 {
		msgs = append(msgs, &sarama.ProducerMessage{Topic: t, Key: sarama.StringEncoder(fmt.Sprint("k", i%10)), Value: sarama.StringEncoder("v")})
	}
	if err := p.SendMessages(msgs); err != nil {
		return err
	}
	at := map[string]int32{}
	for _, m := range msgs {
		k := string(m.Key.(sarama.StringEncoder))
		if before, seen := at[k]; seen {
			need(before == m.Partition, "key %s in two partitions", k)
		}
		at[k] = m.Partition
	}
	return nil
}

func acked(acks sarama.RequiredAcks) error {
	t, c := topic(1, nil), config()
	c.Producer.RequiredAcks = acks
	p := must(sarama.NewSyncProducer(addrs, c))
	defer p.Close()
	for i := range 20 {
		if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: t, Value: sarama.StringEncoder(fmt.Sprint("a", i))}); err != nil {
			return err
		}
	}
	need(slices.Equal(values(read(t, 0, 0, 20, config(), 10*time.Second)), numbered("a", 20)), "other messages than sent")
	return nil
}

func asyncSuccesses() error {
	t, p := topic(4, nil), must(sarama.NewAsyncProducer(addrs, config()))
	go func() {
		for i := range 5000 {
			p.Input() <- &sarama.ProducerMessage{Topic: t, Value: sarama.StringEncoder(fmt.Sprint(i)), Metadata: i}
		}
		p.AsyncClose()
	}()
	seen := map[int]bool{}
	for m := range p.Successes() {
		seen[m.Metadata.(int)] = true
	}
	for e := range p.Errors() {
		return e
	}
	need(len(seen) == 5000, "%d successes", len(seen))
	return nil
}

func asyncErrors() error {
	t, c := topic(1, map[string]string{"max.message.bytes": "2000"}), config()
	c.Producer.Flush.MaxMessages = 1 // one batch per message, so that only the large ones are refused
	p := must(sarama.NewAsyncProducer(addrs, c))
	go func() {
		for i := range 10 {
			p.Input() <- &sarama.ProducerMessage{Topic: t, Value: sarama.ByteEncoder(make([]byte, []int{10, 5000}[i%2]))}
		}
		p.AsyncClose()
	}()
	good, bad, succ, errs := 0, 0, p.Successes(), p.Errors()
	for succ != nil || errs != nil {
		select {
		case _, ok := <-succ:
			if !ok {
				succ = nil
				continue
			}
			good++
		case e, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			need(errors.Is(e.Err, sarama.ErrMessageSizeTooLarge), "error: %v", e.Err)
			bad++
		}
	}
	need(good == 5 && bad == 5, "%d successes, %d errors", good, bad)
	return nil
}

func recordFields() error {
	t, p := topic(1, nil), must(sarama.NewSyncProducer(addrs, config()))
	defer p.Close()
	at := time.Now().Add(-24 * time.Hour).Truncate(time.Millisecond)
	headers := []sarama.RecordHeader{{Key: []byte("h1"), Value: []byte("x")}, {Key: []byte("h1"), Value: []byte{0, 255}}, {Key: []byte("empty"), Value: []byte{}}}
	must2(p.SendMessage(&sarama.ProducerMessage{Topic: t, Key: sarama.StringEncoder("key"), Value: nil, Headers: headers, Timestamp: at}))
	m := read(t, 0, 0, 1, config(), 10*time.Second)
	need(len(m) == 1, "no message")
	need(string(m[0].Key) == "key" && m[0].Value == nil && m[0].Timestamp.Equal(at), "got %+v", m[0])
	need(len(m[0].Headers) == 3, "headers %v", m[0].Headers)
	for i, h := range m[0].Headers {
		need(bytes.Equal(h.Key, headers[i].Key) && bytes.Equal(h.Value, headers[i].Value), "header %d: %v", i, h)
	}
	return nil
}

func must2(_ int32, _ int64, err error) {
	if err != nil {
		panic(err)
	}
}

func partitionConsumer() error {
	t := topic(1, nil)
	send(t, 0, "m", 50)
	need(slices.Equal(values(read(t, 0, sarama.OffsetOldest, 50, config(), 10*time.Second)), numbered("m", 50)), "from oldest: not all")
	need(slices.Equal(values(read(t, 0, 40, 10, config(), 10*time.Second)), numbered("m", 50)[40:]), "from offset 40")
	consumer := must(sarama.NewConsumer(addrs, config()))
	defer consumer.Close()
	pc := must(consumer.ConsumePartition(t, 0, sarama.OffsetNewest))
	defer pc.Close()
	send(t, 0, "new", 1)
	select {
	case m := <-pc.Messages():
		need(m.Offset == 50 && string(m.Value) == "new0", "from newest: %+v", m)
	case <-time.After(10 * time.Second):
		return errors.New("from newest: nothing")
	}
	need(pc.HighWaterMarkOffset() == 51, "high watermark %d", pc.HighWaterMarkOffset())
	return nil
}

func outOfRange() error {
	t := topic(1, nil)
	send(t, 0, "m", 5)
	consumer := must(sarama.NewConsumer(addrs, config()))
	defer consumer.Close()
	_, err := consumer.ConsumePartition(t, 0, 1000)
	need(errors.Is(err, sarama.ErrOffsetOutOfRange), "got %v", err)
	return nil
}

func compression(codec sarama.CompressionCodec) error {
	t, c := topic(1, nil), config()
	c.Producer.Compression = codec
	c.Producer.Flush.Messages, c.Producer.Flush.Frequency = 100, 100*time.Millisecond
	p := must(sarama.NewSyncProducer(addrs, c))
	defer p.Close()
	var msgs []*sarama.ProducerMessage
	want := []string{}
	for i := range 300 {
		want = append(want, strings.Repeat(fmt.Sprint("value ", i, " "), 50))
		msgs = append(msgs, &sarama.ProducerMessage{Topic: t, Value: sarama.StringEncoder(want[i])})
	}
	if err := p.SendMessages(msgs); err != nil {
		return err
	}
	need(slices.Equal(values(read(t, 0, 0, 300, config(), 10*time.Second)), want), "other messages than sent")
	return nil
}

func clientQueries() error {
	t, client := topic(2, nil), must(sarama.NewClient(addrs, config()))
	defer client.Close()
	send(t, 1, "m", 10)
	need(must(client.GetOffset(t, 1, sarama.OffsetNewest)) == 10, "newest")
	need(must(client.GetOffset(t, 1, sarama.OffsetOldest)) == 0, "oldest")
	need(slices.Equal(must(client.Partitions(t)), []int32{0, 1}), "partitions")
	need(slices.Equal(must(client.WritablePartitions(t)), []int32{0, 1}), "writable partitions")
	need(must(client.Leader(t, 1)).Addr() != "" && must(client.Controller()).Addr() != "", "leader, controller")
	need(slices.Contains(must(client.Topics()), t), "topics")
	need(len(must(client.InSyncReplicas(t, 0))) == 1, "in-sync replicas")
	return nil
}

func offsetByTime() error {
	t, client := topic(2, nil), must(sarama.NewClient(addrs, config()))
	defer client.Close()
	send(t, 1, "m", 10)
	need(must(client.GetOffset(t, 1, time.Now().Add(-time.Hour).UnixMilli())) == 0, "an hour ago")
	return nil
}

// member is a group member: it marks what it reads and reports claims and values.
type member struct {
	mu     sync.Mutex
	claims []int32
	got    []string
	cancel context.CancelFunc
	done   chan struct{}
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range s.Claims() {
		m.claims = slices.Clone(p)
	}
	return nil
}
func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.claims = nil
	return nil
}
func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case msg, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			m.mu.Lock()
			m.got = append(m.got, string(msg.Value))
			m.mu.Unlock()
			s.MarkMessage(msg, "")
		case <-s.Context().Done():
			return nil
		}
	}
}
func (m *member) state() (claims, got int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.claims), len(m.got)
}
func (m *member) stop() { m.cancel(); <-m.done }

func join(groupID, t string, strategy sarama.BalanceStrategy) *member {
	c := config()
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	c.Consumer.Group.Session.Timeout, c.Consumer.Group.Heartbeat.Interval = 10*time.Second, 500*time.Millisecond
	g := must(sarama.NewConsumerGroup(addrs, groupID, c))
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{cancel: cancel, done: make(chan struct{})}
	go func() {
		for range g.Errors() {
		}
	}()
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{t}, m); err != nil {
				time.Sleep(100 * time.Millisecond)
			}
		}
		g.Close()
	}()
	return m
}

func until(what string, f func() bool) {
	for start := time.Now(); !f(); time.Sleep(50 * time.Millisecond) {
		need(time.Since(start) < 40*time.Second, "waited 40 s until %s", what)
	}
}

func group(strategy sarama.BalanceStrategy) error {
	t := topic(4, nil)
	id := "group-" + t
	for p := range int32(4) {
		send(t, p, fmt.Sprintf("p%d-", p), 25)
	}
	a := join(id, t, strategy)
	until("the first member has all partitions and messages", func() bool { c, n := a.state(); return c == 4 && n >= 100 })
	b := join(id, t, strategy)
	until("both members have two partitions", func() bool {
		ca, _ := a.state()
		cb, _ := b.state()
		return ca == 2 && cb == 2
	})
	for p := range int32(4) {
		send(t, p, fmt.Sprintf("second-p%d-", p), 25)
	}
	until("both members read", func() bool {
		_, na := a.state()
		_, nb := b.state()
		return na+nb >= 200 && nb > 0
	})
	b.stop()
	until("the first member has all partitions again", func() bool { c, _ := a.state(); return c == 4 })
	a.stop()
	all := append(a.got, b.got...)
	slices.Sort(all)
	all = slices.Compact(all)
	need(len(all) == 200, "%d different messages", len(all))
	ad := admin()
	defer ad.Close()
	until("all offsets are committed", func() bool {
		r := must(ad.ListConsumerGroupOffsets(id, map[string][]int32{t: {0, 1, 2, 3}}))
		for p := range int32(4) {
			if r.GetBlock(t, p).Offset != 50 {
				return false
			}
		}
		return true
	})
	return nil
}

func groupResume() error {
	t := topic(1, nil)
	send(t, 0, "a", 10)
	m := join("group-"+t, t, sarama.NewBalanceStrategyRange())
	until("ten messages read", func() bool { _, n := m.state(); return n == 10 })
	m.stop()
	send(t, 0, "b", 10)
	m = join("group-"+t, t, sarama.NewBalanceStrategyRange())
	until("ten more messages read", func() bool { _, n := m.state(); return n >= 10 })
	m.stop()
	need(slices.Equal(m.got, numbered("b", 10)), "after the restart: %v", m.got)
	return nil
}

func offsetManager() error {
	t, client := topic(1, nil), must(sarama.NewClient(addrs, config()))
	defer client.Close()
	om := must(sarama.NewOffsetManagerFromClient("om-"+t, client))
	pom := must(om.ManagePartition(t, 0))
	pom.MarkOffset(42, "note")
	om.Commit()
	pom.Close()
	om.Close()
	om = must(sarama.NewOffsetManagerFromClient("om-"+t, client))
	defer om.Close()
	pom = must(om.ManagePartition(t, 0))
	defer pom.Close()
	offset, note := pom.NextOffset()
	need(offset == 42 && note == "note", "read back %d %q", offset, note)
	return nil
}

func adminTopics() error {
	t, a := topic(3, map[string]string{"retention.ms": "60000"}), admin()
	defer a.Close()
	d, ok := must(a.ListTopics())[t]
	need(ok && d.NumPartitions == 3 && d.ReplicationFactor == 1, "listed: %+v", d)
	need(d.ConfigEntries["retention.ms"] != nil && *d.ConfigEntries["retention.ms"] == "60000", "listed config: %v", d.ConfigEntries)
	m := must(a.DescribeTopics([]string{t, "no-such-" + t}))
	need(len(m[0].Partitions) == 3 && len(m[0].Partitions[0].Replicas) == 1, "described: %+v", m[0])
	need(m[1].Err == sarama.ErrUnknownTopicOrPartition, "unknown topic: %v", m[1].Err)
	if err := a.DeleteTopic(t); err != nil {
		return err
	}
	until("the topic is gone", func() bool { _, still := must(a.ListTopics())[t]; return !still })
	err := a.DeleteTopic(t)
	need(errors.Is(err, sarama.ErrUnknownTopicOrPartition), "second delete: %v", err)
	return nil
}

func adminCreateErrors() error {
	t, a := topic(1, nil), admin()
	defer a.Close()
	create := func(name string, partitions int32, rf int16) error {
		return a.CreateTopic(name, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: rf}, false)
	}
	for _, c := range []struct {
		err, want error
	}{{create(t, 1, 1), sarama.ErrTopicAlreadyExists}, {create("bad name!", 1, 1), sarama.ErrInvalidTopic}, {create(t+"-rf", 1, 99), sarama.ErrInvalidReplicationFactor}, {create(t+"-p", 0, 1), sarama.ErrInvalidPartitions}} {
		need(errors.Is(c.err, c.want), "got %v, want %v", c.err, c.want)
	}
	if err := a.CreateTopic(t+"-dry", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, true); err != nil {
		return err
	}
	_, made := must(a.ListTopics())[t+"-dry"]
	need(!made, "validate-only made the topic")
	return nil
}

func adminConfigs() error {
	t, a := topic(1, nil), admin()
	defer a.Close()
	get := func(name string) sarama.ConfigEntry {
		for _, e := range must(a.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: t})) {
			if e.Name == name {
				return e
			}
		}
		panic("no config " + name)
	}
	need(get("cleanup.policy").Value == "delete" && get("cleanup.policy").Default, "default: %+v", get("cleanup.policy"))
	hour, bad := "3600000", "x"
	if err := a.AlterConfig(sarama.TopicResource, t, map[string]*string{"retention.ms": &hour}, false); err != nil {
		if err := a.IncrementalAlterConfig(sarama.TopicResource, t, map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &hour}}, false); err != nil {
			return err
		}
	}
	until("retention.ms is set", func() bool { e := get("retention.ms"); return e.Value == hour && !e.Default })
	if err := a.IncrementalAlterConfig(sarama.TopicResource, t, map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationDelete}}, false); err != nil {
		return err
	}
	until("retention.ms is back", func() bool { e := get("retention.ms"); return e.Value == "604800000" && e.Default })
	err := a.IncrementalAlterConfig(sarama.TopicResource, t, map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &bad}}, false)
	need(err != nil, "retention.ms=x was taken")
	return nil
}

func adminBrokerConfigs() error {
	a := admin()
	defer a.Close()
	brokers, _, err := a.DescribeCluster()
	if err != nil {
		return err
	}
	entries := must(a.DescribeConfig(sarama.ConfigResource{Type: sarama.BrokerResource, Name: fmt.Sprint(brokers[0].ID())}))
	need(slices.ContainsFunc(entries, func(e sarama.ConfigEntry) bool { return e.Name == "num.partitions" }), "no num.partitions in %d entries", len(entries))
	return nil
}

func adminPartitions() error {
	t, a := topic(1, nil), admin()
	defer a.Close()
	if err := a.CreatePartitions(t, 3, nil, false); err != nil {
		return err
	}
	until("three partitions", func() bool { return must(a.ListTopics())[t].NumPartitions == 3 })
	send(t, 2, "m", 1)
	need(a.CreatePartitions(t, 2, nil, false) != nil, "fewer partitions were taken")
	return nil
}

func adminDeleteRecords() error {
	t, a := topic(1, nil), admin()
	defer a.Close()
	send(t, 0, "m", 20)
	if err := a.DeleteRecords(t, map[int32]int64{0: 15}); err != nil {
		return err
	}
	need(slices.Equal(values(read(t, 0, sarama.OffsetOldest, 5, config(), 10*time.Second)), numbered("m", 20)[15:]), "other messages left")
	return nil
}

func adminGroups() error {
	t, a := topic(2, nil), admin()
	defer a.Close()
	id := "group-" + t
	m := join(id, t, sarama.NewBalanceStrategyRange())
	until("the member has its partitions", func() bool { c, _ := m.state(); return c == 2 })
	kind, listed := must(a.ListConsumerGroups())[id]
	need(listed && kind == "consumer", "listed: %v %q", listed, kind)
	d := must(a.DescribeConsumerGroups([]string{id}))[0]
	need(d.State == "Stable" && d.Protocol == "range" && len(d.Members) == 1, "described: %s %s %d members", d.State, d.Protocol, len(d.Members))
	for _, gm := range d.Members {
		need(gm.ClientId == "compat" && gm.ClientHost != "", "member %+v", gm)
		need(len(must(gm.GetMemberAssignment()).Topics[t]) == 2, "assignment")
	}
	need(errors.Is(a.DeleteConsumerGroup(id), sarama.ErrNonEmptyGroup), "a group with a member was deleted")
	m.stop()
	until("the group is empty", func() bool { return must(a.DescribeConsumerGroups([]string{id}))[0].State == "Empty" })
	if err := a.DeleteConsumerGroup(id); err != nil {
		return err
	}
	_, listed = must(a.ListConsumerGroups())[id]
	need(!listed, "still listed")
	return nil
}

func adminGroupOffsets() error {
	t, a := topic(2, nil), admin()
	defer a.Close()
	id := "offsets-" + t
	send(t, 0, "m", 10)
	r := must(a.AlterConsumerGroupOffsets(id, map[string]map[int32]sarama.OffsetAndMetadata{t: {0: {Offset: 7, LeaderEpoch: -1}, 1: {Offset: 0, LeaderEpoch: -1}}}, nil))
	need(r.Errors[t][0] == sarama.ErrNoError, "alter: %v", r.Errors)
	need(must(a.ListConsumerGroupOffsets(id, map[string][]int32{t: {0}})).GetBlock(t, 0).Offset == 7, "altered offset")
	if err := a.DeleteConsumerGroupOffset(id, t, 0); err != nil {
		return err
	}
	need(must(a.ListConsumerGroupOffsets(id, map[string][]int32{t: {0}})).GetBlock(t, 0).Offset == -1, "deleted offset")
	return nil
}

func adminCluster() error {
	a := admin()
	defer a.Close()
	brokers, controller, err := a.DescribeCluster()
	if err != nil {
		return err
	}
	need(len(brokers) > 0 && slices.ContainsFunc(brokers, func(b *sarama.Broker) bool { return b.ID() == controller }), "controller %d", controller)
	return nil
}

func adminLogDirs() error {
	t, a := topic(1, nil), admin()
	defer a.Close()
	brokers, _, err := a.DescribeCluster()
	if err != nil {
		return err
	}
	send(t, 0, "m", 10)
	for _, dirs := range must(a.DescribeLogDirs([]int32{brokers[0].ID()})) {
		for _, d := range dirs {
			for _, tt := range d.Topics {
				if tt.Topic == t {
					need(tt.Partitions[0].Size > 0, "size 0")
					return nil
				}
			}
		}
	}
	return errors.New("the topic is in no log dir")
}

func idempotent() error {
	t, c := topic(1, nil), config()
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	p := must(sarama.NewSyncProducer(addrs, c))
	defer p.Close()
	for i := range 500 {
		must2(p.SendMessage(&sarama.ProducerMessage{Topic: t, Value: sarama.StringEncoder(fmt.Sprint("i", i))}))
	}
	need(slices.Equal(values(read(t, 0, 0, 500, config(), 10*time.Second)), numbered("i", 500)), "other messages than sent")
	return nil
}

func txnProducer(id string) sarama.SyncProducer {
	c := config()
	c.Producer.Idempotent, c.Net.MaxOpenRequests, c.Producer.Transaction.ID = true, 1, id
	return must(sarama.NewSyncProducer(addrs, c))
}

func committed() *sarama.Config {
	c := config()
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	return c
}

func transactions() error {
	t := topic(1, nil)
	p := txnProducer("txn-" + t)
	defer p.Close()
	for round := range 4 {
		if err := p.BeginTxn(); err != nil {
			return err
		}
		for i := range 10 {
			must2(p.SendMessage(&sarama.ProducerMessage{Topic: t, Value: sarama.StringEncoder(fmt.Sprintf("r%d-%d", round, i))}))
		}
		end := p.CommitTxn
		if round%2 == 1 {
			end = p.AbortTxn
		}
		if err := end(); err != nil {
			return err
		}
	}
	want := append(numbered("r0-", 10), numbered("r2-", 10)...)
	until("the committed messages are readable", func() bool { return len(read(t, 0, 0, 20, committed(), 2*time.Second)) == 20 })
	need(slices.Equal(values(read(t, 0, 0, 21, committed(), 2*time.Second)), want), "read_committed")
	need(len(read(t, 0, 0, 41, config(), 2*time.Second)) == 40, "read_uncommitted")
	return nil
}

func consumeTransformProduce() error {
	in, out := topic(1, nil), topic(1, nil)
	id := "ctp-" + in
	send(in, 0, "m", 10)
	p := txnProducer(id)
	defer p.Close()
	a := admin()
	defer a.Close()
	offset := func() int64 {
		return must(a.ListConsumerGroupOffsets(id, map[string][]int32{in: {0}})).GetBlock(in, 0).Offset
	}
	msgs := read(in, 0, 0, 10, config(), 10*time.Second)
	for _, commit := range []bool{false, true} {
		if err := p.BeginTxn(); err != nil {
			return err
		}
		for _, m := range msgs {
			must2(p.SendMessage(&sarama.ProducerMessage{Topic: out, Value: sarama.StringEncoder("out-" + string(m.Value))}))
			if err := p.AddMessageToTxn(m, id, nil); err != nil {
				return err
			}
		}
		if !commit {
			if err := p.AbortTxn(); err != nil {
				return err
			}
			need(offset() == -1, "offset %d after the abort", offset())
		} else if err := p.CommitTxn(); err != nil {
			return err
		}
	}
	until("the offset is committed", func() bool { return offset() == 10 })
	need(slices.Equal(values(read(out, 0, 0, 11, committed(), 2*time.Second)), numbered("out-m", 10)), "output")
	return nil
}

func fencing() error {
	t := topic(1, nil)
	first := txnProducer("fence-" + t)
	if err := first.BeginTxn(); err != nil {
		return err
	}
	must2(first.SendMessage(&sarama.ProducerMessage{Topic: t, Value: sarama.StringEncoder("old")}))
	second := txnProducer("fence-" + t)
	if err := second.BeginTxn(); err != nil {
		return err
	}
	must2(second.SendMessage(&sarama.ProducerMessage{Topic: t, Value: sarama.StringEncoder("new")}))
	if err := second.CommitTxn(); err != nil {
		return err
	}
	need(first.CommitTxn() != nil, "the fenced producer committed")
	need(slices.Equal(values(read(t, 0, 0, 2, committed(), 2*time.Second)), []string{"new"}), "read_committed")
	second.Close()
	return nil
}

// sink is a zapcore.WriteSyncer over an async producer.
type sink struct {
	p       sarama.AsyncProducer
	topic   string
	pending sync.WaitGroup
	failed  error
}

func (s *sink) Write(b []byte) (int, error) {
	s.pending.Add(1)
	s.p.Input() <- &sarama.ProducerMessage{Topic: s.topic, Value: sarama.ByteEncoder(bytes.Clone(b))}
	return len(b), nil
}
func (s *sink) Sync() error { s.pending.Wait(); return s.failed }

func zapLog() error {
	t, c := topic(1, nil), config()
	c.Producer.RequiredAcks = sarama.WaitForLocal
	s := &sink{p: must(sarama.NewAsyncProducer(addrs, c)), topic: t}
	go func() {
		for range s.p.Successes() {
			s.pending.Done()
		}
	}()
	go func() {
		for e := range s.p.Errors() {
			s.failed = e
			s.pending.Done()
		}
	}()
	core := zapcore.NewTee(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), s, zap.InfoLevel))
	log := zap.New(core, zap.AddCaller())
	for i := range 1000 {
		log.Info("request", zap.Int("n", i), zap.String("path", "/"))
		log.Debug("not written")
	}
	if err := log.Sync(); err != nil {
		return err
	}
	s.p.Close()
	got := values(read(t, 0, 0, 1001, config(), 2*time.Second))
	need(len(got) == 1000, "%d lines", len(got))
	for i, line := range got {
		need(strings.Contains(line, fmt.Sprintf(`"n":%d,`, i)) && strings.Contains(line, `"level":"info"`), "line %d: %s", i, line)
	}
	return nil
}
