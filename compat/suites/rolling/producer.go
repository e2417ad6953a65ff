package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Producer writes numbered records to all partitions, and knows which were acknowledged, and where.
type Producer struct {
	client *kgo.Client
	topic  string
	mu     sync.Mutex
	acks   map[At]int64
	errors []string
	stop   chan struct{}
	ended  sync.WaitGroup
}

func newProducer(address, topic string) *Producer {
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(5*time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }))
	check(err)
	return &Producer{client: client, topic: topic, acks: map[At]int64{}, stop: make(chan struct{})}
}

// start produces so many records a second until end.
func (p *Producer) start(rate int) {
	p.ended.Go(func() {
		const perTick = 20 // milliseconds
		ticker := time.NewTicker(perTick * time.Millisecond)
		defer ticker.Stop()
		for n := int64(0); ; {
			for range max(1, rate*perTick/1000) {
				p.produce(n)
				n++
			}
			select {
			case <-ticker.C:
			case <-p.stop:
				return
			}
		}
	})
}

func (p *Producer) produce(n int64) {
	record := &kgo.Record{Topic: p.topic, Partition: int32(n % partitions), Value: strconv.AppendInt(nil, n, 10)}
	p.client.Produce(context.Background(), record, func(r *kgo.Record, err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if err != nil {
			p.errors = append(p.errors, err.Error())
			return
		}
		at := At{r.Partition, r.Offset}
		if before, taken := p.acks[at]; taken {
			p.errors = append(p.errors, fmt.Sprintf("%+v acknowledged for %d and %d", at, before, n))
		}
		p.acks[at] = n
	})
}

// end stops, and waits until every record has its answer.
func (p *Producer) end() {
	close(p.stop)
	p.ended.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.client.Flush(ctx); err != nil {
		p.mu.Lock()
		p.errors = append(p.errors, "not all records were answered within a minute")
		p.mu.Unlock()
	}
	p.client.Close()
}
