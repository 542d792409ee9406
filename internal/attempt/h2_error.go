package attempt

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// streamError has the fields of the error that net/http gives for one stream of HTTP/2, which its As method fills in.
type streamError struct {
	StreamID uint32
	Code     uint32 // RFC 9113, section 7
	Cause    error
}

// Error is for the operator's log.
func (e streamError) Error() string { return fmt.Sprintf("stream %d: code %#x", e.StreamID, e.Code) }

const codeHTTP11Required = 0xd // RFC 9113, section 7

// h2Error has an error of HTTP/2 mean what the same event does over HTTP/1.1. net/http has types of its own for some, and
// none for others.
func h2Error(err error) error {
	var se streamError
	text := err.Error()
	has := func(list ...string) bool {
		for _, s := range list {
			if strings.Contains(text, s) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.Is(err, errFlood):
		return fmt.Errorf("%w: %w", errBadResponse, err)
	case has("header list larger than advertised limit"):
		return fmt.Errorf("the answer's head: %w: %w", errTooLarge, err)
	case has("ErrCode=HTTP_1_1_REQUIRED"), errors.As(err, &se) && se.Code == codeHTTP11Required:
		return fmt.Errorf("%w: %w", errOnlyOne, err)
	case se.Cause != nil && !strings.Contains(se.Cause.Error(), "received from peer"):
		return fmt.Errorf("%w: %w", errBadResponse, err) // found on this side
	case errors.As(err, &se), has("GOAWAY", "client connection lost", "client conn is closed", "client conn not usable",
		"client conn could not be established", "force closed", "stream closed"):
		return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	}
	return err
}

// errOnlyOne says that the other side wants HTTP/1.1.
var errOnlyOne = fmt.Errorf("it asks for HTTP/1.1: %w", io.ErrUnexpectedEOF)
