# franz-go's own kgo tests, those that talk to a broker and its unit tests. Needs Go and its modules. Tests that are
# listed in not-yet are left out by name.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v go >/dev/null || skip_suite "kgo: go is not installed"
module=$CACHE/kgo; mkdir -p "$module"; cd "$module" || exit 1
if [ ! -f go.sum ]; then
  rm -f go.mod
  why=$({ go mod init compat && timeout 600 go get -t github.com/twmb/franz-go/pkg/kgo@v1.22.2; } 2>&1) ||
    skip_suite "kgo: its modules cannot be fetched: $(tail -1 <<< "$why")"
fi
tests=github.com/twmb/franz-go/pkg/kgo
left_out=()
while read -r name; do
  why=$(not_yet "$name") && { result SKIP 0 "$name: $why"; left_out+=("$name"); }
done < <(go test -list . $tests | grep -E '^(Test|Fuzz)')
skip=(); [ ${#left_out[@]} -gt 0 ] && skip=(-skip "^($(IFS='|'; echo "${left_out[*]}"))\$")
export KGO_SEEDS=$addr KGO_TEST_RF=1 KGO_LOG_LEVEL=none KGO_TEST_RECORDS=${KGO_TEST_RECORDS:-50000}
go test -count=1 -timeout 20m -json "${skip[@]}" $tests
exit 0                                                                      # the lines above say what failed
