// Prints where sarama puts the keys of README.md.
package main

import (
	"fmt"
	"runtime/debug"

	"github.com/IBM/sarama"
)

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

var state uint64 = 1

func next() int {
	state = state*6364136223846793005 + 1442695040888963407
	return int(state >> 56)
}

func main() {
	var keys [][]byte
	for range 10_000 {
		key := make([]byte, next()%40)
		for i := range key {
			key[i] = byte(next())
		}
		keys = append(keys, key)
	}
	build, _ := debug.ReadBuildInfo()
	for _, module := range build.Deps {
		if module.Path == "github.com/IBM/sarama" {
			fmt.Println("sarama", module.Version)
		}
	}
	show("NewHashPartitioner", sarama.NewHashPartitioner("orders"), keys)
	show("NewMurmur2Partitioner", sarama.NewMurmur2Partitioner("orders"), keys)
}

func show(name string, partitioner sarama.Partitioner, keys [][]byte) {
	of := func(key sarama.Encoder, partitions int32) int32 {
		partition, err := partitioner.Partition(&sarama.ProducerMessage{Key: key}, partitions)
		if err != nil {
			panic(err)
		}
		return partition
	}
	is := func(key sarama.Encoder) string {
		for range 100 {
			if of(key, 1000) != of(key, 1000) {
				return "any"
			}
		}
		return "fixed"
	}
	fmt.Printf("\n%s\nnull: %s\nempty: %s\nsample: ", name, is(nil), is(sarama.ByteEncoder{}))
	for _, key := range keys[:100] {
		fmt.Printf("%c", letters[of(sarama.ByteEncoder(key), 64)])
	}
	fmt.Println()
	for _, partitions := range []int32{1, 3, 12, 64, 1000, 2147483647} {
		digest := uint64(0xcbf29ce484222325)
		for _, key := range keys {
			digest = (digest ^ uint64(of(sarama.ByteEncoder(key), partitions))) * 0x100000001b3
		}
		fmt.Printf("%d: %016x\n", partitions, digest)
	}
}
