package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A member is a process of its own, so that it can be killed. It says on its standard output what it does, a line each:
//
//	r PARTITION OFFSET VALUE    a record was read, and counts as processed
//	c PARTITION OFFSET TIME     a commit was acknowledged by then
//	a TIME PARTITION…           partitions were assigned, at that time or later
//	e TEXT                      something failed; it goes on
//
// A record's line is out of the process before its offset is committed: a kill in between cannot lose it. SIGTERM makes it commit
// and leave the group.
type member struct {
	mu     sync.Mutex // the client calls back from its own goroutines
	out    *bufio.Writer
	client *kgo.Client
}

func beMember(args []string) {
	flags := flag.NewFlagSet("member", flag.ExitOnError)
	address := flags.String("broker", "", "address")
	group := flags.String("group", "", "name")
	topic := flags.String("topic", "", "name")
	protocol := flags.String("protocol", "classic", "of the group: classic or consumer")
	balancer := flags.String("balancer", "range", "of a classic group: range or cooperative-sticky")
	session := flags.Duration("session", 6*time.Second, "of a classic group")
	check(flags.Parse(args))

	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the parent does
		os.Exit(1)
	}()

	m := member{out: bufio.NewWriter(os.Stdout)}
	options := []kgo.Opt{
		kgo.SeedBrokers(*address), kgo.ClientID(fmt.Sprintf("member-%d", os.Getpid())),
		kgo.ConsumerGroup(*group), kgo.ConsumeTopics(*topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.RebalanceTimeout(15 * time.Second),
		kgo.FetchMaxWait(500 * time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
			now := time.Now().UnixNano()
			m.line("a %d %s", now, strings.Trim(fmt.Sprint(assigned[*topic]), "[]"))
			m.flush()
		}),
		kgo.OnPartitionsRevoked(func(ctx context.Context, _ *kgo.Client, _ map[string][]int32) { m.commit(ctx) }),
		kgo.OnPartitionsLost(func(context.Context, *kgo.Client, map[string][]int32) {}),
	}
	switch *protocol {
	case "consumer":
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	case "classic":
		b := map[string]kgo.GroupBalancer{"range": kgo.RangeBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer()}[*balancer]
		options = append(options, kgo.Balancers(b), kgo.SessionTimeout(*session), kgo.HeartbeatInterval(*session/12))
	}
	var err error
	m.client, err = kgo.NewClient(options...)
	check(err)
	m.consume(terminated)
}

// consume reads, says and commits until it is told to leave.
func (m *member) consume(terminated <-chan os.Signal) {
	committed := time.Now()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		fetches := m.client.PollRecords(ctx, 200)
		cancel()
		for _, failed := range fetches.Errors() {
			if !errors.Is(failed.Err, context.DeadlineExceeded) {
				m.line("e fetch: %v", failed.Err)
			}
		}
		fetches.EachRecord(func(r *kgo.Record) { m.line("r %d %d %s", r.Partition, r.Offset, r.Value) })
		m.flush()
		select {
		case <-terminated:
			m.leave()
			return
		default:
		}
		if time.Since(committed) > 250*time.Millisecond {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			m.commit(ctx)
			cancel()
			committed = time.Now()
		}
		m.client.AllowRebalance()
	}
}

// leave commits while the member still has its partitions, since no rebalance may come between, and then goes.
func (m *member) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	m.commit(ctx)
	m.client.AllowRebalance()
	if err := m.client.LeaveGroupContext(ctx); err != nil {
		m.line("e leave: %v", err)
	}
	m.client.CloseAllowingRebalance()
	m.flush()
}

// commit commits what was read, again after an error that passes.
func (m *member) commit(ctx context.Context) {
	for range 20 {
		again := false
		offsets := m.client.UncommittedOffsets()
		if len(offsets) == 0 {
			return
		}
		m.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
			if err != nil {
				m.line("e commit: %v", err)
				return
			}
			for _, t := range response.Topics {
				for _, p := range t.Partitions {
					if err := kerr.ErrorForCode(p.ErrorCode); err == nil {
						at := offsets[t.Topic][p.Partition]
						m.line("c %d %d %d", p.Partition, at.Offset, time.Now().UnixNano())
					} else {
						m.line("e commit: %v", err)
						again = again || kerr.IsRetriable(err)
					}
				}
			}
		})
		m.flush()
		if !again || ctx.Err() != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (m *member) line(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintf(m.out, format+"\n", args...)
}

func (m *member) flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.out.Flush(); err != nil {
		os.Exit(1)
	}
}
