# franz-go's own kgo tests, those that talk to a broker and its unit tests; the group test once more with connections that
# die young (KGO_TEST_CHAOS). Needs Go and its modules.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v go >/dev/null || skip_suite "kgo: go is not installed"
module=$CACHE/kgo; mkdir -p "$module"; cd "$module" || exit 1
if [ ! -f go.sum ]; then
  rm -f go.mod
  why=$({ go mod init compat && timeout 600 go get -t github.com/twmb/franz-go/pkg/kgo@v1.22.2; } 2>&1) ||
    skip_suite "kgo: its modules cannot be fetched: $(tail -1 <<< "$why")"
fi
tests=github.com/twmb/franz-go/pkg/kgo
export KGO_SEEDS=$addr KGO_TEST_RF=1 KGO_LOG_LEVEL=none KGO_TEST_RECORDS=${KGO_TEST_RECORDS:-50000}
go_test() { go test -count=1 -timeout 20m -json -run "^($(IFS='|'; echo "$*"))\$" $tests; }

run=()
while read -r name; do wanted "$name" && run+=("$name"); done < <(go test -list . $tests | grep -E '^(Test|Fuzz)')
[ ${#run[@]} -eq 0 ] || go_test "${run[@]}"
! wanted "TestGroupETL under chaos" || KGO_TEST_CHAOS=1 go_test TestGroupETL | sed 's/"Test":"TestGroupETL/& under chaos/'
exit 0                                                                      # the lines above say what failed
