"""What a device needs: bundles, golden faces, doctor, the choice of a model, and what a Jetson tells."""
