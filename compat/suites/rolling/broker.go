package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Broker is a process that serves a directory at a port, and is killed and started again there.
type Broker struct {
	serve, directory string
	port             int
	starts           int
	mu               sync.Mutex
	process          *exec.Cmd
	log              *os.File
}

func newBroker(serve, directory string) *Broker {
	check(os.MkdirAll(directory, 0o755))
	log, err := os.Create(directory + "/broker.log")
	check(err)
	return &Broker{serve: serve, directory: directory, port: freePort(), log: log}
}

// freePort is one below the range from which connections take theirs: while the broker is down, none of them may get it.
func freePort() int {
	for {
		port := 21000 + rand.IntN(1000)
		if listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			check(listener.Close())
			return port
		}
	}
}

func (b *Broker) address() string { return fmt.Sprintf("127.0.0.1:%d", b.port) }

// start returns when the broker takes connections.
func (b *Broker) start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.process = exec.Command(b.serve, b.directory, strconv.Itoa(b.port))
	b.process.Stdout, b.process.Stderr = b.log, b.log
	b.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	check(b.process.Start())
	b.starts++
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if connection, err := net.Dial("tcp", b.address()); err == nil {
			check(connection.Close())
			return
		}
		if time.Since(start) > time.Minute {
			panic("the broker took no connection within a minute; its log is " + b.log.Name())
		}
	}
}

// kill ends the broker as a power cut would end its process: with SIGKILL.
func (b *Broker) kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process != nil {
		_ = b.process.Process.Kill()
		_ = b.process.Wait()
		b.process = nil
	}
}
