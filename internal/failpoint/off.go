//go:build !failpoints

package failpoint

// On tells whether the program was built with failpoints.
const On = false

// Hit does nothing: the program was built without failpoints.
func Hit(Point) {}
