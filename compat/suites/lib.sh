# Sourced by the suites: which checks to run, how one is reported, and where what they need comes from.
# From compat/run: $1 the broker's address; CACHE where downloads stay; NOT_YET the list of checks to skip (may be
# empty); ONLY a pattern of names (may be empty); BROKER_DATA the broker's data directory (may be empty).
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
addr=${1:?broker address}
CACHE=${CACHE:-$here/../.cache}; mkdir -p "$CACHE"; CACHE=$(cd "$CACHE" && pwd)

result() { printf '%s %.2f %s\n' "$1" "$2" "$3"; }                          # RESULT SECONDS NAME

skip_suite() { result SKIP 0 "$1"; exit 0; }                                # NAME: REASON

not_yet() {  # NAME: prints the reason for which the check is skipped, or fails
  local why pattern
  while IFS=$'\t' read -r why pattern; do
    if [ -n "$pattern" ] && [[ $1 =~ ^($pattern)$ ]]; then echo "$why"; return 0; fi
  done < <(grep -v '^#' "${NOT_YET:-/dev/null}")
  return 1
}

wanted() {  # NAME: whether the check is to run; says so if it is skipped
  local why
  [ -z "${ONLY:-}" ] || [[ $1 =~ $ONLY ]] || return 1
  if why=$(not_yet "$1"); then result SKIP 0 "$1: $why"; return 1; fi
}

since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }'; }    # EPOCHREALTIME of the start

report() {  # NAME START CODE OUTPUT: the line of a check that ended with CODE
  if [ "$3" = 0 ]; then result PASS "$(since "$2")" "$1"
  else result FAIL "$(since "$2")" "$1: $(tr '\n' ' ' <<< "$4" | tail -c 400)"; fi
}

# Apache Kafka's jars, in $libs.
kafka_libs() {  # NAME of the suite
  libs=$CACHE/kafka/libs
  local pom=$here/../kafka/pom.xml
  command -v java >/dev/null || skip_suite "$1: java is not installed"
  [ -d "$libs" ] && [ ! "$pom" -nt "$libs" ] && return
  command -v mvn >/dev/null || skip_suite "$1: mvn is not installed"
  local why; rm -rf "$libs.part"
  why=$(timeout 600 mvn -q -B -f "$pom" dependency:copy-dependencies -DoutputDirectory="$libs.part" 2>&1) ||
    skip_suite "$1: Apache Kafka's jars cannot be fetched: $(head -c 300 <<< "$why" | tr '\n' ' ')"
  rm -rf "$libs"; mv "$libs.part" "$libs"
}

quiet_log4j() {  # FILE: a configuration that shows errors only
  printf '%s\n' rootLogger.level=ERROR rootLogger.appenderRef.c.ref=c appender.c.type=Console appender.c.name=c \
    appender.c.target=SYSTEM_ERR appender.c.layout.type=PatternLayout > "$1"
}

tool() {  # CLASS ARGUMENT…: one of Kafka's programs, with errors and output as one; EXEC=exec puts it in the shell's place
  ${EXEC:-} timeout "${LIMIT:-90}" java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$libs/*" \
    -Dlog4j2.configurationFile="$dir/log4j2.properties" "$@" 2>&1
}

# A directory of the suite's own that is gone afterwards, in $dir, and the working directory.
own_directory() { dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir" || exit 1; }

# The tests of a published crate, from a copy of its source: those under tests/ and those in it.
crate_tests() {  # CRATE VERSION CARGO-OPTION…
  local crate=$1 version=$2 source=$CACHE/crates/$1 why name; shift 2
  command -v cargo >/dev/null || skip_suite "$crate: cargo is not installed"
  export RUST_BACKTRACE=0 RUST_LOG=off CARGO_TARGET_DIR=$CACHE/crates/target CARGO_TERM_COLOR=never
  if [ ! -d "$source" ]; then  # a package that depends on the crate makes cargo fetch its source
    local get=$CACHE/crates/get-$crate; mkdir -p "$get/src"; : > "$get/src/lib.rs"
    printf '[package]\nname = "get"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\n%s = "=%s"\n[workspace]\n' \
      "$crate" "$version" > "$get/Cargo.toml"
    why=$(cd "$get" && timeout 600 cargo fetch -q 2>&1) || skip_suite "$crate: it cannot be fetched: $(tail -1 <<< "$why")"
    local at; at=$(cd "$get" && cargo metadata -q --format-version 1 | grep -o "\"manifest_path\":\"[^\"]*/$crate-$version/Cargo.toml" | cut -d'"' -f4)
    cp -r "$(dirname "$at")" "$source.part" && mv "$source.part" "$source"
    rm -f "$source/rust-toolchain.toml" "$source/.cargo-checksum.json"; printf '\n[workspace]\n' >> "$source/Cargo.toml"
  fi
  cd "$source" || exit 1
  [ -z "${CRATE_UPDATE:-}" ] || cargo update -q -p "$CRATE_UPDATE"
  why=$(cargo test -q "$@" --tests --no-run 2>&1) ||
    { result FAIL 0 "$crate: its tests do not build: $(grep -m2 '^error' <<< "$why" | tr '\n' ' ')"; exit 0; }
  local skip=()
  while read -r name; do
    why=$(not_yet "$crate $name") && { result SKIP 0 "$crate $name: $why"; skip+=(--skip "$name"); }
  done < <(cargo test -q "$@" --tests -- --list 2>/dev/null | sed -n 's/: test$//p' | sort -u)
  cargo test "$@" --tests --no-fail-fast -- --test-threads=1 "${skip[@]}" 2>&1 | grep --line-buffered -vE '^(warning|error: (test failed|[0-9]+ target))'
}
