// A rolling test of consumer groups: processes join, leave and are killed at random while records are produced and the broker is
// killed and started again on the same data and port.
//
//	rolling -serve PROGRAM [-seed N] [-duration 5m] [-members 20] [-restarts 10] [-protocols classic,consumer]
//
// PROGRAM is given a directory and a port, and is a broker there until it is killed. Two phases, each with a group per protocol:
//
//   - "kills": members leave or are killed (SIGKILL), the broker is killed and started again. Every record that was acknowledged has
//     to be read at least once, whoever takes a partition over goes on at or after the last acknowledged commit, and in the end the
//     lag is zero, also after one more kill of the broker.
//   - "leaves": members join and leave, which commits. Every record is read exactly once, and the lag is zero in the end.
//
// Prints a line 'PASS|FAIL SECONDS NAME' per check, and the seed, which decides who does what; when, decides the machine too.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Options are what the command line says.
type Options struct {
	serve     string
	directory string
	seed      uint64
	duration  time.Duration
	members   int
	restarts  int
	rate      int
	session   time.Duration
	protocols []string
}

const partitions = 30

func main() {
	if len(os.Args) > 1 && os.Args[1] == "member" {
		beMember(os.Args[2:])
		return
	}
	var o Options
	var protocols string
	flag.StringVar(&o.serve, "serve", "", "the program that is a broker, given a directory and a port")
	flag.StringVar(&o.directory, "dir", "", "where the broker's data and log go")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano())%1_000_000, "decides who joins, leaves and is killed")
	flag.DurationVar(&o.duration, "duration", 5*time.Minute, "of each phase, without its end")
	flag.IntVar(&o.members, "members", 20, "of a group, at most")
	flag.IntVar(&o.restarts, "restarts", 10, "of the broker, in the phase with kills")
	flag.IntVar(&o.rate, "rate", 500, "records a second")
	flag.DurationVar(&o.session, "session", 6*time.Second, "time-out of members that are gone, as in the broker's settings")
	flag.StringVar(&protocols, "protocols", "classic,consumer", "of the groups")
	flag.Parse()
	o.protocols = strings.Split(protocols, ",")
	if o.serve == "" || o.directory == "" {
		flag.Usage()
		os.Exit(2)
	}
	note("seed %d", o.seed)

	failed := false
	for _, phase := range []Phase{{name: "kills", kills: true}, {name: "leaves"}} {
		if regexp.MustCompile(os.Getenv("ONLY")).MatchString("rolling: " + phase.name) {
			failed = !runPhase(o, phase) || failed
		}
	}
	if failed {
		os.Exit(1)
	}
}

// runPhase starts a broker for the phase and ends it whatever happens.
func runPhase(o Options, phase Phase) (passed bool) {
	random := rand.New(rand.NewPCG(o.seed, uint64(len(phase.name))))
	broker := newBroker(o.serve, o.directory+"/"+phase.name)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(interrupted)
	go func() {
		if _, stop := <-interrupted; stop {
			broker.kill()
			os.Exit(130)
		}
	}()
	defer broker.kill()
	defer func() {
		if p := recover(); p != nil {
			fmt.Printf("FAIL 0 rolling: %s: %v\n", phase.name, p)
			passed = false
		}
	}()
	return phase.run(o, random, broker)
}

// note prints a line that is not a check.
func note(format string, args ...any) { fmt.Printf("rolling: "+format+"\n", args...) }

func check(err error) {
	if err != nil {
		panic(err)
	}
}
