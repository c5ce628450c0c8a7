"""Taking measurements: processes, clocks, memory, the machine, launches and turns, and the journal of a run."""
