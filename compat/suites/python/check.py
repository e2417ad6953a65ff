"""Checks a broker through aiokafka and confluent-kafka (librdkafka): python check.py ADDR. Prints 'PASS|FAIL|SKIP SECONDS
NAME' per check. Needs the packages aiokafka, cramjam (its codecs) and confluent-kafka."""
import asyncio, sys, time, uuid

import confluent_kafka as ck
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.structs import OffsetAndMetadata
from checks import not_yet, wanted
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec
from confluent_kafka.admin import NewTopic as CkNewTopic

addr, run = sys.argv[1], uuid.uuid4().hex[:8]
count = 0
ck_admin = AdminClient({"bootstrap.servers": addr})

async def check(name, f):
    start = time.time()
    if not wanted(name):
        return
    if why := not_yet(name):
        return print(f"SKIP 0 {name}: {why}", flush=True)
    try:
        await asyncio.wait_for(f(), 90)
        print(f"PASS {time.time() - start:.2f} {name}", flush=True)
    except Exception as e:
        print(f"FAIL {time.time() - start:.2f} {name}: {type(e).__name__} {' '.join(str(e).split())[:300]}", flush=True)

async def until(what, f, limit=40):
    end = time.time() + limit
    while not f():
        assert time.time() < end, "waited until " + what
        await asyncio.sleep(0.05)

# ---- aiokafka
async def topic(partitions=1, **configs):
    global count
    count += 1
    name = f"py-{run}-{count}"
    async with admin() as a:
        await a.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
    async with AIOKafkaConsumer(bootstrap_servers=addr) as c:                    # until every partition answers
        for _ in range(100):
            try:
                if len(await c.end_offsets([TopicPartition(name, p) for p in range(partitions)])) == partitions:
                    return name
            except Exception:
                pass
            await asyncio.sleep(0.1)

class admin:
    async def __aenter__(self):
        self.a = AIOKafkaAdminClient(bootstrap_servers=addr)
        await self.a.start()
        return self.a
    async def __aexit__(self, *_):
        await self.a.close()

async def send(name, values, **options):
    async with AIOKafkaProducer(bootstrap_servers=addr, **options) as p:
        return [await f for f in [await p.send(name, v.encode(), key=v.encode()) for v in values]]

async def read(name, n, **options):
    out = []
    async with AIOKafkaConsumer(name, bootstrap_servers=addr, auto_offset_reset="earliest", **options) as c:
        end = time.time() + 30
        while len(out) < n and time.time() < end:
            for batch in (await c.getmany(timeout_ms=500)).values():
                out += batch
        for batch in (await c.getmany(timeout_ms=1000)).values():
            out += batch
    return out

def numbered(prefix, n):
    return [f"{prefix}{i}" for i in range(n)]

async def produce_consume():
    t = await topic(3)
    meta = await send(t, numbered("v", 100))
    assert sorted((m.partition, m.offset) for m in meta) == sorted((r.partition, r.offset) for r in await read(t, 100))

async def fields():
    t = await topic()
    async with AIOKafkaProducer(bootstrap_servers=addr) as p:
        await p.send_and_wait(t, None, key=b"k", headers=[("h", b"1"), ("h", b"\x00\xff")], timestamp_ms=1600000000000)
    r, = await read(t, 1)
    assert (r.key, r.value, r.timestamp, r.headers) == (b"k", None, 1600000000000, (("h", b"1"), ("h", b"\x00\xff"))), r

async def codec(c):
    t = await topic()
    await send(t, numbered("long " * 40, 200), compression_type=c)
    assert [r.value.decode() for r in await read(t, 200)] == numbered("long " * 40, 200)

async def idempotent():
    t = await topic()
    await send(t, numbered("i", 200), enable_idempotence=True)
    assert [r.value.decode() for r in await read(t, 200)] == numbered("i", 200)

async def positions():
    t = await topic()
    await send(t, numbered("v", 10))
    async with AIOKafkaConsumer(bootstrap_servers=addr) as c:
        tp = TopicPartition(t, 0)
        c.assign([tp])
        assert await c.end_offsets([tp]) == {tp: 10} and await c.beginning_offsets([tp]) == {tp: 0}
        c.seek(tp, 7)
        assert (await c.getone()).offset == 7
        await c.seek_to_end(tp)
        await send(t, ["late"])
        late = await asyncio.wait_for(c.getone(), 30)
        assert (late.offset, late.value) == (10, b"late"), late

async def times():
    t = await topic()
    await send(t, numbered("v", 10))
    async with AIOKafkaConsumer(bootstrap_servers=addr) as c:
        tp = TopicPartition(t, 0)
        assert (await c.offsets_for_times({tp: 0}))[tp].offset == 0

async def group():
    t, g = await topic(4), f"group-{run}"
    got, claims, stop = {1: [], 2: []}, {1: 0, 2: 0}, {1: asyncio.Event(), 2: asyncio.Event()}
    async def member(n):
        async with AIOKafkaConsumer(t, bootstrap_servers=addr, group_id=g, auto_offset_reset="earliest", auto_commit_interval_ms=200, heartbeat_interval_ms=500) as c:
            while not stop[n].is_set():
                for batch in (await c.getmany(timeout_ms=200)).values():
                    got[n] += [r.value.decode() for r in batch]
                claims[n] = len(c.assignment())
    a = asyncio.create_task(member(1))
    await send(t, numbered("a", 100))
    await until("the first has all", lambda: claims[1] == 4 and len(got[1]) >= 100)
    b = asyncio.create_task(member(2))
    await until("two partitions each", lambda: claims == {1: 2, 2: 2})
    await send(t, numbered("b", 100))
    await until("both read", lambda: len(got[1]) + len(got[2]) >= 200 and got[2])
    stop[2].set()
    await b
    await until("the first has all again", lambda: claims[1] == 4)
    stop[1].set()
    await a
    assert set(got[1] + got[2]) == set(numbered("a", 100) + numbered("b", 100))
    async with admin() as ad:
        offsets = await ad.list_consumer_group_offsets(g)
        assert sum(o.offset for o in offsets.values()) == 200, offsets
        d = await ad.describe_consumer_groups([g])
        assert d, d

async def transactions():
    t, g = await topic(), f"txn-{run}"
    tp = TopicPartition(t, 0)
    async with AIOKafkaProducer(bootstrap_servers=addr, transactional_id=g) as p:
        for end in ("commit", "abort", "commit"):
            await p.begin_transaction()
            await p.send_and_wait(t, end.encode())
            await p.send_offsets_to_transaction({tp: OffsetAndMetadata(5 if end == "abort" else 1, "")}, g)
            await (p.commit_transaction() if end == "commit" else p.abort_transaction())
    assert [r.value for r in await read(t, 2, isolation_level="read_committed")] == [b"commit", b"commit"]
    assert len(await read(t, 3)) == 3
    async with AIOKafkaConsumer(bootstrap_servers=addr, group_id=g) as c:
        assert await c.committed(tp) == 1

async def admin_topics():
    t = await topic(3, **{"retention.ms": "60000"})
    async with admin() as a:
        assert t in await a.list_topics()
        assert len((await a.describe_topics([t]))[0]["partitions"]) == 3
        assert (await a.describe_cluster())["brokers"]
        await a.delete_topics([t])
        for _ in range(100):
            if t not in await a.list_topics():
                return
            await asyncio.sleep(0.1)
        assert False, "the deleted topic is still listed"

async def admin_partitions_records():
    t = await topic(1)
    async with admin() as a:
        await a.create_partitions({t: NewPartitions(3)})
        for _ in range(100):
            if len((await a.describe_topics([t]))[0]["partitions"]) == 3:
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)
        async with AIOKafkaProducer(bootstrap_servers=addr) as p:
            for _ in range(10):
                await p.send_and_wait(t, b"x", partition=0)
        await a.delete_records({TopicPartition(t, 0): RecordsToDelete(before_offset=4)})
        async with AIOKafkaConsumer(bootstrap_servers=addr) as c:
            assert list((await c.beginning_offsets([TopicPartition(t, 0)])).values()) == [4]

# ---- confluent-kafka
def ck_topic(partitions=1):
    global count, ck_admin
    count += 1
    name = f"ck-{run}-{count}"
    ck_admin.create_topics([CkNewTopic(name, partitions, 1)])[name].result(30)
    for _ in range(100):                                                         # until every partition answers
        try:
            ends = ck_admin.list_offsets({ck.TopicPartition(name, p): OffsetSpec.latest() for p in range(partitions)})
            return [f.result(30) for f in ends.values()] and name
        except ck.KafkaException:
            time.sleep(0.1)
            ck_admin = AdminClient({"bootstrap.servers": addr})                  # one that remembers nothing

def ck_read(name, n, **options):
    c = ck.Consumer({"bootstrap.servers": addr, "auto.offset.reset": "earliest", "group.id": f"{name}-{time.time()}", **options})
    c.subscribe([name])
    out, end = [], time.time() + 40
    while len(out) < n and time.time() < end:
        m = c.poll(1)
        if m is not None and not m.error():
            out.append(m)
    extra = c.poll(1)
    c.close()
    return out + ([extra] if extra is not None and not extra.error() else [])

def ck_produce(t, **options):
    """500 records; returns where each went, as value -> (partition, offset)."""
    reports = {}
    p = ck.Producer({"bootstrap.servers": addr, **options})
    def delivered(e, m):
        assert e is None, e
        reports[m.value()] = (m.partition(), m.offset())
    for i in range(500):
        p.produce(t, f"v{i}" * 20, key=f"k{i}", headers={"h": "1"}, on_delivery=delivered)
    assert p.flush(30) == 0 and len(reports) == 500, len(reports)
    return reports

def ck_assigned(**options):
    """A consumer without a group's doings: librdkafka wants the name of one all the same."""
    return ck.Consumer({"bootstrap.servers": addr, "group.id": "unused", "enable.auto.commit": False, "auto.offset.reset": "error", **options})

def ck_poll(c, n):
    out, end = [], time.time() + 40
    while len(out) < n and time.time() < end:
        m = c.poll(1)
        if m is not None:
            assert not m.error(), m.error()
            out.append(m)
    return out

async def ck_partitions(**options):
    t = ck_topic(3)
    sent = ck_produce(t, **options)
    c = ck_assigned()
    c.assign([ck.TopicPartition(t, p, 0) for p in range(3)])
    got = ck_poll(c, 500)
    assert c.poll(1) is None
    c.close()
    assert {m.value(): (m.partition(), m.offset()) for m in got} == sent
    assert all(m.headers() == [("h", b"1")] and m.key() for m in got)
    for p in range(3):
        offsets = [m.offset() for m in got if m.partition() == p]
        assert offsets == list(range(len(offsets))), offsets[:20]

async def ck_positions():
    t = ck_topic()
    ck_produce(t)
    c, tp = ck_assigned(), ck.TopicPartition(t, 0)
    assert c.get_watermark_offsets(tp, timeout=30) == (0, 500)
    for start, want in ((123, 123), (ck.OFFSET_BEGINNING, 0), (499, 499)):
        c.assign([ck.TopicPartition(t, 0, start)])
        m, = ck_poll(c, 1)
        assert m.offset() == want, (start, m.offset())
    c.seek(ck.TopicPartition(t, 0, 400))
    m, = ck_poll(c, 1)
    assert m.offset() == 400, m.offset()
    c.pause([tp])
    assert c.poll(1) is None
    c.resume([tp])
    assert ck_poll(c, 1)
    c.assign([ck.TopicPartition(t, 0, 100000)])                       # past the end: an error, since there is no reset
    end, error = time.time() + 30, None
    while error is None and time.time() < end:
        m = c.poll(1)
        error = m.error() if m is not None else None
    assert error is not None and error.code() == ck.KafkaError._AUTO_OFFSET_RESET, error
    c.close()

async def ck_too_large():
    t, errors = ck_topic(), []
    p = ck.Producer({"bootstrap.servers": addr, "message.max.bytes": 3000000})
    p.produce(t, b"x" * 2000000, on_delivery=lambda e, m: errors.append(e))
    p.flush(30)
    assert [e.code() for e in errors] == [ck.KafkaError.MSG_SIZE_TOO_LARGE], errors

async def ck_admin_topics():
    t = ck_topic(3)
    meta = ck_admin.list_topics(t, timeout=30).topics[t]
    assert len(meta.partitions) == 3 and meta.error is None
    d = ck_admin.describe_topics(ck.TopicCollection([t]))[t].result(30)
    assert len(d.partitions) == 3 and str(d.topic_id), d
    cluster = ck_admin.describe_cluster().result(30)
    assert cluster.cluster_id and cluster.controller.id == cluster.nodes[0].id, cluster
    r = ConfigResource(ConfigResource.Type.TOPIC, t)
    assert ck_admin.describe_configs([r])[r].result(30)["cleanup.policy"].value == "delete"
    offsets = ck_admin.list_offsets({ck.TopicPartition(t, 0): OffsetSpec.latest()})
    assert [f.result(30).offset for f in offsets.values()] == [0]
    try:
        ck_admin.create_topics([CkNewTopic(t, 1, 1)])[t].result(30)
        assert False, "created twice"
    except ck.KafkaException as e:
        assert e.args[0].code() == ck.KafkaError.TOPIC_ALREADY_EXISTS, e
    ck_admin.delete_topics([t])[t].result(30)
    await until("the deleted topic is gone", lambda: t not in ck_admin.list_topics(timeout=30).topics)

async def ck_produce_consume(codec="none", protocol="classic"):
    t = ck_topic(3)
    ck_produce(t, **{"compression.type": codec})
    got = ck_read(t, 500, **{"group.protocol": protocol})
    assert len(got) == 500 and got[0].headers() == [("h", b"1")], len(got)

async def ck_transactions():
    t = ck_topic()
    p = ck.Producer({"bootstrap.servers": addr, "transactional.id": t})
    p.init_transactions(30)
    for end in ("commit", "abort", "commit"):
        p.begin_transaction()
        p.produce(t, end)
        p.flush(30)
        (p.commit_transaction if end == "commit" else p.abort_transaction)(30)
    assert [m.value() for m in ck_read(t, 2, **{"isolation.level": "read_committed"})] == [b"commit", b"commit"]

async def main():
    await check("aiokafka: produce 100, consume, partitions and offsets", produce_consume)
    await check("aiokafka: key, null value, headers, timestamp", fields)
    for c in ("gzip", "snappy", "lz4", "zstd"):
        await check(f"aiokafka: codec {c}", lambda: codec(c))
    await check("aiokafka: idempotent producer", idempotent)
    await check("aiokafka: offsets, seek, a later record", positions)
    await check("aiokafka: offsets for times", times)
    await check("aiokafka: admin: topics, cluster", admin_topics)
    await check("aiokafka: admin: partitions, delete records", admin_partitions_records)
    await check("aiokafka: group of two, rebalance, committed offsets", group)
    await check("aiokafka: transactions with offsets, read_committed", transactions)
    for c in ("none", "gzip", "snappy", "lz4", "zstd"):
        await check(f"confluent-kafka: produce 500 with {c}, read by partition", lambda: ck_partitions(**{"compression.type": c}))
    await check("confluent-kafka: acks 1, read by partition", lambda: ck_partitions(acks=1))
    await check("confluent-kafka: idempotent producer, read by partition", lambda: ck_partitions(**{"enable.idempotence": True}))
    await check("confluent-kafka: watermarks, assign, seek, pause, out of range", ck_positions)
    await check("confluent-kafka: message too large", ck_too_large)
    await check("confluent-kafka: admin: topics, cluster, settings, offsets", ck_admin_topics)
    for c in ("none", "gzip", "snappy", "lz4", "zstd"):
        await check(f"confluent-kafka: produce 500 with {c}, consume in a classic group", lambda: ck_produce_consume(c))
    await check("confluent-kafka: consume in a KIP-848 group", lambda: ck_produce_consume(protocol="consumer"))
    await check("confluent-kafka: transactions, read_committed", ck_transactions)

asyncio.run(main())
