//! Keys go where the originals put them: see `originals/README.md`.

use super::{Choice, KeyHash, Keyless, Partitioner, Partitioning};

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The keys that the originals were given.
fn keys() -> Vec<Vec<u8>> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut key = || {
        let length = next() % 40;
        (0..length).map(|_| next()).collect()
    };
    (0..10_000).map(|_| key()).collect()
}

/// Where the key goes; no other partition than the last can be reached.
fn partition(partitioner: &mut dyn Partitioner, key: Option<&[u8]>, partitions: i32) -> i32 {
    let reachable = [partitions - 1];
    let choice = Choice::new(key, partitions, &reachable, 0).unwrap();
    partitioner.partition(&choice).unwrap()
}

/// What the original's program would print of this partitioner.
fn print(partitioning: &Partitioning) -> String {
    let mut partitioner = partitioning.partitioner("orders");
    let keys = keys();
    // What is fixed pays no heed to what can be reached. No hash of an empty key is 999 modulo 1000.
    let mut kind = |key| if partition(&mut *partitioner, key, 1000) == 999 { "any" } else { "fixed" };
    let (null, empty) = (kind(None), kind(Some(&[])));
    if null == "fixed" {
        assert_eq!(partition(&mut *partitioner, None, 1000), partition(&mut *partitioner, Some(&[]), 1000));
    }
    let fixed: Vec<&[u8]> =
        keys.iter().map(Vec::as_slice).filter(|key| empty == "fixed" || !key.is_empty()).collect();
    let sample = fixed[..100].iter().map(|key| partition(&mut *partitioner, Some(key), 64));
    let sample: String = sample.map(|partition| char::from(LETTERS[partition as usize])).collect();
    let mut printed = format!("null: {null}\nempty: {empty}\nsample: {sample}\n");
    for partitions in [1, 3, 12, 64, 1000, i32::MAX] {
        let digest = fixed.iter().fold(0xcbf2_9ce4_8422_2325, |digest: u64, key| {
            let partition = partition(&mut *partitioner, Some(key), partitions);
            (digest ^ partition as u64).wrapping_mul(0x0100_0000_01b3)
        });
        printed.push_str(&format!("{partitions}: {digest:016x}\n"));
    }
    printed
}

/// What the original printed of the partitioner of this name.
fn original(file: &str, name: &str) -> String {
    let blocks = file.split("\n\n").filter_map(|block| block.split_once('\n'));
    let mut named = blocks.filter(|(first, _)| *first == name);
    let (_, printed) = named.next().unwrap_or_else(|| panic!("no {name} in\n{file}"));
    format!("{}\n", printed.trim_end())
}

fn check(file: &str, name: &str, partitioning: &Partitioning) {
    assert_eq!(print(partitioning), original(file, name), "{name}");
}

#[test]
fn java() {
    check(include_str!("originals/java.txt"), "default", &Partitioning::java());
    check(include_str!("originals/java.txt"), "default", &Partitioning::default());
}

#[test]
fn sarama() {
    let file = include_str!("originals/sarama.txt");
    check(file, "NewHashPartitioner", &Partitioning::sarama());
    let murmur2 = Partitioning::ByKey { hash: KeyHash::Murmur2, keyless: Keyless::Random };
    check(file, "NewMurmur2Partitioner", &murmur2);
}

#[test]
fn librdkafka() {
    let file = include_str!("originals/librdkafka.txt");
    check(file, "consistent_random", &Partitioning::librdkafka());
    for (hash, random, fixed) in [
        (KeyHash::Crc32, "consistent_random", "consistent"),
        (KeyHash::Murmur2, "murmur2_random", "murmur2"),
        (KeyHash::Fnv1a, "fnv1a_random", "fnv1a"),
    ] {
        check(file, random, &Partitioning::ByKey { hash, keyless: Keyless::Sticky });
        check(file, fixed, &Partitioning::ByKey { hash, keyless: Keyless::AsEmptyKey });
    }
}
