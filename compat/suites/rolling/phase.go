package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Phase is a run with a broker and groups of its own.
type Phase struct {
	name  string
	kills bool // of members and of the broker
}

func (p Phase) run(o Options, random *rand.Rand, broker *Broker) bool {
	start := time.Now()
	broker.start()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.address()))
	check(err)
	defer client.Close()
	admin, topic := kadm.NewClient(client), "rolling-"+p.name
	createTopic(admin, topic)

	var groups []*Group
	for _, protocol := range o.protocols {
		// Both ways of a classic group are tried: all partitions given up at a rebalance, and only those that move.
		balancer := map[bool]string{true: "range", false: "cooperative-sticky"}[p.kills]
		groups = append(groups, newGroup(o, fmt.Sprintf("%s-%s", p.name, protocol), protocol, balancer, topic, broker.address()))
	}
	producer := newProducer(broker.address(), topic)
	producer.start(o.rate)
	p.roll(o, random, broker, groups)
	producer.end()
	for _, g := range groups {
		g.fill()
	}

	passed := p.report(start, "producer", len(producer.acks) > 0 && len(producer.errors) == 0, some(producer.errors))
	lags := make([]string, len(groups))
	for i, g := range groups {
		lags[i] = settle(admin, g.name, topic, len(producer.acks), 20*o.session)
	}
	for _, g := range groups {
		g.end()
	}
	if p.kills {
		broker.kill()
		broker.start()
	}
	note("%s: the broker was started %d times", p.name, broker.starts)
	for i, g := range groups {
		if lags[i] == "" {
			lags[i] = settle(admin, g.name, topic, len(producer.acks), 30*time.Second)
		}
		passed = p.judge(start, g, lags[i], producer.acks) && passed
	}
	return passed
}

// roll lets members come and go, and the broker too, for the phase's duration.
func (p Phase) roll(o Options, random *rand.Rand, broker *Broker, groups []*Group) {
	end := time.After(o.duration)
	var restarting sync.WaitGroup
	if p.kills {
		forBroker := rand.New(rand.NewPCG(random.Uint64(), 0))
		restarting.Go(func() { rollBroker(o, forBroker, broker) })
	}
	for _, g := range groups {
		g.fill()
	}
	for {
		wait := time.Duration(random.Int64N(int64(o.session / 2)))
		select {
		case <-time.After(wait):
			groups[random.IntN(len(groups))].step(random, p.kills)
		case <-end:
			restarting.Wait()
			return
		}
	}
}

// rollBroker kills the broker and starts it again, so often that it is over within the duration.
func rollBroker(o Options, random *rand.Rand, broker *Broker) {
	each := o.duration / time.Duration(o.restarts+1)
	for range o.restarts {
		time.Sleep(each/2 + time.Duration(random.Int64N(int64(each/2))))
		broker.kill()
		time.Sleep(time.Duration(random.Int64N(int64(each / 8))))
		broker.start()
	}
}

// judge prints the checks of a group.
func (p Phase) judge(start time.Time, g *Group, lag string, acknowledged map[At]int64) bool {
	l := g.Ledger
	note("%s, %s: %d joins, %d leaves, %d kills; %d records, %d of them read twice or more", p.name, g.kind(), g.joined, g.left, g.killed,
		len(acknowledged), len(l.twice()))
	if text := l.errorText(); text != "" {
		note("%s, %s: members went on after %s", p.name, g.kind(), text)
	}
	missing, back, broken := some(l.missing(acknowledged)), some(l.wentBack()), l.brokenText()
	passed := p.report(start, g.kind()+": every record is read", missing == "", missing)
	if !p.kills {
		twice := some(l.twice())
		passed = p.report(start, g.kind()+": none is read twice", twice == "", twice) && passed
	}
	passed = p.report(start, g.kind()+": a new owner goes on where commits were acknowledged", back == "", back) && passed
	passed = p.report(start, g.kind()+": the lag ends at zero", lag == "", lag) && passed
	return p.report(start, g.kind()+": members come and go in order", broken == "", broken) && passed
}

func (p Phase) report(start time.Time, name string, passed bool, why string) bool {
	seconds := time.Since(start).Seconds()
	if passed {
		fmt.Printf("PASS %.2f rolling: %s: %s\n", seconds, p.name, name)
	} else {
		fmt.Printf("FAIL %.2f rolling: %s: %s: %s\n", seconds, p.name, name, why)
	}
	return passed
}

func (g *Group) kind() string {
	if g.protocol == "classic" {
		return "classic (" + g.balancer + ")"
	}
	return g.protocol
}

func createTopic(admin *kadm.Client, topic string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	created, err := admin.CreateTopics(ctx, partitions, 1, nil, topic)
	check(err)
	check(created.Error())
}

// settle waits until the group has committed the ends of all partitions, in which so many records are at least. It returns what is
// wrong at the end of the patience.
func settle(admin *kadm.Client, group, topic string, records int, patience time.Duration) (wrong string) {
	for start := time.Now(); time.Since(start) < patience; time.Sleep(200 * time.Millisecond) {
		if wrong = lag(admin, group, topic, records); wrong == "" {
			return ""
		}
	}
	return fmt.Sprintf("after %v: %s", patience, wrong)
}

func lag(admin *kadm.Client, group, topic string, records int) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return err.Error()
	}
	committed, err := admin.FetchOffsets(ctx, group)
	if err == nil {
		err = committed.Error()
	}
	if err != nil {
		return err.Error()
	}
	var total, behind int64
	ends.Each(func(end kadm.ListedOffset) {
		total += end.Offset
		if at, there := committed.Lookup(topic, end.Partition); there {
			behind += end.Offset - at.At
		} else {
			behind += end.Offset
		}
	})
	switch {
	case total < int64(records):
		return fmt.Sprintf("the partitions hold %d records, but %d were acknowledged", total, records)
	case behind != 0:
		return fmt.Sprintf("lag %d of %d", behind, total)
	}
	return ""
}
