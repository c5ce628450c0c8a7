"""Comparisons over many runs: the paper's, the ablation's, and the trial of the harness itself."""
