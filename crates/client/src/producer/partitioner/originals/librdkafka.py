"""Prints where librdkafka puts the keys of README.md: python3 librdkafka.py, with confluent-kafka installed."""

import ctypes
import glob
import os

import confluent_kafka

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
PRODUCER = 0
state = 1


def next_byte():
    global state
    state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
    return state >> 56


keys = [bytes(next_byte() for _ in range(next_byte() % 40)) for _ in range(10_000)]

package = os.path.dirname(confluent_kafka.__file__)
library = ctypes.CDLL(glob.glob(package + ".libs/librdkafka-*.so*")[0])
library.rd_kafka_conf_new.restype = library.rd_kafka_new.restype = library.rd_kafka_topic_new.restype = ctypes.c_void_p
text = ctypes.create_string_buffer(512)
client = library.rd_kafka_new(PRODUCER, ctypes.c_void_p(library.rd_kafka_conf_new()), text, len(text))
topic = library.rd_kafka_topic_new(ctypes.c_void_p(client), b"orders", None)

print("librdkafka", confluent_kafka.libversion()[0])
for name in ["consistent_random", "consistent", "murmur2_random", "murmur2", "fnv1a_random", "fnv1a"]:
    function = getattr(library, f"rd_kafka_msg_partitioner_{name}")
    function.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int32] + [ctypes.c_void_p] * 2

    def partition(key, partitions):
        return function(topic, key, len(key or b""), partitions, None, None)

    def kind(key):
        return "fixed" if len({partition(key, 1000) for _ in range(100)}) == 1 else "any"

    null, empty = kind(None), kind(b"")
    assert null == "any" or partition(None, 1000) == partition(b"", 1000)
    print(f"\n{name}\nnull: {null}\nempty: {empty}")
    fixed = [key for key in keys if key or empty == "fixed"]
    print("sample:", "".join(LETTERS[partition(key, 64)] for key in fixed[:100]))
    for partitions in [1, 3, 12, 64, 1000, 2147483647]:
        digest = 0xCBF29CE484222325
        for key in fixed:
            digest = (digest ^ partition(key, partitions)) * 0x100000001B3 % 2**64
        print(f"{partitions}: {digest:016x}")
