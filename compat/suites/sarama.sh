# IBM's sarama and a zap logger writing through it: sarama/main.go, at the protocol versions 2.8.0 (sarama's default) and
# 4.3.1. Needs Go and its modules.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v go >/dev/null || skip_suite "sarama: go is not installed"
cd "$here/sarama" || exit 1
why=$(timeout 600 go mod download 2>&1) || skip_suite "sarama: its modules cannot be fetched: $(tail -1 <<< "$why")"
go build -o "$CACHE/sarama" . && "$CACHE/sarama" "$addr"
