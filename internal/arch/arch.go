// Package arch holds the test of the house: which package may import which. It contains no code of the product.
package arch
