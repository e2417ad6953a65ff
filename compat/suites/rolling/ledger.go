package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// At is where a record is.
type At struct {
	partition int32
	offset    int64
}

// Ledger is what the members of a group have read and committed.
type Ledger struct {
	mu      sync.Mutex
	reads   map[At]int       // how often
	values  map[At]int64     // what was read there
	commits map[int32][]mark // that were acknowledged
	starts  map[int32][]mark // first reads after an assignment
	errors  map[string]int   // which passed
	broken  []string         // what must not be
}

// A mark is an offset at a time: of an acknowledgement, or of an assignment.
type mark struct{ offset, time int64 }

func newLedger() *Ledger {
	return &Ledger{
		reads: map[At]int{}, values: map[At]int64{}, commits: map[int32][]mark{}, starts: map[int32][]mark{}, errors: map[string]int{},
	}
}

func (l *Ledger) read(partition int32, offset, value int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := At{partition, offset}
	if before, again := l.values[at]; again && before != value {
		l.broken = append(l.broken, fmt.Sprintf("partition %d offset %d held %d, and later %d", partition, offset, before, value))
	}
	l.reads[at]++
	l.values[at] = value
}

func (l *Ledger) started(partition int32, offset, assigned int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starts[partition] = append(l.starts[partition], mark{offset, assigned})
}

func (l *Ledger) committed(partition int32, offset, acknowledged int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commits[partition] = append(l.commits[partition], mark{offset, acknowledged})
}

func (l *Ledger) failed(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors[what]++
}

func (l *Ledger) fail(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = append(l.broken, what)
}

// missing are the records that were acknowledged and that nobody has read, or read otherwise.
func (l *Ledger) missing(acknowledged map[At]int64) (missing []At) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at, value := range acknowledged {
		if got, read := l.values[at]; !read || got != value {
			missing = append(missing, at)
		}
	}
	return missing
}

// twice are the records that were read more than once.
func (l *Ledger) twice() (twice []At) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at, n := range l.reads {
		if n > 1 {
			twice = append(twice, at)
		}
	}
	return twice
}

// wentBack are the assignments after which a member began before an offset whose commit had been acknowledged until then.
func (l *Ledger) wentBack() (back []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for partition, starts := range l.starts {
		for _, start := range starts {
			for _, commit := range l.commits[partition] {
				if commit.time < start.time && commit.offset > start.offset {
					back = append(back, fmt.Sprintf("partition %d at %d, though %d was committed %.3f s before the assignment", partition,
						start.offset, commit.offset, float64(start.time-commit.time)/1e9))
					break
				}
			}
		}
	}
	return back
}

// errorText is what members met and went on after, the most frequent first.
func (l *Ledger) errorText() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := slices.SortedFunc(maps.Keys(l.errors), func(a, b string) int { return l.errors[b] - l.errors[a] })
	var text []string
	for _, name := range names[:min(len(names), 8)] {
		text = append(text, fmt.Sprintf("%d x %s", l.errors[name], name))
	}
	return strings.Join(text, "; ")
}

func (l *Ledger) brokenText() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return some(l.broken)
}

// some shows a few of many.
func some[T any](all []T) string {
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("%d, such as %+v", len(all), all[:min(len(all), 5)])
}
