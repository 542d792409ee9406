package bench

import "slices"

// rounds is how often what is compared is measured in turn; the median counts.
const rounds = 5

// paired measures a and b in turn, each going first every other time, and gives the median of a over b, and both
// medians.
func paired(n int, a, b func() (float64, error)) (ratio, ofA, ofB float64, err error) {
	var as, bs, ratios []float64
	for i := range n {
		var got [2]float64
		for k := range 2 {
			which := (i + k) % 2
			if got[which], err = []func() (float64, error){a, b}[which](); err != nil {
				return 0, 0, 0, err
			}
		}
		as, bs = append(as, got[0]), append(bs, got[1])
		ratios = append(ratios, got[0]/max(got[1], 1e-9))
	}
	return median(ratios), median(as), median(bs), nil
}

// median is the middle one, or the upper of two; 0 of none.
func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(list))
	return s[len(s)/2]
}
