package lend

import (
	"net/http"
	"net/url"
	"strings"
)

// split takes a request target apart. Only the origin form ("/path?query") is one: a proxy's absolute form names a host of its own.
func split(target string) (path, query string, ok bool) {
	path, query, _ = strings.Cut(target, "?")
	return path, query, plain(path)
}

// plain says whether every server reads a path, as it is sent, in the same way.
func plain(path string) bool {
	if !strings.HasPrefix(path, "/") || len(path) > 4096 {
		return false
	}
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '%':
			if i+2 >= len(path) {
				return false
			}
			decoded, err := url.PathUnescape(path[i : i+3])
			if err != nil || strings.ContainsAny(decoded, "/\\%.;?#") || decoded[0] < 0x20 || decoded[0] == 0x7f {
				return false
			}
			i += 2
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("/-._~!$'()*+,=:@&", c) >= 0:
		default: // ";" begins a parameter for some servers
			return false
		}
	}
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		if s == "." || s == ".." || s == "" && i < len(segments)-1 {
			return false
		}
	}
	return true
}

// below says whether a plain path lies in a place: in the directory that a path with a slash at its end names, or at the very thing.
func below(path, place string) bool {
	if strings.HasSuffix(place, "/") {
		return strings.HasPrefix(path, place)
	}
	return path == place || strings.HasPrefix(path, place+"/")
}

// The two requests of a fetch over git's smart protocol.
const (
	suffixRefs   = "/info/refs"
	suffixUpload = "/git-upload-pack"
	queryUpload  = "service=git-upload-pack"
)

// fetches says whether a request is part of a git fetch. Nothing else that git or the host speaks is.
func fetches(method, path, query string, h http.Header) bool {
	switch method {
	case http.MethodGet:
		return strings.HasSuffix(path, suffixRefs) && query == queryUpload
	case http.MethodPost:
		return strings.HasSuffix(path, suffixUpload) && query == "" && h.Get("Content-Type") == "application/x-git-upload-pack-request"
	}
	return false
}

// reads says whether a request only reads a file.
func reads(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// passed are the headers of a lent request that the server may see. Anything else could change who asks or what is asked for.
var passed = []string{
	"Accept", "Accept-Encoding", "Accept-Language", "Content-Encoding", "Content-Type", "Git-Protocol", "If-Modified-Since", "If-None-Match",
	"Range", "User-Agent",
}

func lentHeader(h http.Header) http.Header {
	out := http.Header{}
	for _, name := range passed {
		if values := h.Values(name); len(values) > 0 {
			out[name] = values
		}
	}
	return out
}

// withheld are the headers of a server's answer that the program does not get.
var withheld = []string{"Set-Cookie", "Set-Cookie2", "Www-Authenticate", "Authentication-Info", "Proxy-Authenticate", "Alt-Svc"}
