package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// largestFile is how much of a file: reference is read.
const largestFile = 1 << 20

// references replaces ${NAME} and file:PATH.
type references struct {
	lookup func(string) (string, bool)
	dir    string // where relative paths begin
}

var variable = regexp.MustCompile(`\$?\$\{([^}]*)\}?`)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand replaces every ${NAME} of text and says what is wrong with those it cannot.
func (r references) expand(text string) (out string, faults []string) {
	out = variable.ReplaceAllStringFunc(text, func(m string) string {
		if strings.HasPrefix(m, "$$") {
			return m[1:]
		}
		name, closed := strings.CutSuffix(strings.TrimPrefix(m, "${"), "}")
		switch {
		case !closed:
			faults = append(faults, `has "${" without "}"; write ${NAME}, or $${ for a plain ${`)
		case !variableName.MatchString(name):
			faults = append(faults, fmt.Sprintf("names the environment variable %q, which no variable can be called; write ${NAME}, or $${ for a plain ${", name))
		default:
			if value, ok := r.lookup(name); ok {
				return value
			}
			faults = append(faults, fmt.Sprintf("environment variable %s is not set; set it for this process or write the value here", name))
		}
		return m
	})
	return out, faults
}

// secret replaces a whole text of file:PATH by the content of the file, without the newline that editors add unless exact.
func (r references) secret(text string, exact bool) (string, error) {
	path, ok := strings.CutPrefix(text, "file:")
	if !ok {
		return text, nil
	}
	if path == "" {
		return "", errors.New("file: names no file; write file:/path/to/file")
	}
	path = r.absolute(filepath.Clean(path))
	content, err := readSmall(path)
	if err != nil {
		return "", err
	}
	if !exact {
		content = strings.TrimRight(content, "\r\n")
	}
	if strings.TrimSpace(content) == "" {
		return "", fmt.Errorf("file %s is empty; write the secret into it", path)
	}
	return content, nil
}

func (r references) absolute(path string) string {
	if path == "" || filepath.IsAbs(path) || r.dir == "" {
		return path
	}
	return filepath.Join(r.dir, path)
}

func readSmall(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		why := err
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			why = pe.Err
		}
		return "", fmt.Errorf("file %s cannot be read: %w; create it, readable for this user alone", path, why)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, largestFile+1))
	if err != nil {
		return "", fmt.Errorf("file %s cannot be read: it is not a plain file", path)
	}
	if len(content) > largestFile {
		return "", fmt.Errorf("file %s is larger than %s; is it the right one?", path, Size(largestFile))
	}
	return string(content), nil
}
