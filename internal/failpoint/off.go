//go:build !failpoints

package failpoint

// Hit does nothing: the program was built without failpoints.
func Hit(Point) {}
