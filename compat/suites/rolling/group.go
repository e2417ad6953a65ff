package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Group is the members of one group, each in a slot or on its way out, and the ledger of what they said.
type Group struct {
	name, protocol, balancer string
	arguments                []string
	slots                    []*Process
	Ledger                   *Ledger

	running sync.WaitGroup // members whose process or output has not ended
	joined  int
	left    int
	killed  int
}

// Process is a member.
type Process struct {
	command *exec.Cmd
	ended   chan struct{}
}

func newGroup(o Options, name, protocol, balancer, topic, address string) *Group {
	return &Group{
		name: name, protocol: protocol, balancer: balancer, slots: make([]*Process, o.members), Ledger: newLedger(),
		arguments: []string{"member", "-broker", address, "-group", name, "-topic", topic, "-protocol", protocol,
			"-balancer", balancer, "-session", o.session.String()},
	}
}

// step lets a member join, leave or, where kills is set, be killed: whoever has the slot that is drawn, or nobody yet.
func (g *Group) step(random *rand.Rand, kills bool) {
	slot := random.IntN(len(g.slots))
	violent := random.IntN(2) == 0 && kills
	switch process := g.slots[slot]; {
	case process == nil:
		g.slots[slot] = g.join()
	case violent:
		check(process.command.Process.Kill())
		g.killed++
		g.slots[slot] = nil
	default:
		g.leave(process)
		g.slots[slot] = nil
	}
}

// fill lets members join until all slots are taken.
func (g *Group) fill() {
	for slot, process := range g.slots {
		if process == nil {
			g.slots[slot] = g.join()
		}
	}
}

func (g *Group) join() *Process {
	g.joined++
	p := &Process{command: exec.Command(os.Args[0], g.arguments...), ended: make(chan struct{})}
	p.command.Stderr = os.Stdout
	output, err := p.command.StdoutPipe()
	check(err)
	_, err = p.command.StdinPipe() // which is closed when this process ends, and ends the member
	check(err)
	check(p.command.Start())
	g.running.Add(1)
	go g.listen(p, output)
	return p
}

// leave tells a member to go. It has time for a broker that is being started again.
func (g *Group) leave(p *Process) {
	g.left++
	check(p.command.Process.Signal(syscall.SIGTERM))
	go func() {
		select {
		case <-p.ended:
		case <-time.After(40 * time.Second):
			g.Ledger.fail("a member did not leave within 40 s")
			_ = p.command.Process.Kill()
		}
	}()
}

// end lets all members leave, and returns when none is left.
func (g *Group) end() {
	for slot, process := range g.slots {
		if process != nil {
			g.leave(process)
			g.slots[slot] = nil
		}
	}
	g.running.Wait()
}

// listen takes what a member says into the ledger. Half a line, the last of one that was killed, is not said.
func (g *Group) listen(p *Process, output io.Reader) {
	defer g.running.Done()
	assigned := map[int32]int64{}
	reader := bufio.NewReader(output)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			break
		}
		g.take(strings.TrimSuffix(line, "\n"), assigned)
	}
	_ = p.command.Wait()
	close(p.ended)
}

// take reads a line. assigned has the partitions of which the member has read nothing since they were assigned, at a time.
func (g *Group) take(line string, assigned map[int32]int64) {
	var partition int32
	var offset, time, value int64
	switch {
	case scan(line, "r %d %d %d", &partition, &offset, &value):
		if since, first := assigned[partition]; first {
			g.Ledger.started(partition, offset, since)
			delete(assigned, partition)
		}
		g.Ledger.read(partition, offset, value)
	case scan(line, "c %d %d %d", &partition, &offset, &time):
		g.Ledger.committed(partition, offset, time)
	case strings.HasPrefix(line, "a "):
		words := strings.Fields(line)[1:]
		_, err := fmt.Sscan(words[0], &time)
		check(err)
		for _, word := range words[1:] {
			_, err := fmt.Sscan(word, &partition)
			check(err)
			assigned[partition] = time
		}
	case strings.HasPrefix(line, "e "):
		g.Ledger.failed(line[2:])
	default:
		g.Ledger.fail("a member said " + line)
	}
}

func scan(line, format string, values ...any) bool {
	n, err := fmt.Sscanf(line, format, values...)
	return err == nil && n == len(values)
}
