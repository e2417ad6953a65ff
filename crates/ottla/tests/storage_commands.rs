//! `ottla storage` and a broker that cannot use its data directory, as a user sees them: what is printed, and
//! the exit code. The directory is the golden one of the storage crate.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

/// A copy of the golden data directory.
fn data() -> TempDir {
    fn copy(from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let target = to.join(path.file_name().unwrap());
            if path.is_dir() {
                fs::create_dir(&target).unwrap();
                copy(&path, &target);
            } else {
                fs::copy(&path, &target).unwrap();
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../storage-local/tests/golden/v1"), dir.path());
    dir
}

fn ottla(arguments: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ottla")).args(arguments).arg(dir).output().unwrap()
}

fn serve(dir: &Path) -> Output {
    ottla(&["serve", "--listen", "127.0.0.1:0", "--data"], dir)
}

/// The exit code is this, and the output has these parts.
fn expect(output: &Output, code: i32, parts: &[&str]) {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
}

/// A change of the data directory.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_whole_directory() {
    let dir = data();
    expect(&ottla(&["storage", "check"], dir.path()), 0, &["read 1 topics, ", ": all is well\n"]);
    expect(&ottla(&["storage", "dump"], dir.path()), 0, &["topic name=\"orders\"", "crc=ok"]);
}

#[test]
fn a_damaged_segment() {
    let dir = data();
    let path = dir.path().join("logs/1/00000000000000000026.log");
    change(&path, |bytes| bytes[200] ^= 1);
    let shown = path.display().to_string();
    let parts = [
        "problem: ",
        &shown,
        " at byte 0: the batch with offsets 26 to 27 does not match its CRC; the broker starts and answers \
         CORRUPT_MESSAGE there",
        "1 problem, with which the broker starts\n",
    ];
    expect(&ottla(&["storage", "check"], dir.path()), 6, &parts);
    expect(&ottla(&["storage", "dump"], &path), 0, &["position=0 base_offset=26 ", "crc=bad\n"]);
}

#[test]
fn what_is_none() {
    let dir = tempfile::tempdir().unwrap();
    expect(&ottla(&["storage", "check"], dir.path()), 4, &["is no data directory"]);
    expect(&ottla(&["storage", "dump"], &dir.path().join("none")), 4, &["cannot read", "none: No such file"]);
}

#[test]
fn another_process_has_it() {
    let dir = data();
    let lock = fs::File::open(dir.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let shown = dir.path().display().to_string();
    let parts = [&shown, "in use by another process: stop that one, or give another directory"];
    expect(&serve(dir.path()), 4, &parts);
    expect(&ottla(&["storage", "check"], dir.path()), 4, &[&shown, "in use", "stop it first"]);
    expect(&ottla(&["storage", "dump"], dir.path()), 0, &["in use by a broker"]);
}

#[test]
fn a_newer_version_or_damage_is_refused() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage, i32, &str); 5] = [
        (
            "checkpoint/0000000001.checkpoint",
            |bytes| bytes[8] = 2,
            4,
            "written by a newer version of ottla (format 2",
        ),
        // The user_version in the header of a SQLite file.
        ("state.db", |bytes| bytes[63] = 9, 4, "written by a newer version of ottla (format 9"),
        (
            "checkpoint/0000000001.checkpoint",
            |bytes| bytes[40] ^= 1,
            6,
            "restore the data directory from a backup",
        ),
        ("state.db", |bytes| bytes[5000..].fill(7), 6, "restore the data directory from a backup"),
        ("wal/0000000002.wal", |bytes| bytes[5000..].fill(7), 6, "restore the data directory from a backup"),
    ];
    for (file, damage, check, what) in damages {
        let dir = data();
        let path = dir.path().join(file);
        change(&path, damage);
        let shown = path.parent().unwrap().display().to_string();
        expect(&ottla(&["storage", "check"], dir.path()), check, &[&shown, what]);
        expect(&serve(dir.path()), 4, &[&shown, what]);
    }
}

/// In a mount namespace of its own, which goes with the process.
#[test]
fn a_read_only_file_system() {
    let dir = data();
    let run = |command: &str| {
        let script = format!("mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && {command}");
        let bin = env!("CARGO_BIN_EXE_ottla");
        Command::new("unshare").args(["-m", "sh", "-c", &script, bin]).arg(dir.path()).output()
    };
    match run("true") {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            println!("skipped: nothing can be mounted: {}", String::from_utf8_lossy(&output.stderr));
            return;
        }
        Err(error) => {
            println!("skipped: unshare cannot be run: {error}");
            return;
        }
    }
    let refused = run("exec \"$0\" serve --listen 127.0.0.1:0 --data \"$1\"").unwrap();
    let shown = dir.path().display().to_string();
    expect(&refused, 4, &["cannot write to the data directory", &shown, "Read-only file system"]);
    expect(&run("exec \"$0\" storage check \"$1\"").unwrap(), 0, &["all is well"]);
    expect(&run("exec \"$0\" storage dump \"$1\"").unwrap(), 0, &["topic name=\"orders\""]);
}
