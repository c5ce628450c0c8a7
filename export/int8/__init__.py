"""Where INT8's numbers come from: calibration images, ranges, smoothing, Q/DQ pairs, and the linter of the graph."""
