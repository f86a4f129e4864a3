package runner

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	ctyjson "github.com/zclconf/go-cty/cty/json"
	"github.com/zclconf/go-cty/cty/msgpack"
)

// This file reads of a plan file where its apply keeps the state: an apply believes the plan file, and not what init wrote beside it, which
// everything that a plan runs can write over.

// What is read of a plan file. Its largest part is passed over, and may unfold to more than it takes.
const (
	mostUnfolded = 1 << 30
	mostBackend  = 64 << 10 // also bounds how deep its settings nest
)

// The fields of the messages Plan, Backend and DynamicValue in a plan file, which are the same in both tools.
const (
	fieldBackend = 13

	fieldType      = 1
	fieldConfig    = 2
	fieldWorkspace = 3

	fieldMsgpack = 1
)

// sealedPlan says whether a plan file is one that the project itself encrypts.
func sealedPlan(plan []byte) bool {
	var file struct {
		Data string `json:"encrypted_data"`
	}
	return json.Unmarshal(plan, &file) == nil && file.Data != ""
}

// stateOf is where an apply of a plan keeps the state. Of a plan file that the project encrypts only init can tell.
func stateOf(l left) (backend, error) {
	if sealedPlan(l.plan) {
		return readBackend(l.backend)
	}
	return plannedBackend(l.plan)
}

// plannedBackend reads the backend of a plan file.
func plannedBackend(plan []byte) (backend, error) {
	archive, err := zip.NewReader(bytes.NewReader(plan), int64(len(plan)))
	if err != nil {
		return backend{}, fmt.Errorf("read the plan file: %w", err)
	}
	for _, f := range archive.File {
		if f.Name != "tfplan" { // the first one of this name counts for the tools, too
			continue
		}
		part, err := f.Open()
		if err != nil {
			return backend{}, fmt.Errorf("read the plan file: %w", err)
		}
		within := &io.LimitedReader{R: part, N: mostUnfolded}
		b, err := readPlanned(within)
		if err == nil && within.N == 0 { // what comes later would count
			err = fmt.Errorf("it unfolds to more than %d bytes", mostUnfolded)
		}
		if err = errors.Join(err, part.Close()); err != nil {
			return backend{}, fmt.Errorf("read where the plan file keeps its state: %w", err)
		}
		return b, nil
	}
	return backend{}, errors.New("read the plan file: it has no plan")
}

func readPlanned(plan io.Reader) (backend, error) {
	message, err := field(plan, fieldBackend)
	if err != nil {
		return backend{}, err
	}
	name, err := lastOf(message, fieldType)
	if err != nil {
		return backend{}, err
	}
	workspace, err := lastOf(message, fieldWorkspace)
	b := backend{Type: string(name), Workspace: string(workspace)}
	if err != nil {
		return b, err
	}
	value, err := field(bytes.NewReader(message), fieldConfig)
	if err != nil {
		return b, err
	}
	config, err := lastOf(value, fieldMsgpack)
	if err != nil || len(config) == 0 {
		return b, err
	}
	kind, err := msgpack.ImpliedType(config)
	if err != nil {
		return b, err
	}
	settings, err := msgpack.Unmarshal(config, kind)
	if err != nil {
		return b, err
	}
	text, err := json.Marshal(ctyjson.SimpleJSONValue{Value: settings})
	if err != nil {
		return b, err
	}
	return b, json.Unmarshal(text, &b.Config)
}

// field returns all that a message has of a field that is a message: of several that are one after another, which is how they merge.
func field(message io.Reader, number uint64) ([]byte, error) {
	var all []byte
	err := fields(message, number, func(part []byte) { all = append(all, part...) })
	return all, err
}

// lastOf returns a field that is bytes: of several the last one counts.
func lastOf(message []byte, number uint64) ([]byte, error) {
	var last []byte
	err := fields(bytes.NewReader(message), number, func(part []byte) { last = part })
	return last, err
}

// fields calls found for each field of a number that is bytes or a message, and passes over all else.
func fields(message io.Reader, number uint64, found func(part []byte)) error {
	r := bufio.NewReader(message)
	left := mostBackend
	for {
		tag, err := binary.ReadUvarint(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		size := uint64(0)
		switch tag & 7 {
		case 0:
			_, err = binary.ReadUvarint(r)
		case 1:
			size = 8
		case 2:
			size, err = binary.ReadUvarint(r)
		case 5:
			size = 4
		default:
			err = fmt.Errorf("wire type %d is unknown", tag&7)
		}
		if err != nil {
			return cut(err)
		}
		if tag>>3 == number && tag&7 == 2 {
			if size > uint64(left) {
				return fmt.Errorf("field %d has more than %d bytes", number, mostBackend)
			}
			left -= int(size)
			part := make([]byte, size)
			if _, err := io.ReadFull(r, part); err != nil {
				return cut(err)
			}
			found(part)
			continue
		}
		if size > math.MaxInt32 { // no message has more
			return errors.New("a field is longer than a message may be")
		}
		if _, err := r.Discard(int(size)); err != nil {
			return cut(err)
		}
	}
}

// cut is an error in the middle of a field, where an end is none.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
