package gitea

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/planlatch/planlatch/wire"
)

// get reads one address below the API that the library does not know, or not with these parameters.
func (h *Host) get(ctx context.Context, path string, query url.Values, into any) (*sdk.Response, error) {
	address := h.base.String() + "/api/v1" + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := h.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // everything was read
	answer := &sdk.Response{Response: resp}
	if resp.StatusCode/100 != 2 {
		var says struct {
			Message string `json:"message"`
		}
		_ = json.NewDecoder(resp.Body).Decode(&says) // best effort: words for the message
		return answer, errors.New(says.Message)
	}
	return answer, json.NewDecoder(resp.Body).Decode(into)
}

// explain turns an answer of the library into the port's errors.
func explain(ctx context.Context, resp *sdk.Response, err error) error {
	if resp == nil {
		return wire.Explain(ctx, nil, err)
	}
	return wire.Explain(ctx, resp.Response, err)
}

func totalOf(resp *sdk.Response) (int, bool) {
	total, err := strconv.Atoi(resp.Header.Get("X-Total-Count"))
	return total, err == nil && total >= 0
}
