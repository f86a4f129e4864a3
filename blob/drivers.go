package blob

import (
	_ "gocloud.dev/blob/s3blob" // s3://
)

// The buckets this binary knows, besides file://, which is opened with our own options. Others of gocloud.dev are one line here.
