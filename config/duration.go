package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// readDuration reads what [time.ParseDuration] reads, and whole days in front of it: 90d, 1d12h.
func readDuration(text string) (time.Duration, error) {
	days, rest, ok := strings.Cut(text, "d")
	if !ok {
		return time.ParseDuration(text)
	}
	n, err := strconv.ParseUint(days, 10, 31)
	if err != nil || int64(n) > int64(math.MaxInt64/day) {
		return 0, fmt.Errorf("%q is not a duration", text)
	}
	if rest == "" {
		return time.Duration(n) * day, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil || rest[0] == '-' || rest[0] == '+' || more > math.MaxInt64-time.Duration(n)*day {
		return 0, fmt.Errorf("%q is not a duration", text)
	}
	return time.Duration(n)*day + more, nil
}
