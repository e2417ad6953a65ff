//! The files of the corpus: what the fuzzer found worth keeping, seeds that tests made for it, and what once
//! broke something.

use std::{fs, path::PathBuf};

/// Where the corpus of a fuzz target is.
pub fn directory(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../fuzz/corpus", target].iter().collect()
}

/// Does with each file of a target's corpus what the target does. Gives back how many there were.
pub fn replay(target: &str, check: impl Fn(&[u8])) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(directory(target)).expect("the corpus is in the repository") {
        let path = entry.expect("the corpus can be listed").path();
        // Where the check panics, the last line tells which file it was.
        println!("{}", path.display());
        check(&fs::read(path).expect("the corpus can be read"));
        count += 1;
    }
    count
}

/// Checks that a seed is in a target's corpus as it is made now. With `OTTLA_SEED_CORPUS` in the environment it
/// is written instead.
pub fn check_seed(target: &str, name: &str, bytes: &[u8]) {
    let path = directory(target).join(name);
    if std::env::var_os("OTTLA_SEED_CORPUS").is_some() {
        fs::create_dir_all(directory(target)).expect("the corpus can be written");
        fs::write(&path, bytes).expect("the corpus can be written");
    }
    let found = fs::read(&path).ok();
    assert!(
        found.as_deref() == Some(bytes),
        "{} is not what the tests make now, run them with OTTLA_SEED_CORPUS=1",
        path.display()
    );
}
